//! Rules for `metadata` that hold for every kind: names, labels, annotations.

use serde_json::{Map, Value};

use super::error::{FieldError, FieldErrorKind};

/// What a kind's names must look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain, at most 253 characters: most kinds.
    #[default]
    Subdomain,
    /// RFC 1123 label, at most 63 characters: Namespace, Service.
    Label,
    /// Anything that fits in a URL's path segment: RBAC.
    PathSegment,
}

/// Annotations of one object may hold this many bytes, keys and values together.
const ANNOTATION_BYTES: usize = 256 * 1024;

const SUBDOMAIN_TEXT: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_TEXT: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_TEXT: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_TEXT: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Checks `object.metadata`: name, generateName, namespace, labels, annotations, finalizers and
/// owner references. `namespaced` says whether the kind lives in namespaces.
pub fn validate_metadata(object: &Value, rule: NameRule, namespaced: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let Some(metadata) = object.get("metadata").and_then(Value::as_object) else {
        errors.push(FieldError::required("metadata", ""));
        return errors;
    };
    check_names(metadata, rule, namespaced, &mut errors);
    check_labels(metadata, &mut errors);
    check_annotations(metadata, &mut errors);
    check_finalizers(metadata, &mut errors);
    check_owners(metadata, &mut errors);
    errors
}

fn text<'a>(metadata: &'a Map<String, Value>, field: &str) -> &'a str {
    metadata.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn check_names(metadata: &Map<String, Value>, rule: NameRule, namespaced: bool, errors: &mut Vec<FieldError>) {
    let (name, prefix) = (text(metadata, "name"), text(metadata, "generateName"));
    if name.is_empty() && prefix.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    }
    if !name.is_empty() {
        check_name("metadata.name", name, rule, errors);
    }
    if !prefix.is_empty() {
        // What the server appends is alphanumeric, so a prefix may end with '-' or '.'.
        let whole = format!("{}a", prefix.trim_end_matches(['-', '.']));
        check_name("metadata.generateName", &whole, rule, errors);
    }
    let namespace = text(metadata, "namespace");
    if namespaced && namespace.is_empty() {
        errors.push(FieldError::required("metadata.namespace", ""));
    } else if namespaced && !is_dns_label(namespace) {
        errors.push(FieldError::invalid("metadata.namespace", &namespace.into(), LABEL_TEXT));
    } else if !namespaced && !namespace.is_empty() {
        errors.push(FieldError::forbidden("metadata.namespace", "not allowed on this type"));
    }
}

fn check_name(field: &str, name: &str, rule: NameRule, errors: &mut Vec<FieldError>) {
    let value = Value::from(name);
    let limit = if rule == NameRule::Label { 63 } else { 253 };
    if rule != NameRule::PathSegment && name.len() > limit {
        errors.push(FieldError::invalid(field, &value, format!("must be no more than {limit} characters")));
        return;
    }
    let (fits, detail) = match rule {
        NameRule::Subdomain => (is_dns_subdomain(name), SUBDOMAIN_TEXT),
        NameRule::Label => (is_dns_label(name), LABEL_TEXT),
        NameRule::PathSegment if matches!(name, "." | "..") => (false, "may not be '.' or '..'"),
        NameRule::PathSegment => (!name.contains(['/', '%']), "may not contain '/' or '%'"),
    };
    if !fits {
        errors.push(FieldError::invalid(field, &value, detail));
    }
}

fn check_labels(metadata: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    for (key, value) in metadata.get("labels").and_then(Value::as_object).into_iter().flatten() {
        check_key("metadata.labels", key, errors);
        if let Some(text) = value.as_str() {
            if text.len() > 63 {
                errors.push(FieldError::invalid("metadata.labels", value, "must be no more than 63 bytes"));
            } else if !text.is_empty() && !is_name_part(text) {
                errors.push(FieldError::invalid("metadata.labels", value, VALUE_TEXT));
            }
        }
    }
}

fn check_annotations(metadata: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    let mut total = 0;
    for (key, value) in metadata.get("annotations").and_then(Value::as_object).into_iter().flatten() {
        // Annotation keys may be in any case, unlike label keys in their prefix.
        check_key("metadata.annotations", &key.to_lowercase(), errors);
        total += key.len() + value.as_str().map_or(0, str::len);
    }
    if total > ANNOTATION_BYTES {
        let detail = format!("may not be more than {ANNOTATION_BYTES} bytes");
        errors.push(FieldError::new(FieldErrorKind::TooLong, "metadata.annotations", &Value::Null, detail));
    }
}

/// Names without a domain are allowed, as by Kubernetes: the Gateway API's own has none.
fn check_finalizers(metadata: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    for finalizer in metadata.get("finalizers").and_then(Value::as_array).into_iter().flatten() {
        let name = finalizer.as_str().unwrap_or_default();
        if let Some(fault) = qualified_name_fault(name) {
            errors.push(FieldError::invalid("metadata.finalizers", finalizer, fault));
        }
    }
}

fn check_owners(metadata: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    let owners = metadata.get("ownerReferences").and_then(Value::as_array);
    let mut controllers = 0;
    for (index, owner) in owners.into_iter().flatten().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner.get(field).and_then(Value::as_str).unwrap_or_default().is_empty() {
                errors.push(FieldError::required(format_args!("metadata.ownerReferences[{index}].{field}"), ""));
            }
        }
        controllers += usize::from(owner.get("controller") == Some(&Value::Bool(true)));
    }
    if controllers > 1 {
        let detail = "Only one reference can have Controller set to true";
        errors.push(FieldError::invalid("metadata.ownerReferences", &Value::Array(Vec::new()), detail));
    }
}

fn check_key(field: &str, key: &str, errors: &mut Vec<FieldError>) {
    if let Some(fault) = qualified_name_fault(key) {
        errors.push(FieldError::invalid(field, &key.into(), fault));
    }
}

/// What is wrong with a qualified name `[prefix/]name`.
fn qualified_name_fault(key: &str) -> Option<&'static str> {
    let name = match key.split_once('/') {
        Some(("", _)) => return Some("prefix part must be non-empty"),
        Some((prefix, _)) if !is_dns_subdomain(prefix) => return Some(SUBDOMAIN_TEXT),
        Some((_, name)) => name,
        None => key,
    };
    if name.is_empty() {
        Some("name part must be non-empty")
    } else if name.len() > 63 {
        Some("name part must be no more than 63 bytes")
    } else if !is_name_part(name) {
        Some(QUALIFIED_TEXT)
    } else {
        None
    }
}

fn is_name_part(text: &str) -> bool {
    let edge = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

/// An RFC 1123 label in lower case, at most 63 characters.
pub(crate) fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_label(text)
}

fn is_label(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().copied().is_some_and(plain)
        && bytes.last().copied().is_some_and(plain)
        && bytes.iter().all(|c| plain(*c) || *c == b'-')
}

/// An RFC 1123 subdomain in lower case, at most 253 characters.
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}
