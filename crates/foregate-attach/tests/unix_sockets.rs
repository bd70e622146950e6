//! Unix sockets only where the settings allow them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::{at, input};
use foregate_attach::{Attach, Settings};
use serde_json::json;

fn accepted(unix_sockets: bool) -> (String, String) {
    let mut attach = Attach::new(Settings { unix_sockets, ..Settings::local() });
    let backend = json!({
        "kind": "Backend", "metadata": { "name": "b", "namespace": "default", "uid": "b", "generation": 1 },
        "spec": { "endpoints": [{ "unix": { "path": "/run/app.sock" } }] },
    });
    let output = attach.apply([input(backend)], &at(0));
    let condition = &output.statuses[0].status["conditions"][0];
    let text = |field: &str| condition[field].as_str().unwrap().to_owned();
    (text("status"), text("message"))
}

#[test]
fn settings_decide() {
    assert_eq!(accepted(true).0, "True");
    let (status, message) = accepted(false);
    assert_eq!(status, "False");
    assert_eq!(message, "spec.endpoints[0].unix.path: Unix sockets aren't allowed by the controller's settings");
}
