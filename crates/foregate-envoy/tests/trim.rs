//! Giving the descriptors back. Alone in its process: other tests hold descriptors across calls.

#![allow(clippy::unwrap_used, reason = "tests")]

use foregate_envoy::{descriptors, from_yaml, validate};

const LISTENER: &str = "envoy.config.listener.v3.Listener";
const ROUTES: &str = "envoy.config.route.v3.RouteConfiguration";

fn rules_broken(type_name: &str, text: &str) -> Vec<String> {
    use prost::Message as _;
    let body = from_yaml(type_name, text).unwrap().encode_to_vec();
    validate(type_name, &body).into_iter().map(|violation| violation.rule).collect()
}

#[test]
fn descriptors_that_nobody_uses_are_given_back_and_come_again() {
    let first = descriptors::pool();
    descriptors::trim();
    assert_eq!(descriptors::pool(), first, "it was used since the last time");
    // Rules of half of a message's parts are compiled before, of the other half after.
    assert_eq!(rules_broken(LISTENER, "{name: a}"), Vec::<String>::new());
    descriptors::trim();
    descriptors::trim();
    assert_ne!(descriptors::pool(), first, "nobody used it");
    let address = "{name: a, address: {socket_address: {address: '', port_value: 70000}}}";
    assert_eq!(rules_broken(LISTENER, address), ["string.min_len", "uint32.lte"]);
    let host = "{virtual_hosts: [{name: '', domains: [a]}]}";
    assert_eq!(rules_broken(ROUTES, host), ["string.min_len"]);
}
