//! Make before break, drain, and what bounds them.

use std::time::Duration;

use foregate_envoy::ResourceKind::{Cluster, ClusterLoadAssignment, Listener, RouteConfiguration, Secret, VirtualHost};

use crate::resources::{cluster, endpoints, host, listener, secret, secure_cluster, shell};
use crate::talk::{DRAIN, NEED_TIMEOUT, Talk};

/// A client that has listener, route configuration, and a host that goes to cluster `a`.
fn running() -> Talk {
    let mut talk = Talk::vhds();
    let all = [listener("l", "r"), shell("r"), cluster("a", "1"), endpoints("a"), host("r", "x", "a")];
    talk.apply(all, &[]);
    talk.subscribe(Cluster, &["*"]);
    assert_eq!(talk.take(), "Cluster +a");
    talk.subscribe(ClusterLoadAssignment, &["a"]);
    assert_eq!(talk.take(), "ClusterLoadAssignment +a");
    talk.subscribe(Listener, &["*"]);
    assert_eq!(talk.take(), "Listener +l");
    talk.subscribe(RouteConfiguration, &["r"]);
    assert_eq!(talk.take(), "RouteConfiguration +r");
    assert_eq!(talk.progress, None, "the virtual hosts are still to come");
    talk.subscribe(VirtualHost, &["r/*"]);
    assert_eq!(talk.take(), "VirtualHost +r/x");
    assert_eq!(talk.progress, Some(1));
    talk
}

#[test]
fn a_host_waits_for_the_endpoints_of_a_cluster_that_it_newly_names() {
    let mut talk = running();
    talk.apply([cluster("b", "1"), endpoints("b"), host("r", "x", "b"), host("r", "y", "a")], &[]);
    let mut both = vec![];
    for _ in 0..2 {
        both.push(talk.stream_response());
    }
    assert_eq!(both, ["Cluster +b", "VirtualHost +r/y"], "y names nothing new");
    assert_eq!(talk.progress, Some(1));
    talk.subscribe(ClusterLoadAssignment, &["b"]);
    let response = talk.one();
    talk.nothing();
    talk.ack(&response);
    assert_eq!(talk.take(), "VirtualHost +r/x");
    assert_eq!(talk.progress, Some(2));
}

#[test]
fn a_change_of_a_cluster_holds_nothing_up() {
    let mut talk = running();
    talk.apply([cluster("a", "2")], &[]);
    let response = talk.one();
    talk.apply([host("r", "y", "a")], &[]);
    assert_eq!(talk.take(), "VirtualHost +r/y");
    talk.ack(&response);
    assert_eq!(talk.progress, Some(3));
}

#[test]
fn a_cluster_that_nothing_names_stays_for_the_drain_time() {
    let mut talk = running();
    let gone = [(Cluster, "a"), (ClusterLoadAssignment, "a"), (VirtualHost, "r/x")];
    talk.apply([], &gone);
    let removal = talk.one();
    assert_eq!(removal.removed, ["r/x".into()]);
    talk.pass(DRAIN);
    talk.nothing();
    talk.ack(&removal);
    assert_eq!(talk.progress, Some(2), "what drains doesn't hold up progress");
    talk.pass(DRAIN - Duration::from_secs(1));
    talk.nothing();
    talk.pass(Duration::from_secs(1));
    assert_eq!(talk.take(), "Cluster -a");
}

#[test]
fn endpoints_of_a_draining_cluster_are_updated() {
    let mut talk = running();
    talk.apply([], &[(Cluster, "a"), (VirtualHost, "r/x")]);
    assert_eq!(talk.take(), "VirtualHost -r/x");
    let mut changed = endpoints("a");
    changed.version = "2".into();
    talk.apply([changed], &[]);
    assert_eq!(talk.take(), "ClusterLoadAssignment +a");
}

#[test]
fn endpoints_that_go_without_their_cluster_are_emptied() {
    let mut talk = running();
    talk.apply([], &[(ClusterLoadAssignment, "a")]);
    assert_ne!(talk.one().resources[0].body, endpoints("a").body);
}

#[test]
fn a_cluster_that_comes_back_while_it_drains_is_not_removed() {
    let mut talk = running();
    talk.apply([], &[(Cluster, "a"), (VirtualHost, "r/x")]);
    assert_eq!(talk.take(), "VirtualHost -r/x");
    talk.pass(DRAIN / 2);
    talk.apply([cluster("a", "1"), host("r", "x", "a")], &[]);
    assert_eq!(talk.take(), "VirtualHost +r/x", "it is ready: the host needn't wait");
    talk.pass(DRAIN * 2);
    talk.nothing();
}

#[test]
fn a_client_that_never_asks_for_endpoints_is_not_waited_for_forever() {
    let mut talk = running();
    talk.apply([cluster("b", "1"), endpoints("b"), host("r", "x", "b")], &[]);
    assert_eq!(talk.take(), "Cluster +b");
    talk.pass(NEED_TIMEOUT / 2);
    talk.apply([host("r", "x", "b"), endpoints("b")], &[]);
    talk.nothing();
    assert!(talk.stream.deadline().is_some());
    talk.pass(NEED_TIMEOUT / 2);
    assert_eq!(talk.take(), "VirtualHost +r/x");
    assert_eq!(talk.stream.take_counts().forced, 1);
    assert_eq!(talk.progress, Some(3));
}

#[test]
fn a_cluster_without_its_secret_is_not_sent() {
    let mut talk = running();
    talk.apply([secure_cluster("b", "s"), endpoints("b")], &[]);
    talk.pass(NEED_TIMEOUT * 2);
    talk.nothing();
    assert_eq!(talk.progress, Some(2), "it is nothing that this client can do about");
    talk.apply([secret("s")], &[]);
    assert_eq!(talk.take(), "Cluster +b");
    talk.apply([host("r", "x", "b")], &[]);
    talk.subscribe(ClusterLoadAssignment, &["b"]);
    assert_eq!(talk.take(), "ClusterLoadAssignment +b");
    talk.nothing();
    talk.subscribe(Secret, &["s"]);
    assert_eq!(talk.take(), "Secret +s");
    assert_eq!(talk.take(), "VirtualHost +r/x");
}

#[test]
fn a_route_configuration_stays_while_its_listener_does() {
    let mut talk = running();
    talk.apply([], &[(RouteConfiguration, "r"), (Listener, "l"), (VirtualHost, "r/x")]);
    assert_eq!(talk.stream_response(), "Listener -l");
    assert_eq!(talk.stream_response(), "VirtualHost -r/x");
    assert_eq!(talk.take(), "RouteConfiguration -r");
}

#[test]
fn progress_is_not_reported_before_listeners_are_asked_for_or_had_time_to() {
    let mut talk = Talk::vhds();
    talk.apply([cluster("a", "1")], &[]);
    talk.subscribe(Cluster, &["*"]);
    assert_eq!(talk.take(), "Cluster +a");
    talk.subscribe(ClusterLoadAssignment, &["a"]);
    talk.take();
    assert_eq!(talk.progress, None);
    talk.pass(NEED_TIMEOUT);
    assert_eq!(talk.progress, Some(1));
}
