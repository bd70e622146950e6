//! Resources: equal content has equal bytes; what people see of them holds no secret.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::HashMap;

use foregate_envoy::pb::envoy::config::route::v3::{Route, VirtualHost};
use foregate_envoy::pb::google::protobuf::Any;
use foregate_envoy::{Resource, ResourceId, ResourceKind, decode_yaml, from_yaml, to_json, to_yaml, validate};
use prost::Message as _;

/// Twenty entries come in another order in each new hash map.
fn virtual_host() -> VirtualHost {
    let configs: HashMap<String, Any> = (0..20).map(|n| (format!("filter-{n}"), Any::default())).collect();
    let route = Route { typed_per_filter_config: configs.clone(), ..Route::default() };
    let inner = Route { typed_per_filter_config: configs.clone(), ..Route::default() };
    let any = Any { type_url: "type.googleapis.com/envoy.config.route.v3.Route".into(), value: inner.encode_to_vec() };
    let mut outer = configs;
    outer.insert("nested".into(), any);
    VirtualHost { name: "v".into(), routes: vec![route; 2], typed_per_filter_config: outer, ..VirtualHost::default() }
}

#[test]
fn versions_do_not_depend_on_the_order_of_hash_maps() {
    let id = ResourceId::new(ResourceKind::VirtualHost, "http-8080/a");
    let first = Resource::new(id.clone(), &virtual_host(), [], []);
    for _ in 0..20 {
        assert_eq!(Resource::new(id.clone(), &virtual_host(), [], []), first);
    }
    assert_eq!(VirtualHost::decode(first.body.as_ref()).unwrap().typed_per_filter_config.len(), 21);
}

#[test]
fn typed_and_dynamic_messages_have_the_same_bytes() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/route.in.yaml")).unwrap();
    let type_name = "envoy.config.route.v3.RouteConfiguration";
    let typed: foregate_envoy::pb::envoy::config::route::v3::RouteConfiguration =
        decode_yaml(type_name, &text).unwrap();
    let id = ResourceId::new(ResourceKind::RouteConfiguration, "http-8080");
    let body = Resource::new(id, &typed, [], []).body;
    assert_eq!(body, foregate_envoy::canonical::encode(&from_yaml(type_name, &text).unwrap()));
    assert_eq!(to_json(ResourceKind::RouteConfiguration, &body).unwrap()["name"], "http-8080");
}

/// Patches may be appended to a message's bytes: what decoders make of both must stay what it is.
#[test]
fn appended_bytes_keep_their_meaning() {
    let type_name = "envoy.config.route.v3.Route";
    let bytes = |yaml: &str| from_yaml(type_name, yaml).unwrap().encode_to_vec();
    let mut body = bytes("match: {prefix: /}\ndirect_response: {status: 9}");
    body.extend(bytes("match: {path: /a}\nroute: {cluster: a, cluster_specifier_plugin: null}"));
    let before = foregate_envoy::message_to_json(&foregate_envoy::decode(type_name, &body).unwrap());
    assert_eq!(validate(type_name, &body), []);
    foregate_envoy::canonical::sort(type_name, &mut body);
    assert_eq!(foregate_envoy::message_to_json(&foregate_envoy::decode(type_name, &body).unwrap()), before);
    assert_eq!(before["route"]["cluster"], "a");
    body.extend(bytes("direct_response: {status: 9}"));
    assert_eq!(validate(type_name, &body)[0].path, "direct_response.status");
}

#[test]
fn what_people_see_holds_no_secret() {
    let text = "name: s\ntls_certificate:\n  certificate_chain: {inline_string: public}\n  private_key: {inline_string: very-secret}\n  password: {inline_string: very-secret}";
    let type_name = "envoy.extensions.transport_sockets.tls.v3.Secret";
    let body = from_yaml(type_name, text).unwrap().encode_to_vec();
    let yaml = to_yaml(ResourceKind::Secret, &body).unwrap();
    assert!(!yaml.contains("very-secret") && yaml.contains("public") && yaml.contains("[redacted]"), "{yaml}");
    assert!(!to_json(ResourceKind::Secret, &body).unwrap().to_string().contains("very-secret"));
    assert_eq!(validate(type_name, &body), []);
    assert!(to_json(ResourceKind::Secret, &[0xff]).is_err());
}

/// Whatever is read can be decoded again, however deep; and what can't be decoded isn't read.
#[test]
fn depth_is_that_of_decoders() {
    let type_name = "envoy.config.core.v3.Metadata";
    for depth in 1..60 {
        let lists = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let maps = format!("{}1{}", "{a: ".repeat(depth), "}".repeat(depth));
        for value in [lists, maps] {
            let text = format!("filter_metadata: {{x: {{a: {value}}}}}");
            match from_yaml(type_name, &text) {
                Ok(message) => assert!(foregate_envoy::decode(type_name, &message.encode_to_vec()).is_ok(), "{text}"),
                Err(errors) => assert!(errors[0].message.contains("too deeply") && depth > 25, "{depth} {errors:?}"),
            }
        }
    }
}

#[test]
fn hostile_yaml_is_refused_soon() {
    let listener = "envoy.config.listener.v3.Listener";
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let refs = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs += &format!("a{level}: &a{level} [{refs}]\n");
    }
    let table = [
        ("[".repeat(100_000), ""),
        ("{a: ".repeat(100_000), ""),
        ("- ".repeat(100_000), ""),
        (format!("metadata: {}1{}", "{a: ".repeat(150), "}".repeat(150)), "nested deeper"),
        (laughs, "more than 500000 values"),
        ("a: &a [*a]".to_owned(), ""),
        ("x".repeat(9 << 20), "larger than"),
        (format!("[{}]", "1,".repeat(600_000)), "more than 500000 values"),
    ];
    for (text, want) in table {
        let errors = from_yaml(listener, &text).unwrap_err();
        assert!(errors[0].message.contains(want), "{want}: {}", errors[0]);
    }
}
