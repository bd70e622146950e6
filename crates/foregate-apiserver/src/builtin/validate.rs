//! What upstream's Go code refuses, as far as it matters on the embedded API.

use base64::Engine as _;
use serde_json::{Map, Value};

use super::kinds::Builtin;
use crate::schema::{FieldError, FieldErrorKind, is_dns_label, is_dns_subdomain};

impl Builtin {
    /// What is wrong with `new` besides its schema and metadata. `old` is the object before an
    /// update.
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        match (self.group, self.kind) {
            ("", "Secret") => secret(new, old, &mut errors),
            ("", "ConfigMap") => config_map(new, old, &mut errors),
            ("", "Service") => service(new, &mut errors),
            ("discovery.k8s.io", "EndpointSlice") => endpoint_slice(new, old, &mut errors),
            ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => binding(new, old, &mut errors),
            ("rbac.authorization.k8s.io", _) => rules(new, &mut errors),
            _ => {}
        }
        errors
    }
}

/// Data of one Secret or ConfigMap, in bytes: as upstream.
const DATA_BYTES: usize = 1 << 20;

fn unsupported(field: String, value: &Value, supported: &[&str]) -> FieldError {
    let list: Vec<String> = supported.iter().map(|name| format!("\"{name}\"")).collect();
    FieldError::new(FieldErrorKind::NotSupported, field, value, format!("supported values: {}", list.join(", ")))
}

fn map<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    object.get(field).and_then(Value::as_object).into_iter().flatten()
}

fn unchanged(new: &Value, old: &Value, field: &str) -> bool {
    let empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
    let of = |object: &Value| object.get(field).filter(|value| !value.is_null() && !empty(value)).cloned();
    of(new) == of(old)
}

/// `immutable: true` can't be taken back, and freezes the fields.
fn immutable(new: &Value, old: Option<&Value>, fields: &[&str], errors: &mut Vec<FieldError>) {
    let Some(old) = old.filter(|old| old.get("immutable") == Some(&Value::Bool(true))) else { return };
    if new.get("immutable") != Some(&Value::Bool(true)) {
        errors.push(FieldError::forbidden("immutable", "field is immutable when `immutable` is set"));
    }
    for field in fields {
        if !unchanged(new, old, field) {
            errors.push(FieldError::forbidden(field, "field is immutable when `immutable` is set"));
        }
    }
}

fn data_key(field: &str, key: &str, errors: &mut Vec<FieldError>) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fault = if key.len() > 253 {
        "must be no more than 253 bytes"
    } else if key == "." || key == ".." {
        "must not be '.' or '..'"
    } else if key.is_empty() || !key.chars().all(allowed) {
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
    } else {
        return;
    };
    errors.push(FieldError::invalid(format_args!("{field}[{key}]"), &key.into(), fault));
}

/// Keys that a Secret of a type must have.
const SECRET_KEYS: &[(&str, &[&str])] = &[
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
];

fn secret(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let mut total = 0;
    for (key, value) in map(new, "data") {
        data_key("data", key, errors);
        let text = value.as_str().unwrap_or_default();
        match base64::engine::general_purpose::STANDARD.decode(text) {
            Ok(bytes) => total += bytes.len(),
            // The value is not repeated: it may be the secret itself, written without base64.
            Err(error) => {
                let detail = format!("must be base64: {error}; use stringData for plain text");
                errors.push(FieldError::invalid(format_args!("data[{key}]"), &"<hidden>".into(), detail));
            }
        }
    }
    if total > DATA_BYTES {
        let detail = format!("may not be more than {DATA_BYTES} bytes");
        errors.push(FieldError::new(FieldErrorKind::TooLong, "data", &Value::Null, detail));
    }
    let kind = new.get("type").and_then(Value::as_str).unwrap_or_default();
    let required = SECRET_KEYS.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, keys)| keys);
    for key in required {
        if new.pointer(&format!("/data/{key}")).is_none() {
            errors.push(FieldError::required(format_args!("data[{key}]"), ""));
        }
    }
    if let Some(old) = old
        && old.get("type").is_some_and(|before| Some(before) != new.get("type"))
    {
        let value = new.get("type").unwrap_or(&Value::Null);
        errors.push(FieldError::invalid("type", value, "field is immutable"));
    }
    immutable(new, old, &["data"], errors);
}

