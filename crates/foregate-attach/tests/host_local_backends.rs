//! Backends on the gateways' own hosts only where the settings allow them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::{at, input};
use foregate_attach::{Attach, Settings};
use serde_json::{Value, json};

/// What is said against a Backend with one endpoint; empty: nothing.
fn refusal(host_local_backends: bool, endpoint: &Value) -> String {
    let mut attach = Attach::new(Settings { host_local_backends, ..Settings::local() });
    let backend = json!({
        "kind": "Backend", "metadata": { "name": "b", "namespace": "default", "uid": "b", "generation": 1 },
        "spec": { "endpoints": [endpoint] },
    });
    let output = attach.apply([input(backend)], &at(0));
    let condition = &output.statuses[0].status["conditions"][0];
    assert_eq!(condition["type"], "Accepted");
    condition["message"].as_str().unwrap().to_owned()
}

#[test]
fn settings_decide() {
    let ip = |address: &str| json!({ "ip": { "address": address, "port": 80 } });
    let name = |hostname: &str| json!({ "fqdn": { "hostname": hostname, "port": 80 } });
    let local = [
        json!({ "unix": { "path": "/run/app.sock" } }),
        ip("127.1.2.3"),
        ip("0.0.0.0"),
        ip("169.254.169.254"),
        ip("::1"),
        ip("::ffff:127.0.0.1"),
        ip("fe80::1"),
        name("localhost"),
        name("a.localhost"),
    ];
    for endpoint in &local {
        assert_eq!(refusal(true, endpoint), "", "{endpoint}");
        let message = refusal(false, endpoint);
        assert!(message.starts_with("spec.endpoints[0]."), "{endpoint}: {message}");
        assert!(message.contains("aren't allowed by the controller's settings"), "{endpoint}: {message}");
    }
    for endpoint in [ip("10.0.0.1"), ip("2001:db8::1"), name("example.com")] {
        assert_eq!(refusal(false, &endpoint), "", "{endpoint}");
    }
}
