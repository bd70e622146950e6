//! Subscriptions, nonces, reconnects, state of the world.

use foregate_envoy::ResourceKind::{Cluster, ClusterLoadAssignment, Listener, RouteConfiguration, Secret};
use foregate_envoy::pb::envoy::config::endpoint::v3::ClusterLoadAssignment as Endpoints;
use prost::Message;

use crate::resources::{api_listener, cluster, endpoints, host, listener, secret, shell};
use crate::talk::{Talk, show};

#[test]
fn a_wildcard_is_answered_at_once_even_if_there_is_nothing() {
    for names in [&["*"][..], &[]] {
        let mut talk = Talk::vhds();
        talk.subscribe(Cluster, names);
        assert_eq!(talk.take(), "Cluster", "subscribed to {names:?}");
        talk.apply([cluster("a", "1")], &[]);
        assert_eq!(talk.take(), "Cluster +a");
        talk.apply([], &[(Cluster, "a")]);
        talk.pass(crate::talk::DRAIN);
        assert_eq!(talk.take(), "Cluster -a");
    }
}

#[test]
fn an_empty_first_request_is_a_wildcard_for_clusters_and_listeners_only() {
    let mut talk = Talk::vhds();
    talk.apply([endpoints("a")], &[]);
    talk.subscribe(ClusterLoadAssignment, &[]);
    talk.nothing();
}

#[test]
fn what_does_not_exist_is_answered_at_once() {
    let mut talk = Talk::vhds();
    talk.subscribe(ClusterLoadAssignment, &["a"]);
    let response = talk.one();
    let body = Endpoints::decode(response.resources[0].body.clone()).unwrap();
    assert_eq!(body, Endpoints { cluster_name: "a".into(), ..Default::default() });
    for kind in [Secret, RouteConfiguration] {
        talk.subscribe(kind, &["a"]);
        assert_eq!(talk.take(), format!("{kind:?} -a"));
    }
    talk.apply([secret("a")], &[]);
    assert_eq!(talk.take(), "Secret +a", "and when it comes, it is sent");
}

#[test]
fn named_subscriptions_get_what_they_name() {
    let mut talk = Talk::vhds();
    talk.apply([secret("a"), secret("b")], &[]);
    talk.subscribe(Secret, &["a"]);
    assert_eq!(talk.take(), "Secret +a");
    talk.subscribe(Secret, &["a"]);
    assert_eq!(talk.take(), "Secret +a", "asked again, answered again");
    talk.subscribe(Secret, &["b"]);
    assert_eq!(talk.take(), "Secret +b");
    talk.unsubscribe(Secret, &["a"]);
    talk.apply([], &[(Secret, "a"), (Secret, "b")]);
    assert_eq!(talk.take(), "Secret -b");
}

#[test]
fn a_name_stays_subscribed_when_the_wildcard_goes() {
    let mut talk = Talk::vhds();
    talk.apply([listener("a", "r"), listener("b", "r")], &[]);
    talk.subscribe(Listener, &["*", "a"]);
    assert_eq!(talk.take(), "Listener +a +b");
    talk.unsubscribe(Listener, &["*"]);
    talk.apply([listener("a", "s"), listener("b", "s")], &[]);
    assert_eq!(talk.take(), "Listener +a");
    talk.apply([], &[(Listener, "a"), (Listener, "b")]);
    assert_eq!(talk.take(), "Listener -a");
}

#[test]
fn an_outdated_nonce_acknowledges_nothing() {
    let mut talk = Talk::vhds();
    talk.subscribe(Listener, &["*"]);
    let first = talk.one();
    talk.ack(&first);
    talk.apply([listener("a", "r")], &[]);
    let second = talk.one();
    assert_ne!(first.nonce, second.nonce);
    talk.ack(&first);
    talk.nack(&first);
    talk.apply([listener("a", "s")], &[]);
    talk.nothing();
    assert_eq!(talk.nacked, []);
    assert_eq!(talk.stream.take_counts().stale_nonces, 2);
    talk.ack(&second);
    assert_eq!(talk.take(), "Listener +a");
}

#[test]
fn a_reconnecting_client_gets_what_differs() {
    let mut talk = Talk::vhds();
    let (same, new) = (cluster("same", "1"), cluster("changed", "2"));
    talk.apply([same.clone(), new, cluster("new", "1")], &[]);
    let known = [("same", &*same.version), ("changed", "old"), ("gone", "old")];
    talk.resume(Cluster, &["*"], &known);
    assert_eq!(talk.take(), "Cluster +changed +new");
    talk.pass(crate::talk::DRAIN);
    assert_eq!(talk.take(), "Cluster -gone");
}

