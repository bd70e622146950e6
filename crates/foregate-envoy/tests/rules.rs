//! Every rule kind that Envoy's API uses is known, and counted: a new Envoy that brings another fails here.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;

use foregate_envoy::{descriptors, validate};
use prost_reflect::{DynamicMessage, MessageDescriptor};

/// Collects `kind.rule` names below a FieldRules message.
fn kinds(rules: &DynamicMessage, into: &mut BTreeMap<String, usize>) {
    for (kind, value) in rules.fields() {
        let Some(inner) = value.as_message() else { continue };
        for (rule, value) in inner.fields() {
            *into.entry(format!("{}.{}", kind.name(), rule.name())).or_default() += 1;
            if ["items", "keys", "values"].contains(&rule.name()) {
                kinds(value.as_message().unwrap(), into);
            }
        }
    }
}

fn of_envoy() -> impl Iterator<Item = MessageDescriptor> {
    let ours = |name: &str| ["envoy.", "xds.", "udpa."].iter().any(|prefix| name.starts_with(prefix));
    let all: Vec<_> = descriptors::pool().all_messages().collect();
    all.into_iter().filter(move |message| ours(message.full_name()))
}

#[test]
fn every_rule_of_envoy_is_known() {
    let field_rules = descriptors::pool().get_extension_by_name("validate.rules").unwrap();
    let required = descriptors::pool().get_extension_by_name("validate.required").unwrap();
    let (mut found, mut fields, mut oneofs) = (BTreeMap::new(), 0, 0);
    for message in of_envoy() {
        for field in message.fields() {
            let options = field.options();
            if options.has_extension(&field_rules) {
                fields += 1;
                kinds(options.get_extension(&field_rules).as_message().unwrap(), &mut found);
            }
        }
        oneofs +=
            message.oneofs().filter(|oneof| oneof.options().get_extension(&required).as_bool() == Some(true)).count();
        // The checker reports rules that it doesn't know when it meets a message that has them.
        let unsupported: Vec<_> =
            validate(message.full_name(), &[]).into_iter().filter(|v| v.rule == "unsupported").collect();
        assert_eq!(unsupported, []);
    }
    let list: Vec<String> = found.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    assert_eq!((fields, oneofs, found.len()), (1195, 126, 48), "{list:#?}");
}

#[test]
fn every_message_is_known_by_name_and_url() {
    assert!(of_envoy().count() > 1000);
    assert!(descriptors::message("type.googleapis.com/envoy.config.listener.v3.Listener").is_some());
    assert_eq!(validate("envoy.config.listener.v3.Listner", &[])[0].rule, "type");
}

/// The descriptors were made from the protos of the crate that `pb` comes from.
#[test]
fn descriptors_are_those_of_the_rust_types() {
    let source = include_str!("../descriptors/source.txt").trim();
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
    let (_, after) = lock.split_once("name = \"envoy-types\"\nversion = \"").unwrap();
    let (version, _) = after.split_once('"').unwrap();
    assert_eq!(source, format!("envoy-types-{version}"), "run crates/foregate-envoy/codegen/descriptors.sh");
}
