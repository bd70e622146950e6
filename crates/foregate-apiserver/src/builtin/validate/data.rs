//! Secrets and ConfigMaps.

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::schema::{FieldError, FieldErrorKind};

/// Data of one Secret or ConfigMap, in bytes: as upstream.
const DATA_BYTES: usize = 1 << 20;

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

/// A Secret.
pub(super) fn secret(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let mut total = 0;
    for (key, value) in map(new, "data") {
        data_key("data", key, errors);
        let text = value.as_str().unwrap_or_default();
        match base64::engine::general_purpose::STANDARD.decode(text) {
            Ok(bytes) => total += bytes.len(),
            // Nothing of the value is repeated: it may be the secret itself, written without base64.
            Err(_) => {
                let detail = "must be base64; use stringData for plain text";
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

/// A ConfigMap.
pub(super) fn config_map(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
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
