//! What holds for all inputs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use foregate_envoy::{canonical, decode, from_json, from_yaml, merge, merge_json, message_to_json, validate};
use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Value, json};

const TYPES: [&str; 4] = [
    "envoy.config.listener.v3.Listener",
    "envoy.config.route.v3.VirtualHost",
    "envoy.config.cluster.v3.Cluster",
    "google.protobuf.Any",
];

/// Pieces of YAML, right and wrong.
fn soup() -> impl Strategy<Value = String> {
    let pieces = [
        "name",
        "routes",
        "match",
        "prefix",
        "typed_per_filter_config",
        "'@type'",
        "domains",
        "timeout",
        "value",
        "type.googleapis.com/google.protobuf.Any",
        "type.googleapis.com/envoy.config.route.v3.Route",
        ": ",
        ":",
        "- ",
        "\n",
        "\n  ",
        "\n    ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "&a ",
        "*a",
        "<<: *a",
        "!!str ",
        "!x ",
        "|\n",
        ">",
        "'",
        "\"",
        "#",
        "---\n",
        "...",
        "? ",
        "1",
        "0x1F",
        "1e9",
        ".inf",
        "null",
        "~",
        "true",
        "5s",
        "é",
        "\t",
        "%",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..50).prop_map(|parts| parts.concat())
}

fn route() -> impl Strategy<Value = Value> {
    let text = "[a-z/.*]{0,8}";
    let header = (text, text).prop_map(|(key, value)| json!({"header": {"key": key, "value": value}}));
    let filters = prop::collection::btree_map("[a-z.]{1,6}", any::<bool>(), 0..4).prop_map(|map| {
        let url = "type.googleapis.com/envoy.config.route.v3.FilterConfig";
        map.into_iter().map(|(name, disabled)| (name, json!({"@type": url, "disabled": disabled}))).collect::<Value>()
    });
    let labels = prop::collection::btree_map(text, any::<f64>().prop_filter("finite", |n| n.is_finite()), 0..5);
    (text, any::<u32>(), any::<bool>(), prop::collection::vec(header, 0..3), filters, labels, 0i64..1_000_000).prop_map(
        |(path, weight, flag, headers, filters, labels, millis)| {
            json!({
                "match": {"prefix": path, "case_sensitive": flag},
                "route": {
                    "weighted_clusters": {"clusters": [{"name": "a", "weight": weight}]},
                    "timeout": format!("{}.{:03}s", millis / 1000, millis % 1000),
                },
                "request_headers_to_add": headers,
                "typed_per_filter_config": filters,
                "metadata": {"filter_metadata": {"labels": labels}},
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_text_is_read_or_refused(text in any::<String>(), of in 0usize..4) {
        let _ = from_yaml(TYPES[of], &text);
    }

    #[test]
    fn arbitrary_yaml_is_read_or_refused_with_places(text in soup(), of in 0usize..4) {
        let lines = text.lines().count() + 1;
        match from_yaml(TYPES[of], &text) {
            // What is read can be printed, and is then read as the same.
            Ok(message) => {
                let again = from_json(TYPES[of], &message_to_json(&message)).unwrap();
                prop_assert_eq!(canonical::encode(&again), canonical::encode(&message));
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                prop_assert!(errors.iter().all(|error| error.line <= lines), "{:?}", errors);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_checked_and_printed(body in prop::collection::vec(any::<u8>(), 0..200), of in 0usize..4) {
        let violations = validate(TYPES[of], &body);
        match decode(TYPES[of], &body) {
            Ok(message) => {
                let _ = message_to_json(&message);
            }
            // What doesn't decode never passes.
            Err(_) => prop_assert!(!violations.is_empty()),
        }
        let mut sorted = body.clone();
        canonical::sort(TYPES[of], &mut sorted);
        prop_assert_eq!(sorted.len(), body.len());
    }

    #[test]
    fn json_is_stable(routes in prop::collection::vec(route(), 0..3)) {
        let json = json!({"name": "v", "domains": ["*"], "routes": routes});
        let message = from_json(TYPES[1], &json).unwrap();
        let printed = message_to_json(&message);
        let again = from_json(TYPES[1], &printed).unwrap();
        prop_assert_eq!(message_to_json(&again), printed);
        let body = canonical::encode(&message);
        prop_assert_eq!(&canonical::encode(&again), &body);
        // Sorting is the same as encoding canonically, and changes no meaning.
        let mut sorted = message.encode_to_vec();
        canonical::sort(TYPES[1], &mut sorted);
        prop_assert_eq!(&sorted, &body);
        prop_assert_eq!(message_to_json(&decode(TYPES[1], &sorted).unwrap()), message_to_json(&message));
    }

    #[test]
    fn merging_is_idempotent(base in route(), patch in route()) {
        let mut message = from_json("envoy.config.route.v3.Route", &base).unwrap();
        merge(&mut message, &patch.to_string()).unwrap();
        let once = canonical::encode(&message);
        merge(&mut message, &patch.to_string()).unwrap();
        prop_assert_eq!(canonical::encode(&message), once);
        let mut json = base.clone();
        merge_json(&mut json, &patch);
        let merged = json.clone();
        merge_json(&mut json, &patch);
        prop_assert_eq!(json, merged);
    }
}