fn config_map(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let mut total = 0;
    for (key, value) in map(new, "data") {
        data_key("data", key, errors);
        total += value.as_str().map_or(0, str::len);
        if new.pointer("/binaryData").and_then(|binary| binary.get(key)).is_some() {
            let detail = "duplicate of key present in binaryData";
            errors.push(FieldError::invalid(format_args!("data[{key}]"), &key.as_str().into(), detail));
        }
    }
    for (key, value) in map(new, "binaryData") {
        data_key("binaryData", key, errors);
        match base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or_default()) {
            Ok(bytes) => total += bytes.len(),
            Err(error) => {
                let field = format!("binaryData[{key}]");
                errors.push(FieldError::invalid(field, &"<hidden>".into(), format!("must be base64: {error}")));
            }
        }
    }
    if total > DATA_BYTES {
        let detail = format!("may not be more than {DATA_BYTES} bytes");
        errors.push(FieldError::new(FieldErrorKind::TooLong, "", &Value::Null, detail));
    }
    immutable(new, old, &["data", "binaryData"], errors);
}

fn service(new: &Value, errors: &mut Vec<FieldError>) {
    const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    const AFFINITIES: &[&str] = &["ClientIP", "None"];
    let spec = new.get("spec").unwrap_or(&Value::Null);
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default();
    if !TYPES.contains(&kind) {
        errors.push(unsupported("spec.type".into(), &kind.into(), TYPES));
    }
    if let Some(affinity) = spec.get("sessionAffinity").filter(|value| !AFFINITIES.iter().any(|name| *value == name)) {
        errors.push(unsupported("spec.sessionAffinity".into(), affinity, AFFINITIES));
    }
    if let Some(address) = spec.get("clusterIP").and_then(Value::as_str)
        && !matches!(address, "" | "None")
        && address.parse::<std::net::IpAddr>().is_err()
    {
        errors.push(FieldError::invalid("spec.clusterIP", &address.into(), "must be empty, 'None', or a valid IP address"));
    }
    let ports = spec.get("ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let headless = spec.get("clusterIP").is_some_and(|address| address == "None");
    if kind == "ExternalName" {
        let name = spec.get("externalName").and_then(Value::as_str).unwrap_or_default();
        if !is_dns_subdomain(name.trim_end_matches('.')) {
            errors.push(FieldError::invalid("spec.externalName", &name.into(), "must be a lowercase RFC 1123 hostname"));
        }
    } else if ports.is_empty() && !headless {
        errors.push(FieldError::required("spec.ports", ""));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        number(&field, port, "port", 1, errors);
        let name = port.get("name").and_then(Value::as_str).unwrap_or_default();
        service_port(&field, port, name, ports.len() > 1, errors);
        if !name.is_empty() && seen.contains(&name) {
            errors.push(FieldError::new(FieldErrorKind::Duplicate, format_args!("{field}.name"), &name.into(), ""));
        }
        seen.push(name);
    }
}

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

fn service_port(field: &str, port: &Value, name: &str, named: bool, errors: &mut Vec<FieldError>) {
    if name.is_empty() && named {
        errors.push(FieldError::required(format_args!("{field}.name"), ""));
    } else if !name.is_empty() && !is_dns_label(name) {
        errors.push(FieldError::invalid(format_args!("{field}.name"), &name.into(), "must be a lowercase RFC 1123 label"));
    }
    let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
    if !PROTOCOLS.contains(&protocol) {
        errors.push(unsupported(format!("{field}.protocol"), &protocol.into(), PROTOCOLS));
    }
    match port.get("targetPort") {
        Some(Value::Number(_)) => number(field, port, "targetPort", 1, errors),
        Some(target @ Value::String(text)) if text.is_empty() || text.len() > 15 || !is_dns_label(text) => {
            let detail = "must be an IANA service name: at most 15 lower case letters, digits and '-'";
            errors.push(FieldError::invalid(format_args!("{field}.targetPort"), target, detail));
        }
        _ => {}
    }
}

fn number(field: &str, port: &Value, name: &str, least: i64, errors: &mut Vec<FieldError>) {
    let Some(value) = port.get(name) else { return };
    if !value.as_i64().is_some_and(|number| (least..=65535).contains(&number)) {
        let detail = format!("must be between {least} and 65535, inclusive");
        errors.push(FieldError::invalid(format_args!("{field}.{name}"), value, detail));
    }
}

/// Loopback addresses are fine here: on the embedded API they are how one reaches local servers.
fn endpoint_slice(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    const TYPES: &[&str] = &["FQDN", "IPv4", "IPv6"];
    let kind = new.get("addressType").and_then(Value::as_str).unwrap_or_default();
    if kind.is_empty() {
        errors.push(FieldError::required("addressType", ""));
    } else if !TYPES.contains(&kind) {
        errors.push(unsupported("addressType".into(), &kind.into(), TYPES));
    }
    if old.is_some_and(|old| old.get("addressType") != new.get("addressType")) {
        errors.push(FieldError::invalid("addressType", &kind.into(), "field is immutable"));
    }
    let endpoints = new.get("endpoints").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if endpoints.len() > 1000 {
        errors.push(FieldError::new(FieldErrorKind::TooMany, "endpoints", &endpoints.len().into(), "must have at most 1000 items"));
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        addresses(index, endpoint, kind, errors);
    }
    let ports = new.get("ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (index, port) in ports.iter().enumerate() {
        let field = format!("ports[{index}]");
        number(&field, port, "port", 1, errors);
        let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
        if !PROTOCOLS.contains(&protocol) {
            errors.push(unsupported(format!("{field}.protocol"), &protocol.into(), PROTOCOLS));
        }
        let name = port.get("name").and_then(Value::as_str).unwrap_or_default();
        if !name.is_empty() && !is_dns_label(name) {
            errors.push(FieldError::invalid(format_args!("{field}.name"), &name.into(), "must be a lowercase RFC 1123 label"));
        }
        if ports[..index].iter().any(|before| before.get("name").and_then(Value::as_str).unwrap_or_default() == name) {
            errors.push(FieldError::new(FieldErrorKind::Duplicate, format_args!("{field}.name"), &name.into(), ""));
        }
    }
}

fn addresses(index: usize, endpoint: &Value, kind: &str, errors: &mut Vec<FieldError>) {
    let list = endpoint.get("addresses").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if list.is_empty() {
        errors.push(FieldError::required(format_args!("endpoints[{index}].addresses"), "must contain at least 1 address"));
    }
    if list.len() > 100 {
        let field = format!("endpoints[{index}].addresses");
        errors.push(FieldError::new(FieldErrorKind::TooMany, field, &list.len().into(), "must have at most 100 items"));
    }
    for (at, address) in list.iter().enumerate() {
        let text = address.as_str().unwrap_or_default();
        let (fits, wanted) = match kind {
            "IPv4" => (text.parse::<std::net::Ipv4Addr>().is_ok(), "must be a valid IPv4 address"),
            "IPv6" => (text.parse::<std::net::Ipv6Addr>().is_ok(), "must be a valid IPv6 address"),
            _ => (is_dns_subdomain(text), "must be a fully qualified domain name"),
        };
        if !fits {
            let field = format!("endpoints[{index}].addresses[{at}]");
            errors.push(FieldError::invalid(field, address, wanted));
        }
    }
}

fn binding(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let role = new.get("roleRef").unwrap_or(&Value::Null);
    let kind = role.get("kind").and_then(Value::as_str).unwrap_or_default();
    if !matches!(kind, "Role" | "ClusterRole") {
        errors.push(unsupported("roleRef.kind".into(), &kind.into(), &["ClusterRole", "Role"]));
    }
    if role.get("name").and_then(Value::as_str).unwrap_or_default().is_empty() {
        errors.push(FieldError::required("roleRef.name", ""));
    }
    if old.is_some_and(|old| old.get("roleRef") != new.get("roleRef")) {
        errors.push(FieldError::invalid("roleRef", role, "cannot change roleRef"));
    }
    let subjects = new.get("subjects").and_then(Value::as_array);
    for (index, subject) in subjects.into_iter().flatten().enumerate() {
        let kind = subject.get("kind").and_then(Value::as_str).unwrap_or_default();
        if !matches!(kind, "User" | "Group" | "ServiceAccount") {
            let supported = &["Group", "ServiceAccount", "User"];
            errors.push(unsupported(format!("subjects[{index}].kind"), &kind.into(), supported));
        }
        if kind == "ServiceAccount" && subject.get("namespace").is_none() && new.pointer("/metadata/namespace").is_none() {
            errors.push(FieldError::required(format_args!("subjects[{index}].namespace"), ""));
        }
    }
}

fn rules(new: &Value, errors: &mut Vec<FieldError>) {
    let filled = |rule: &Value, field: &str| rule.get(field).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    for (index, rule) in new.get("rules").and_then(Value::as_array).into_iter().flatten().enumerate() {
        if !filled(rule, "verbs") {
            errors.push(FieldError::required(format_args!("rules[{index}].verbs"), "verbs must contain at least one value"));
        }
        if !filled(rule, "nonResourceURLs") && !filled(rule, "resources") {
            let detail = "resource rules must supply at least one resource";
            errors.push(FieldError::required(format_args!("rules[{index}].resources"), detail));
        }
    }
}
