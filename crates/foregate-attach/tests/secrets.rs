//! Which Secrets attachment wants to be told of.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{at, gone, input};
use foregate_attach::{Attach, Key, Settings};
use serde_json::json;

#[test]
fn those_that_a_listener_names() {
    let mut attach = Attach::new(Settings::local());
    let own = Key::new("default", "own");
    let other = Key::new("certs", "other");
    let gateway = |certificates| {
        input(json!({
            "kind": "Gateway", "metadata": { "name": "gw", "namespace": "default", "uid": "g" },
            "spec": { "gatewayClassName": "foregate", "listeners": [
                { "name": "tls", "port": 443, "protocol": "HTTPS", "tls": { "certificateRefs": certificates } },
            ] },
        }))
    };
    attach.apply([gateway(json!([{ "name": "own" }, { "name": "other", "namespace": "certs" }]))], &at(0));
    assert!(attach.wants_secret(&own) && attach.wants_secret(&other));
    attach.apply([gateway(json!([{ "name": "own" }]))], &at(0));
    assert!(attach.wants_secret(&own) && !attach.wants_secret(&other));
    attach.apply([gone("Gateway", Key::new("default", "gw"))], &at(0));
    assert!(!attach.wants_secret(&own));
}
