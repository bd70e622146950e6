//! Label and field selectors.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::ApiError;
use crate::store::Key;

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

/// A label selector: all requirements hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Vec<Requirement>);

impl Labels {
    /// Reads `a=b,c!=d,e in (f,g),!h`.
    ///
    /// # Errors
    /// 400 when it isn't one.
    pub fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        let Some(text) = text else { return Ok(Self::default()) };
        split(text).into_iter().map(|part| requirement(part.trim(), text)).collect::<Result<_, _>>().map(Self)
    }

    /// Of a `metav1.LabelSelector`. One that makes no sense takes nothing.
    pub fn of(selector: &Value) -> Self {
        let pairs = selector["matchLabels"].as_object().into_iter().flatten();
        let pairs =
            pairs.map(|(key, value)| Requirement::In(key.clone(), vec![value.as_str().unwrap_or_default().to_owned()]));
        let expressions = selector["matchExpressions"].as_array().into_iter().flatten().map(|it| {
            let key = it["key"].as_str().unwrap_or_default().to_owned();
            let values = it["values"].as_array().into_iter().flatten();
            let values = values.filter_map(|value| value.as_str().map(str::to_owned)).collect();
            match it["operator"].as_str() {
                Some("In") => Requirement::In(key, values),
                Some("NotIn") => Requirement::NotIn(key, values),
                Some("Exists") => Requirement::Exists(key),
                Some("DoesNotExist") => Requirement::Missing(key),
                _ => Requirement::In(key, Vec::new()),
            }
        });
        Self(pairs.chain(expressions).collect())
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it takes an object with these labels.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|r| match r {
            Requirement::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(key, values) => !labels.get(key).is_some_and(|v| values.contains(v)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Missing(key) => !labels.contains_key(key),
        })
    }
}

/// Splits at commas outside parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut out) = (0_i32, 0, Vec::new());
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                out.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&text[start..]);
    out.into_iter().filter(|p| !p.trim().is_empty()).collect()
}

fn requirement(part: &str, whole: &str) -> Result<Requirement, ApiError> {
    let bad = || ApiError::bad_request(format!("unable to parse requirement {part:?} in selector {whole:?}"));
    let key = |k: &str| {
        let k = k.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        if k.is_empty() || !k.chars().all(plain) { Err(bad()) } else { Ok(k.to_owned()) }
    };
    if let Some(k) = part.strip_prefix('!') {
        return Ok(Requirement::Missing(key(k)?));
    }
    if let Some((k, v)) = part.split_once("!=") {
        return Ok(Requirement::NotIn(key(k)?, vec![v.trim().to_owned()]));
    }
    if let Some((k, v)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok(Requirement::In(key(k)?, vec![v.trim().to_owned()]));
    }
    if let Some(head) = part.strip_suffix(')') {
        let (head, values) = head.split_once('(').ok_or_else(bad)?;
        let values = values.split(',').map(|v| v.trim().to_owned()).collect();
        let mut words = head.split_whitespace();
        return match (words.next(), words.next(), words.next()) {
            (Some(k), Some("in"), None) => Ok(Requirement::In(key(k)?, values)),
            (Some(k), Some("notin"), None) => Ok(Requirement::NotIn(key(k)?, values)),
            _ => Err(bad()),
        };
    }
    Ok(Requirement::Exists(key(part)?))
}

/// The name that a field selector asks for: no object of another one is taken by it.
pub fn named(text: Option<&str>) -> Option<String> {
    Fields::parse(text, &[]).ok()?.name
}

/// A field selector: path, whether equal or different, value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    rest: Vec<(String, bool, String)>,
    /// `metadata.name=`, which is answered from the key.
    pub name: Option<String>,
}

impl Fields {
    /// Reads `metadata.name=a,type!=b`; `known` are the kind's own selectable paths.
    ///
    /// # Errors
    /// 400 for a path that isn't selectable.
    pub fn parse(text: Option<&str>, known: &[String]) -> Result<Self, ApiError> {
        let mut out = Self::default();
        for part in text.unwrap_or_default().split(',').filter(|p| !p.trim().is_empty()) {
            let (path, equal, value) = if let Some((k, v)) = part.split_once("!=") {
                (k.trim(), false, v.trim())
            } else if let Some((k, v)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (k.trim(), true, v.trim())
            } else {
                return Err(ApiError::bad_request(format!("invalid field selector {part:?}: write path=value")));
            };
            match (path, equal) {
                ("metadata.name", true) if out.name.is_none() => out.name = Some(value.into()),
                _ if matches!(path, "metadata.name" | "metadata.namespace") || known.iter().any(|k| k == path) => {
                    out.rest.push((path.into(), equal, value.into()));
                }
                _ => return Err(ApiError::bad_request(format!("field label not supported: {path}"))),
            }
        }
        Ok(out)
    }

    /// Whether the object itself must be looked at.
    pub fn needs_object(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Whether it takes the object at `key` with these fields, its name aside.
    pub fn fits(&self, key: &Key, fields: &BTreeMap<String, String>) -> bool {
        self.rest.iter().all(|(path, equal, value)| {
            let found = match path.as_str() {
                "metadata.name" => &*key.name,
                "metadata.namespace" => &*key.namespace,
                path => fields.get(path).map(String::as_str).unwrap_or_default(),
            };
            (found == value) == *equal
        })
    }

    /// Whether it takes an object, its name aside.
    pub fn matches(&self, object: &Value) -> bool {
        self.rest.iter().all(|(path, equal, value)| (field(object, path) == *value) == *equal)
    }
}

/// The text at a dotted path; empty when there is none.
pub(crate) fn field(object: &Value, path: &str) -> String {
    let mut at = object;
    for part in path.split('.') {
        at = &at[part];
    }
    match at {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn label_selectors() {
        let labels: BTreeMap<String, String> =
            [("app", "web"), ("tier", "a")].map(|(k, v)| (k.into(), v.into())).into();
        for (text, expected) in [
            ("app=web", true),
            ("app==web,tier=a", true),
            ("app!=web", false),
            ("x!=y", true),
            ("app", true),
            ("!app", false),
            ("!x", true),
            ("app in (web, api)", true),
            ("app notin (web)", false),
            ("x notin (web)", true),
            ("app in (api),tier", false),
            ("", true),
        ] {
            assert_eq!(Labels::parse(Some(text)).unwrap().matches(&labels), expected, "{text}");
        }
        for text in ["app in web", "(a)", "a b", "=x", "app in (a"] {
            assert!(Labels::parse(Some(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn field_selectors() {
        let object = serde_json::json!({"type": "Opaque", "metadata": {"namespace": "n"}, "spec": {"n": 3}});
        let known = ["type".to_owned(), "spec.n".to_owned()];
        let fields = |t: &str| Fields::parse(Some(t), &known);
        assert_eq!(fields("metadata.name=a").unwrap().name.as_deref(), Some("a"));
        assert!(fields("type=Opaque,metadata.namespace!=x,spec.n=3").unwrap().matches(&object));
        assert!(!fields("type!=Opaque").unwrap().matches(&object));
        assert!(fields("spec.other=1").is_err());
        assert_eq!(named(Some("metadata.name=a")).as_deref(), Some("a"));
        for none in [None, Some(""), Some("metadata.name!=a"), Some("type=a"), Some("metadata.namespace=a")] {
            assert_eq!(named(none), None, "{none:?}");
        }
    }
}
