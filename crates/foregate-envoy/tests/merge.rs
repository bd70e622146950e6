//! Patches.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use foregate_envoy::{from_json, from_yaml, merge, merge_json, message_to_json};
use serde_json::json;

#[test]
fn json() {
    let table = [
        (json!({"a": 1}), json!({"b": 2}), json!({"a": 1, "b": 2})),
        (json!({"a": {"x": 1, "y": 2}}), json!({"a": {"y": 3}}), json!({"a": {"x": 1, "y": 3}})),
        (json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]})),
        (json!({"a": 1, "b": 2}), json!({"a": null}), json!({"b": 2})),
        (json!({"a": 1}), json!({"a": {"b": {"c": null, "d": 1}}}), json!({"a": {"b": {"d": 1}}})),
        (json!([1]), json!({"a": 1}), json!({"a": 1})),
        (json!({"@type": "x", "a": 1}), json!({"@type": "x", "b": 1}), json!({"@type": "x", "a": 1, "b": 1})),
        (json!({"@type": "x", "a": 1}), json!({"@type": "y", "b": 1}), json!({"@type": "y", "b": 1})),
    ];
    for (mut target, patch, want) in table {
        merge_json(&mut target, &patch);
        assert_eq!(target, want);
    }
}

#[test]
fn messages() {
    let base = json!({
        "name": "v",
        "domains": ["a", "b"],
        "routes": [{"match": {"prefix": "/"}}],
        "retry_policy": {"num_retries": 1, "retry_on": "5xx"},
        "typed_per_filter_config": {
            "cors": {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true},
        },
    });
    let table = [
        ("domains: [c]", "/domains", json!(["c"])),
        ("retryPolicy: {num_retries: 3}", "/retry_policy", json!({"num_retries": 3, "retry_on": "5xx"})),
        ("retry_policy: null", "/retry_policy", json!(null)),
        ("retry_policy: {per_try_timeout: 0x1s}", "/error", json!(null)),
        ("include_attempt_count_in_response: true", "/include_attempt_count_in_response", json!(true)),
        (
            "typed_per_filter_config: {cors: {'@type': type.googleapis.com/envoy.config.route.v3.FilterConfig, is_optional: true}}",
            "/typed_per_filter_config/cors/is_optional",
            json!(true),
        ),
        ("matcher: {on_no_match: {action: {name: x}}}", "/matcher/on_no_match/action/name", json!("x")),
    ];
    for (patch, pointer, want) in table {
        let mut message = from_json("envoy.config.route.v3.VirtualHost", &base).unwrap();
        let before = message_to_json(&message);
        let result = merge(&mut message, patch);
        let after = message_to_json(&message);
        if pointer == "/error" {
            let errors = result.unwrap_err();
            assert_eq!(
                (errors[0].line, errors[0].column, errors[0].path.as_str()),
                (1, 33, "retry_policy.per_try_timeout")
            );
            assert_eq!(after, before);
            continue;
        }
        result.unwrap();
        assert_eq!(after.pointer(pointer).cloned().unwrap_or_default(), want, "{patch}");
        assert_eq!(after["name"], "v");
    }
}

#[test]
fn a_choice_replaces_the_other() {
    let type_name = "envoy.config.route.v3.Route";
    let mut message = from_yaml(type_name, "match: {prefix: /}\nroute: {cluster: a, timeout: 1s}").unwrap();
    merge(&mut message, "route: {cluster_header: x-to}").unwrap();
    assert_eq!(message_to_json(&message)["route"], json!({"cluster_header": "x-to", "timeout": "1s"}));
    merge(&mut message, "direct_response: {status: 503}").unwrap();
    assert_eq!(message_to_json(&message), json!({"match": {"prefix": "/"}, "direct_response": {"status": 503}}));
    let errors = merge(&mut message, "route: {}\nredirect: {}").unwrap_err();
    assert!(errors[0].message.contains("only one of the choices"), "{errors:?}");
    assert!(merge(&mut message, "").is_err());
    assert!(merge(&mut message, "[1]").is_err());
}
