//! Why a resource was refused, with the path of the field; and the check that nothing was left unread.
//!
//! Every compiler in this module *takes* the fields that it understands out of the decoded message and hands the rest
//! to [`nothing_left`]: a field that nobody took and that isn't at its default refuses the message. So a field that is
//! new to the engine, or new in Envoy's API, can never be ignored silently.

use std::fmt::{self, Debug, Display};

use foregate_envoy::pb::google::protobuf::Any;
use prost_reflect::Value;

/// What the engine says about a field that it can't do.
pub(crate) const UNSUPPORTED: &str = "not supported by the built-in engine";

/// A resource, or part of one, that can't be used: the field's path from the resource down, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Refusal {
    path: String,
    problem: String,
}

impl Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.problem);
        }
        write!(f, "{}: {}", self.path, self.problem)
    }
}

impl Refusal {
    /// A problem of the message at hand; [`At::at`] adds where.
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self { path: String::new(), problem: problem.into() }
    }

    /// A field that the engine doesn't do.
    pub(crate) fn unsupported(field: impl Into<String>) -> Self {
        Self { path: field.into(), problem: UNSUPPORTED.to_owned() }
    }

    /// A problem of one field.
    pub(crate) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { path: field.into(), problem: problem.into() }
    }

    fn prefixed(mut self, segment: &dyn Display) -> Self {
        if !self.path.is_empty() {
            self.path.insert(0, '.');
        }
        self.path.insert_str(0, &segment.to_string());
        self
    }
}

/// Adds where it happened to what happened.
pub(crate) trait At<T> {
    /// Puts a segment, e.g. `routes[3]`, before the refusal's path.
    fn at(self, segment: impl Display) -> Result<T, Refusal>;
}

impl<T> At<T> for Result<T, Refusal> {
    fn at(self, segment: impl Display) -> Self {
        self.map_err(|refusal| refusal.prefixed(&segment))
    }
}

/// Refuses a message of which a field that nobody took isn't at its default.
pub(crate) fn nothing_left<M: Default + PartialEq + Debug>(rest: &M) -> Result<(), Refusal> {
    let default = M::default();
    if *rest == default {
        return Ok(());
    }
    let names = differing_fields(&format!("{rest:?}"), &format!("{default:?}"));
    Err(Refusal::unsupported(if names.is_empty() { "(unknown field)".to_owned() } else { names.join(", ") }))
}

/// Decodes a message out of its `Any`; a type or a field that this build doesn't know is refused.
pub(crate) fn unpack<M: prost::Message + prost::Name + Default>(any: &Any) -> Result<M, Refusal> {
    if any.type_url != M::type_url() {
        return Err(Refusal::new(format!("type {} is {UNSUPPORTED}", any.type_url)));
    }
    decode(&any.value)
}

/// Decodes a message; a field that this build doesn't know is refused.
pub(crate) fn decode<M: prost::Message + prost::Name + Default>(body: &[u8]) -> Result<M, Refusal> {
    let message = M::decode(body).map_err(|e| Refusal::new(format!("not a valid message: {e}")))?;
    // Decoding drops unknown fields: what was dropped is missing when it is encoded again. Parts that were merged are
    // shorter too, so the slow look decides.
    if message.encoded_len() != body.len() {
        let dynamic = foregate_envoy::decode(&M::full_name(), body)
            .map_err(|e| Refusal::new(format!("not a valid message: {e}")))?;
        no_unknown_fields(&dynamic)?;
    }
    Ok(message)
}

fn no_unknown_fields(message: &foregate_envoy::DynamicMessage) -> Result<(), Refusal> {
    if let Some(unknown) = message.unknown_fields().next() {
        return Err(Refusal::unsupported(format!("(field number {})", unknown.number())));
    }
    for (field, value) in message.fields() {
        let inside = |value: &Value| match value {
            Value::Message(message) => no_unknown_fields(message),
            _ => Ok(()),
        };
        match value {
            Value::List(list) => list
                .iter()
                .enumerate()
                .try_for_each(|(index, value)| inside(value).at(format_args!("{}[{index}]", field.name())))?,
            Value::Map(map) => map.values().try_for_each(inside).at(field.name())?,
            other => inside(other).at(field.name())?,
        }
    }
    Ok(())
}

