//! Virtual hosts: one by one, or put together.

use foregate_envoy::ResourceKind::{Cluster, ClusterLoadAssignment, Listener, RouteConfiguration, VirtualHost};
use foregate_envoy::pb::envoy::config::route::v3::RouteConfiguration as Routes;
use foregate_xds::stream::Response;
use prost::Message;

use crate::resources::{cluster, endpoints, host, shell, shell_with};
use crate::talk::{Talk, show};

fn routes(response: &Response) -> Routes {
    assert_eq!(response.resources.len(), 1);
    Routes::decode(response.resources[0].body.clone()).unwrap()
}

/// The hosts in a composed route configuration.
fn hosts(response: &Response) -> Vec<String> {
    routes(response).virtual_hosts.into_iter().map(|host| host.name).collect()
}

/// A client without VHDS that has cluster `a`.
fn composed() -> Talk {
    let mut talk = Talk::delta();
    talk.apply([cluster("a", "1"), endpoints("a")], &[]);
    talk.subscribe(Cluster, &["*"]);
    talk.take();
    talk.subscribe(ClusterLoadAssignment, &["a"]);
    talk.take();
    talk
}

#[test]
fn a_client_with_vhds_is_told_to_use_it() {
    let mut talk = Talk::vhds();
    talk.apply([shell("r"), host("r", "x", "a")], &[]);
    talk.subscribe(RouteConfiguration, &["r"]);
    let response = talk.one();
    let routes = routes(&response);
    assert_eq!((routes.name.as_str(), routes.virtual_hosts.len()), ("r", 0));
    let source = routes.vhds.unwrap().config_source.unwrap();
    assert_eq!(format!("{:?}", source.config_source_specifier.unwrap()), "Ads(AggregatedConfigSource)");
    assert_eq!(source.resource_api_version, 2, "V3");
}

#[test]
fn a_client_without_vhds_gets_whole_route_configurations() {
    let mut talk = composed();
    talk.apply([shell("r"), host("r", "x", "a"), host("r", "y", "a"), host("s", "z", "a")], &[]);
    talk.subscribe(RouteConfiguration, &["r"]);
    let first = talk.one();
    assert_eq!(hosts(&first), ["x to a", "y to a"]);
    assert_eq!(routes(&first).vhds, None);
    talk.apply([host("r", "w", "a")], &[(VirtualHost, "r/x")]);
    talk.apply([host("r", "v", "a")], &[]);
    talk.nothing();
    talk.ack(&first);
    let second = talk.one();
    assert_eq!(hosts(&second), ["v to a", "w to a", "y to a"], "all that changed meanwhile, once");
    assert_ne!(first.resources[0].version, second.resources[0].version);
}

/// As happens to an engine that starts while a route is moved to a new backend: it must not listen without the host.
#[test]
fn a_whole_is_not_sent_without_a_host_that_waits_if_the_client_has_nothing_yet() {
    let mut talk = composed();
    talk.apply([cluster("b", "1"), endpoints("b"), shell("r"), host("r", "x", "b"), host("r", "y", "a")], &[]);
    let cluster = talk.one();
    talk.subscribe(RouteConfiguration, &["r"]);
    talk.nothing();
    talk.ack(&cluster);
    talk.subscribe(ClusterLoadAssignment, &["b"]);
    let endpoints = talk.one();
    talk.nothing();
    talk.ack(&endpoints);
    assert_eq!(hosts(&talk.one()), ["x to b", "y to a"]);
}

#[test]
fn a_host_that_waits_keeps_its_old_place_in_the_whole() {
    let mut talk = composed();
    talk.apply([shell("r"), host("r", "x", "a")], &[]);
    talk.subscribe(RouteConfiguration, &["r"]);
    talk.take();
    talk.apply([cluster("b", "1"), host("r", "x", "b"), host("r", "y", "a")], &[]);
    let all = talk.stream_responses();
    assert_eq!(hosts(&all[1]), ["x to a", "y to a"]);
    talk.ack(&all[0]);
    talk.ack(&all[1]);
    talk.subscribe(ClusterLoadAssignment, &["b"]);
    talk.take();
    assert_eq!(hosts(&talk.one()), ["x to b", "y to a"]);
}

