//! Labels and annotations that a Gateway hands on to what is made for it (`spec.infrastructure`): they are on its
//! GatewayProxy, Addresses and GatewayInstances.
//!
//! An annotation says which they are, so that they can be taken off again; what others put there stays.

use std::collections::BTreeMap;

use foregate_api::claim::ClaimInfrastructure;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::bind::{MANAGED_BY, MANAGER};
use crate::outbox::Write;

/// Annotation: the names of labels and annotations that were handed on, as JSON.
const RECORD: &str = "foregate.dev/handed-on";
/// Domains whose labels and annotations say something to whoever reads them here: they are nobody's to hand on.
const RESERVED: [&str; 3] = ["foregate.dev", "kubernetes.io", "k8s.io"];
/// The domain of labels that everybody may use.
const COMMON: &str = "app.kubernetes.io";
/// The longest name of a label or annotation, without its domain, and the longest value of a label.
const LONGEST: usize = 63;

/// What was handed on.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    labels: Vec<String>,
    annotations: Vec<String>,
}

/// Puts on a new object what its Gateway hands on.
pub(super) fn put(metadata: &mut ObjectMeta, given: Option<&ClaimInfrastructure>) {
    let Some((labels, annotations)) = taken(given) else { return };
    let record = record(&labels, &annotations);
    let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    metadata.labels.get_or_insert_default().extend(labels.into_iter().map(own));
    let all = metadata.annotations.get_or_insert_default();
    all.extend(annotations.into_iter().map(own));
    all.insert(RECORD.to_owned(), record);
}

/// The write that gives an object of ours what its Gateway hands on now, and takes off what it doesn't any more.
pub(super) fn change<K: Resource>(object: &K, given: Option<&ClaimInfrastructure>) -> Option<Write> {
    let metadata = object.meta();
    let has = |key: &str| metadata.labels.as_ref()?.get(key).map(String::as_str);
    let says = |key: &str| metadata.annotations.as_ref()?.get(key).map(String::as_str);
    if metadata.deletion_timestamp.is_some() || has(MANAGED_BY) != Some(MANAGER) {
        return None;
    }
    let (labels, annotations) = taken(given).unwrap_or_default();
    let before: Record = says(RECORD).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut patch = (Map::new(), Map::new());
    for gone in before.labels.iter().filter(|key| !labels.contains_key(key.as_str()) && has(key).is_some()) {
        patch.0.insert(gone.clone(), Value::Null);
    }
    for gone in before.annotations.iter().filter(|key| !annotations.contains_key(key.as_str()) && says(key).is_some()) {
        patch.1.insert(gone.clone(), Value::Null);
    }
    for (key, value) in labels.iter().filter(|(key, value)| has(key) != Some(**value)) {
        patch.0.insert((*key).to_owned(), json!(value));
    }
    for (key, value) in annotations.iter().filter(|(key, value)| says(key) != Some(**value)) {
        patch.1.insert((*key).to_owned(), json!(value));
    }
    let wanted = (!labels.is_empty() || !annotations.is_empty()).then(|| record(&labels, &annotations));
    if says(RECORD) != wanted.as_deref() {
        patch.1.insert(RECORD.to_owned(), json!(wanted));
    }
    if patch.0.is_empty() && patch.1.is_empty() {
        return None;
    }
    let uid = metadata.uid.clone()?;
    let change = json!({ "metadata": { "uid": uid, "labels": patch.0, "annotations": patch.1 } });
    Some(Write::Metadata { uid, change })
}

/// Names and values.
type Pairs<'a> = BTreeMap<&'a str, &'a str>;

/// Labels and annotations that can be taken; none: there are none.
fn taken(given: Option<&ClaimInfrastructure>) -> Option<(Pairs<'_>, Pairs<'_>)> {
    let given = given?;
    let pairs = |(key, value)| (String::as_str(key), String::as_str(value));
    let labels = given.labels.iter().map(pairs).filter(|(key, value)| is_free(key) && is_value(value));
    let labels: Pairs = labels.collect();
    let annotations: Pairs = given.annotations.iter().map(pairs).filter(|(key, _)| is_free(key)).collect();
    (!labels.is_empty() || !annotations.is_empty()).then_some((labels, annotations))
}

fn record(labels: &Pairs, annotations: &Pairs) -> String {
    let keys = |map: &Pairs| map.keys().map(|key| (*key).to_owned()).collect();
    json!(Record { labels: keys(labels), annotations: keys(annotations) }).to_string()
}

/// Whether a name can be given, and means nothing to anybody here.
fn is_free(key: &str) -> bool {
    let (domain, name) = key.split_once('/').unwrap_or(("", key));
    let is_reserved = key == MANAGED_BY
        || domain != COMMON
            && RESERVED.iter().any(|reserved| {
                domain.strip_suffix(reserved).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            });
    let is_domain = domain.len() <= 253
        && domain.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'));
    !name.is_empty() && is_value(name) && is_domain && !key.starts_with('/') && !is_reserved
}

/// Whether a label can have a value.
fn is_value(value: &str) -> bool {
    let ends = [value.bytes().next(), value.bytes().next_back()];
    value.len() <= LONGEST
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && ends.into_iter().flatten().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_something_here_are_not_handed_on() {
        for (key, free) in [
            ("team", true),
            ("example.com/team", true),
            ("external-dns.alpha.example.org/hostname", true),
            (MANAGED_BY, false),
            ("app.kubernetes.io/part-of", true),
            ("foregate.dev/cluster", false),
            ("a.foregate.dev/x", false),
            ("notforegate.dev/x", true),
            ("kubectl.kubernetes.io/last-applied-configuration", false),
            ("gateway.networking.k8s.io/gateway-name", false),
            ("", false),
            ("/x", false),
            ("a/b/c", false),
            ("spa ced", false),
        ] {
            assert_eq!(is_free(key), free, "{key:?}");
        }
        assert!(is_value("") && is_value("a.b-c") && !is_value("-a") && !is_value(&"x".repeat(64)));
    }
}