/// The names of the top-level fields in which two `Debug` texts of one message type differ.
fn differing_fields(text: &str, default: &str) -> Vec<String> {
    let default = top_level_fields(default);
    top_level_fields(text)
        .into_iter()
        .filter(|field| !default.contains(field))
        .map(|(name, value)| specific_name(name, value))
        .collect()
}

/// A `oneof` shows as its own name and a variant, `action: Some(FilterAction(…))`: the variant is the field.
fn specific_name(name: &str, value: &str) -> String {
    let name = name.trim_start_matches("r#");
    let inner = value.strip_prefix("Some(").unwrap_or("");
    let variant = inner.split(['(', ' ', '{']).next().unwrap_or("");
    let is_oneof = name.ends_with("_specifier") || name.ends_with("_type") || matches!(name, "action" | "lb_config");
    if !is_oneof || !variant.starts_with(|c: char| c.is_ascii_uppercase()) {
        return name.to_owned();
    }
    snake_case(variant)
}

fn snake_case(variant: &str) -> String {
    let mut out = String::with_capacity(variant.len() + 4);
    for (index, c) in variant.chars().enumerate() {
        if c.is_ascii_uppercase() && index > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Splits `Name { a: 1, b: X { c: 2 } }` into `("a", "1")`, `("b", "X { c: 2 }")`.
fn top_level_fields(text: &str) -> Vec<(&str, &str)> {
    let Some(start) = text.find('{') else { return Vec::new() };
    let body = text[start + 1..].trim_end().trim_end_matches('}');
    let mut fields = Vec::new();
    let (mut depth, mut quoted, mut escaped, mut from) = (0_usize, false, false, 0);
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                fields.extend(body[from..at].trim().split_once(": "));
                from = at + 1;
            }
            _ => {}
        }
    }
    fields.extend(body[from..].trim().split_once(": "));
    fields
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use foregate_envoy::pb::envoy::config::route::v3 as route;
    use prost::Message;

    use super::*;

    #[test]
    fn a_field_nobody_took_is_named() {
        let rest = route::RouteAction { priority: 1, ..Default::default() };
        assert_eq!(nothing_left(&rest).unwrap_err().to_string(), "priority: not supported by the built-in engine");
        let rest = route::RouteAction {
            cluster_specifier: Some(route::route_action::ClusterSpecifier::ClusterHeader("x: \"{".into())),
            hash_policy: vec![Default::default()],
            ..Default::default()
        };
        assert_eq!(
            nothing_left(&rest).unwrap_err().to_string(),
            "hash_policy, cluster_header: not supported by the built-in engine"
        );
        assert_eq!(nothing_left(&route::RouteAction::default()), Ok(()));
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let mut body = route::Route { name: "r".into(), ..Default::default() }.encode_to_vec();
        assert!(decode::<route::Route>(&body).is_ok());
        body.extend([0xfa, 0x3f, 0x01, b'x']);
        let refusal = decode::<route::Route>(&body).unwrap_err().to_string();
        assert_eq!(refusal, "(field number 1023): not supported by the built-in engine");
    }

    #[test]
    fn parts_that_follow_are_merged() {
        let one = route::Route { name: "r".into(), ..Default::default() }.encode_to_vec();
        let two = route::Route { name: "s".into(), ..Default::default() }.encode_to_vec();
        assert_eq!(decode::<route::Route>(&[one, two].concat()).unwrap().name, "s");
    }

    #[test]
    fn segments_build_a_path() {
        let refusal: Result<(), _> = Err(Refusal::unsupported("priority"));
        let refusal = refusal.at("route").at("routes[1]").unwrap_err();
        assert_eq!(refusal.to_string(), "routes[1].route.priority: not supported by the built-in engine");
    }
}