#[test]
fn a_reconnecting_client_that_has_all_gets_nothing() {
    let mut talk = Talk::vhds();
    let (cluster, endpoints) = (cluster("a", "1"), endpoints("a"));
    talk.apply([cluster.clone(), endpoints.clone()], &[]);
    talk.resume(Cluster, &["*"], &[("a", &cluster.version)]);
    talk.resume(ClusterLoadAssignment, &["a"], &[("a", &endpoints.version)]);
    talk.resume(Listener, &["*"], &[]);
    assert_eq!(talk.take(), "Listener");
    assert_eq!(talk.progress, Some(1));
}

#[test]
fn state_of_the_world_is_complete_for_clusters_and_listeners_only() {
    let mut talk = Talk::sotw();
    talk.apply([cluster("a", "1"), cluster("b", "1"), endpoints("a"), endpoints("b")], &[]);
    talk.subscribe(Cluster, &[]);
    assert_eq!(talk.take(), "Cluster +a +b");
    talk.subscribe(ClusterLoadAssignment, &["a", "b"]);
    let first = talk.one();
    talk.answer(&first, &["a", "b"], None);
    talk.apply([endpoints("c"), cluster("c", "1")], &[]);
    assert_eq!(talk.take(), "Cluster +a +b +c");
    talk.answer(&first, &["a", "b", "c"], None);
    assert_eq!(talk.take(), "ClusterLoadAssignment +c");
    talk.apply([], &[(Cluster, "b"), (ClusterLoadAssignment, "b")]);
    talk.nothing();
    talk.pass(crate::talk::DRAIN);
    assert_eq!(talk.take(), "Cluster +a +c");
}

#[test]
fn state_of_the_world_answers_an_empty_wildcard() {
    let mut talk = Talk::sotw();
    talk.subscribe(Listener, &[]);
    assert_eq!(talk.take(), "Listener");
    talk.apply([shell("r"), listener("a", "r")], &[]);
    assert_eq!(talk.take(), "Listener +a");
    talk.subscribe(RouteConfiguration, &["r"]);
    assert_eq!(talk.take(), "RouteConfiguration +r");
}

#[test]
fn changes_while_a_response_is_in_flight_become_one() {
    let mut talk = Talk::vhds();
    talk.subscribe(Listener, &["*"]);
    let first = talk.one();
    for n in 0..100 {
        talk.apply([listener("a", &format!("r{n}")), listener("b", "r")], &[]);
    }
    talk.apply([], &[(Listener, "b")]);
    talk.nothing();
    talk.ack(&first);
    let response = talk.one();
    assert_eq!(crate::talk::show(&response), "Listener +a");
    assert_eq!(response.resources[0].version, listener("a", "r99").version);
}

#[test]
fn a_large_answer_comes_in_parts() {
    let mut talk = Talk::vhds();
    let secrets: Vec<_> = (0..100).map(|n| secret(&format!("{n:0>100}"))).collect();
    talk.apply(secrets, &[]);
    talk.subscribe(Secret, &["*"]);
    let mut sent = 0;
    while sent < 100 {
        let response = talk.one();
        assert!((1..=25).contains(&response.resources.len()), "4 KiB or little more");
        sent += response.resources.len();
        talk.ack(&response);
    }
    talk.nothing();
}

#[test]
fn a_client_that_names_what_it_wants_gets_each_at_once() {
    let mut talk = Talk::sotw();
    let all = [api_listener("l", "r"), shell("r"), host("r", "x", "a"), cluster("a", "1"), endpoints("a")];
    talk.apply(all.into_iter().chain([listener("other", "r"), cluster("other", "1")]), &[]);
    for (kind, name) in [(Listener, "l"), (RouteConfiguration, "r"), (Cluster, "a"), (ClusterLoadAssignment, "a")] {
        talk.subscribe(kind, &[name]);
        let response = talk.one();
        assert_eq!(show(&response), format!("{kind:?} +{name}"));
        assert!(kind != RouteConfiguration || response.resources[0].body.len() > shell("r").body.len(), "with hosts");
        talk.answer(&response, &[name], None);
    }
    talk.apply([cluster("a", "2"), cluster("b", "1"), host("r", "x", "b")], &[]);
    let both: Vec<_> = talk.stream_responses().iter().map(show).collect();
    assert_eq!(both, ["Cluster +a", "RouteConfiguration +r"], "b isn't asked for, and nothing waits for it");
}
