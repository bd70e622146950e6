//! Refused responses: the search for the culprit, and what happens to the others.

use std::time::Duration;

use foregate_envoy::ResourceId;
use foregate_envoy::ResourceKind::{Cluster, Listener};

use crate::resources::{api_listener, cluster, listener, shell};
use crate::talk::{Talk, show};

fn listeners(names: &[&str]) -> Talk {
    let mut talk = Talk::vhds();
    talk.subscribe(Listener, &["*"]);
    talk.take();
    talk.apply(names.iter().map(|name| listener(name, "r")), &[]);
    talk
}

fn reported(talk: &mut Talk) -> Vec<String> {
    std::mem::take(&mut talk.nacked).into_iter().map(|(id, message)| format!("{id:?}: {message}")).collect()
}

#[test]
fn a_refused_response_is_sent_again_one_by_one() {
    let mut talk = listeners(&["a", "b", "c"]);
    let all = talk.one();
    talk.nack(&all);
    let mut order = vec![];
    for _ in 0..3 {
        let response = talk.one();
        order.push(show(&response));
        match show(&response).as_str() {
            "Listener +b" => talk.nack(&response),
            _ => talk.ack(&response),
        }
    }
    order.sort();
    assert_eq!(order, ["Listener +a", "Listener +b", "Listener +c"]);
    assert_eq!(reported(&mut talk), ["Listener b: no"]);
    talk.nothing();
}

#[test]
fn a_refused_version_is_not_sent_again_and_counts_as_settled() {
    let mut talk = listeners(&["a"]);
    talk.subscribe(Cluster, &["*"]);
    let refused = talk.stream_responses().remove(0);
    assert_eq!(show(&refused), "Listener +a");
    talk.nack(&refused);
    assert_eq!(talk.progress, Some(1));
    talk.apply([listener("a", "r")], &[]);
    talk.nothing();
    talk.apply([listener("a", "s"), listener("b", "s")], &[]);
    let next = talk.one();
    talk.ack(&next);
    let last = talk.one();
    let mut both = [show(&next), show(&last)];
    both.sort();
    assert_eq!(both, ["Listener +a", "Listener +b"], "what was refused before goes alone");
}

#[test]
fn many_suspects_are_halved_first() {
    let names: Vec<String> = (0..64).map(|n| format!("{n:0>2}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut talk = listeners(&names);
    let mut responses = 0;
    loop {
        let mut all = talk.stream_responses();
        let Some(response) = all.pop() else { break };
        responses += 1;
        if response.resources.iter().any(|sent| &*sent.name == "37") {
            talk.nack(&response);
        } else {
            talk.ack(&response);
        }
    }
    assert_eq!(reported(&mut talk), ["Listener 37: no"]);
    assert!(responses < 16, "{responses} responses");
}

#[test]
fn a_refusal_of_an_outdated_version_is_reported_and_the_newer_one_sent() {
    let mut talk = listeners(&["a"]);
    let old = talk.one();
    talk.apply([listener("a", "s")], &[]);
    talk.nothing();
    talk.nack(&old);
    assert_eq!(reported(&mut talk), ["Listener a: no"]);
    let new = talk.one();
    assert_eq!(new.resources[0].version, listener("a", "s").version);
    talk.ack(&new);
    talk.nothing();
}

#[test]
fn a_refused_change_is_replaced_in_state_of_the_world_by_the_last_good_version() {
    let mut talk = Talk::sotw();
    talk.apply([listener("a", "r"), shell("r")], &[]);
    talk.subscribe(Listener, &[]);
    assert_eq!(talk.take(), "Listener +a");
    talk.apply([listener("a", "bad")], &[]);
    let bad = talk.one();
    talk.nack(&bad);
    assert_eq!(talk.nacked, [(ResourceId::new(Listener, "a"), "no".to_owned())]);
    talk.apply([listener("b", "r")], &[]);
    let next = talk.one();
    assert_eq!(show(&next), "Listener +a +b");
    assert_eq!(next.resources[0].version, listener("a", "r").version);
}

#[test]
fn messages_of_clients_are_bounded() {
    let mut talk = listeners(&["a"]);
    let refused = talk.one();
    talk.answer(&refused, &[], Some(&"ä".repeat(10_000)));
    assert_eq!(talk.nacked[0].1.len(), 4096);
}

#[test]
fn a_refused_listener_is_tried_again_with_growing_pauses_until_it_is_taken() {
    let mut talk = listeners(&["a"]);
    let refused = talk.one();
    talk.answer(&refused, &[], Some("port 80 is in use"));
    talk.nothing();
    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        talk.pass(Duration::from_millis(pause * 1000 - 1));
        talk.nothing();
        talk.pass(Duration::from_millis(1));
        let again = talk.one();
        assert_eq!(show(&again), "Listener +a");
        talk.answer(&again, &[], Some("port 80 is in use"));
    }
    assert_eq!(reported(&mut talk), ["Listener a: port 80 is in use"], "the same words once");
    talk.pass(Duration::from_secs(60));
    let again = talk.one();
    talk.answer(&again, &[], Some("port 80 is forbidden"));
    assert_eq!(reported(&mut talk), ["Listener a: port 80 is forbidden"]);
    assert_eq!(talk.recovered, []);
    talk.pass(Duration::from_secs(60));
    let last = talk.one();
    talk.ack(&last);
    assert_eq!(talk.recovered, [ResourceId::new(Listener, "a")]);
    talk.pass(Duration::from_secs(3600));
    talk.nothing();
}

#[test]
fn a_new_version_or_the_end_of_a_refused_listener_ends_its_tries() {
    let mut talk = listeners(&["a", "b"]);
    for _ in 0..3 {
        let refused = talk.one();
        talk.nack(&refused);
    }
    talk.apply([listener("a", "s")], &[(Listener, "b")]);
    let new = talk.one();
    assert_eq!(show(&new), "Listener +a");
    talk.ack(&new);
    talk.pass(Duration::from_secs(3600));
    talk.nothing();
    assert_eq!(talk.recovered, [], "another version says nothing of the one that was refused");
}

#[test]
fn a_refused_cluster_is_not_tried_again() {
    let mut talk = Talk::vhds();
    talk.subscribe(Cluster, &["*"]);
    talk.take();
    talk.apply([cluster("a", "1")], &[]);
    let refused = talk.one();
    talk.nack(&refused);
    talk.pass(Duration::from_secs(3600));
    talk.nothing();
}

#[test]
fn a_listener_within_applications_is_for_those_who_name_it() {
    let mut engine = listeners(&["a"]);
    assert_eq!(engine.take(), "Listener +a");
    engine.apply([api_listener("grpc", "r")], &[]);
    engine.nothing();
    engine.apply([api_listener("a", "r")], &[]);
    assert_eq!(engine.take(), "Listener -a", "it becomes one");
    engine.nothing();
    let mut client = Talk::sotw();
    client.apply([listener("a", "r"), api_listener("grpc", "r"), shell("r")], &[]);
    client.subscribe(Listener, &["grpc"]);
    assert_eq!(client.take(), "Listener +grpc");
}