#[test]
fn the_culprit_in_a_whole_is_found_and_left_out() {
    let mut talk = composed();
    talk.apply([shell("r"), host("r", "x", "a"), host("r", "bad", "a")], &[]);
    talk.subscribe(RouteConfiguration, &["r"]);
    loop {
        let Some(response) = talk.stream_responses().pop() else { break };
        match hosts(&response).contains(&"bad to a".to_owned()) {
            true => talk.nack(&response),
            false => talk.ack(&response),
        }
    }
    assert_eq!(talk.nacked.len(), 1);
    assert_eq!(&*talk.nacked[0].0.name, "r/bad");
    talk.apply([host("r", "y", "a")], &[]);
    assert_eq!(hosts(&talk.one()), ["x to a", "y to a"]);
}

#[test]
fn a_refused_shell_leaves_the_last_good_one_in_use() {
    let mut talk = composed();
    talk.apply([shell("r"), host("r", "x", "a")], &[]);
    talk.subscribe(RouteConfiguration, &["r"]);
    talk.take();
    talk.apply([shell_with("r", "bad")], &[]);
    let bad = talk.one();
    talk.nack(&bad);
    assert_eq!(talk.nacked[0].0.kind, RouteConfiguration);
    talk.apply([host("r", "y", "a")], &[]);
    let next = talk.one();
    assert_eq!(hosts(&next), ["x to a", "y to a"]);
    assert_eq!(routes(&next).internal_only_headers, ["x-internal"]);
}

#[test]
fn a_reconnecting_client_that_has_the_whole_gets_nothing() {
    let mut talk = composed();
    talk.apply([shell("r"), host("r", "x", "a"), host("r", "y", "a")], &[]);
    talk.subscribe(RouteConfiguration, &["r"]);
    let version = talk.one().resources[0].version.clone();

    let mut talk = composed();
    talk.apply([shell("r"), host("r", "y", "a"), host("r", "x", "a")], &[]);
    talk.subscribe(Listener, &["*"]);
    talk.take();
    talk.resume(RouteConfiguration, &["r"], &[("r", &version)]);
    talk.nothing();
    talk.apply([host("r", "z", "a")], &[]);
    assert_eq!(hosts(&talk.one()), ["x to a", "y to a", "z to a"]);
}

#[test]
fn globs_and_single_names() {
    let mut talk = Talk::vhds();
    // The route configuration of an HTTPS filter chain has a slash and an asterisk of its own.
    talk.apply([host("https-8443/*", "*", "a"), host("https-8443/*", "x", "a"), host("https-8443", "x", "a")], &[]);
    talk.subscribe(Cluster, &["*"]);
    talk.take();
    talk.pass(crate::talk::NEED_TIMEOUT);
    talk.subscribe(VirtualHost, &["https-8443/*/*"]);
    talk.pass(crate::talk::NEED_TIMEOUT);
    assert_eq!(talk.take(), "VirtualHost +https-8443/*/* +https-8443/*/x");
    talk.subscribe(VirtualHost, &["https-8443/x", "https-8443/none"]);
    assert_eq!(talk.take(), "VirtualHost -https-8443/none");
    talk.pass(crate::talk::NEED_TIMEOUT);
    assert_eq!(show(&talk.one()), "VirtualHost +https-8443/x");
}

#[test]
fn many_changes_of_a_whole_are_put_in_their_places() {
    let mut talk = composed();
    let old = (0..40).map(|n| host("r", &format!("{n:0>2}"), "a"));
    talk.apply(old.chain([shell("r")]), &[]);
    talk.subscribe(RouteConfiguration, &["r"]);
    assert_eq!(hosts(&talk.stream_responses()[0]).len(), 40);

    let mut talk = composed();
    talk.apply((0..20).map(|n| host("r", &format!("{n:0>2}"), "a")).chain([shell("r")]), &[]);
    talk.subscribe(RouteConfiguration, &["r"]);
    talk.take();
    let names: Vec<String> = (5..9).map(|n| format!("r/{n:0>2}")).collect();
    let gone: Vec<_> = names.iter().map(|name| (VirtualHost, name.as_str())).collect();
    talk.apply((15..40).map(|n| host("r", &format!("{n:0>2}"), "a")), &gone);
    let expected: Vec<String> = (0..5).chain(9..40).map(|n| format!("{n:0>2} to a")).collect();
    assert_eq!(hosts(&talk.one()), expected);
}
