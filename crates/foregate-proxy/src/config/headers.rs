//! Header changes: `headers_to_add` and `headers_to_remove` of every level.

use foregate_envoy::pb::envoy::config::core::v3 as core;
use http::header::HeaderMap;
use http::{HeaderName, HeaderValue};

use super::format::{self, Part, Value};
use super::refusal::{At, Refusal, nothing_left};

/// Changes to the headers of requests and responses, of one level (route, virtual host, …).
#[derive(Debug, Default)]
pub(crate) struct HeaderEdits {
    /// Of requests.
    pub(crate) request: Edits,
    /// Of responses.
    pub(crate) response: Edits,
}

/// Changes in one direction: first what goes, then what comes.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    remove: Vec<HeaderName>,
    add: Vec<Addition>,
    has_commands: bool,
}

#[derive(Debug)]
struct Addition {
    name: HeaderName,
    value: Value,
    keep_empty: bool,
    action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Append,
    AddIfAbsent,
    Overwrite,
    OverwriteIfExists,
}

/// The four lists, as every message that has them holds them.
pub(crate) struct Lists<'a> {
    /// `request_headers_to_add`
    pub(crate) request_add: &'a mut Vec<core::HeaderValueOption>,
    /// `request_headers_to_remove`
    pub(crate) request_remove: &'a mut Vec<String>,
    /// `response_headers_to_add`
    pub(crate) response_add: &'a mut Vec<core::HeaderValueOption>,
    /// `response_headers_to_remove`
    pub(crate) response_remove: &'a mut Vec<String>,
}

/// Takes the four lists out of a message.
macro_rules! take_edits {
    ($message:expr) => {
        $crate::config::headers::compile($crate::config::headers::Lists {
            request_add: &mut $message.request_headers_to_add,
            request_remove: &mut $message.request_headers_to_remove,
            response_add: &mut $message.response_headers_to_add,
            response_remove: &mut $message.response_headers_to_remove,
        })
    };
}
pub(crate) use take_edits;

/// Compiles the lists.
pub(crate) fn compile(lists: Lists<'_>) -> Result<HeaderEdits, Refusal> {
    Ok(HeaderEdits {
        request: Edits::new(
            removals(std::mem::take(lists.request_remove)).at("request_headers_to_remove")?,
            additions(std::mem::take(lists.request_add), "request_headers_to_add")?,
        ),
        response: Edits::new(
            removals(std::mem::take(lists.response_remove)).at("response_headers_to_remove")?,
            additions(std::mem::take(lists.response_add), "response_headers_to_add")?,
        ),
    })
}

fn removals(names: Vec<String>) -> Result<Vec<HeaderName>, Refusal> {
    names
        .iter()
        .map(|name| {
            if name.eq_ignore_ascii_case("host") {
                return Err(Refusal::new("host can't be removed"));
            }
            header_name(name).and_then(changeable)
        })
        .collect()
}

/// A header's name; pseudo-headers aren't headers here.
pub(crate) fn header_name(name: &str) -> Result<HeaderName, Refusal> {
    if name.starts_with(':') {
        return Err(Refusal::new(format!("{name}: changing pseudo-headers is not supported by the built-in engine")));
    }
    name.to_ascii_lowercase().parse().map_err(|_| Refusal::new(format!("{name:?} is not a header name")))
}

/// Headers that say where a message ends, or belong to one connection, are the engine's own: whoever could change them
/// could make two proxies disagree about a message.
fn changeable(name: HeaderName) -> Result<HeaderName, Refusal> {
    match name.as_str() {
        "content-length" | "transfer-encoding" | "connection" | "keep-alive" | "upgrade" | "te" | "trailer" => {
            Err(Refusal::new(format!("{name} belongs to the connection and can't be changed")))
        }
        _ => Ok(name),
    }
}

fn additions(options: Vec<core::HeaderValueOption>, field: &str) -> Result<Vec<Addition>, Refusal> {
    let mut compiled = Vec::with_capacity(options.len());
    for (index, option) in options.into_iter().enumerate() {
        compiled.extend(addition(option).at(format_args!("{field}[{index}]"))?);
    }
    Ok(compiled)
}

fn addition(mut option: core::HeaderValueOption) -> Result<Option<Addition>, Refusal> {
    let mut header = option.header.take().ok_or_else(|| Refusal::field("header", "must be set"))?;
    let name = header_name(&std::mem::take(&mut header.key)).and_then(changeable).at("header.key")?;
    if name == http::header::HOST {
        return Err(Refusal::field("header.key", "use host_rewrite_literal to change the host"));
    }
    let text = std::mem::take(&mut header.value).into_bytes();
    let raw = std::mem::take(&mut header.raw_value);
    nothing_left(&header).at("header")?;
    let value = format::compile(if text.is_empty() { &raw } else { &text }).at("header.value")?;
    let action = append_action(&mut option)?;
    let keep_empty = std::mem::take(&mut option.keep_empty_value);
    nothing_left(&option)?;
    // Envoy doesn't add empty values unless it is told to.
    let empty = matches!(&value, Value::Literal(value) if value.is_empty());
    Ok((keep_empty || !empty).then_some(Addition { name, value, keep_empty, action }))
}

fn append_action(option: &mut core::HeaderValueOption) -> Result<Action, Refusal> {
    use core::header_value_option::HeaderAppendAction as Wire;
    #[allow(deprecated, reason = "still written by many")]
    let append = option.append.take();
    let action = Wire::try_from(std::mem::take(&mut option.append_action))
        .map_err(|_| Refusal::field("append_action", "isn't a known value"))?;
    Ok(match (append.map(|a| a.value), action) {
        (Some(false), Wire::AppendIfExistsOrAdd) | (None, Wire::OverwriteIfExistsOrAdd) => Action::Overwrite,
        (None | Some(true), Wire::AppendIfExistsOrAdd) => Action::Append,
        (None, Wire::AddIfAbsent) => Action::AddIfAbsent,
        (None, Wire::OverwriteIfExists) => Action::OverwriteIfExists,
        (Some(_), _) => return Err(Refusal::field("append", "can't be used together with append_action")),
    })
}

impl Addition {
    /// The value of a format; `None` for a literal, or if there is nothing to add.
    fn made(
        &self,
        headers: &HeaderMap,
        make: &impl Fn(&[Part], &HeaderMap) -> Option<HeaderValue>,
    ) -> Option<HeaderValue> {
        match &self.value {
            Value::Literal(_) => None,
            Value::Format(parts) => make(parts, headers).filter(|value| self.keep_empty || !value.is_empty()),
        }
    }
}

impl Edits {
    fn new(remove: Vec<HeaderName>, add: Vec<Addition>) -> Self {
        let has_commands = add.iter().any(|addition| matches!(addition.value, Value::Format(_)));
        Self { remove, add, has_commands }
    }

    /// Changes headers; `make` makes the value of a format, from the headers as they are then.
    #[inline]
    pub(crate) fn apply(&self, headers: &mut HeaderMap, make: impl Fn(&[Part], &HeaderMap) -> Option<HeaderValue>) {
        for name in &self.remove {
            headers.remove(name);
        }
        // All are made before any is added: none sees another.
        let made: Vec<Option<HeaderValue>> = match self.has_commands {
            true => self.add.iter().map(|addition| addition.made(headers, &make)).collect(),
            false => Vec::new(),
        };
        let mut made = made.into_iter();
        for Addition { name, value, action, .. } in &self.add {
            let value = match (value, made.next().flatten()) {
                (_, Some(made)) => made,
                (Value::Literal(value), None) => value.clone(),
                (Value::Format(_), None) => continue,
            };
            match action {
                Action::Append => {
                    headers.append(name.clone(), value);
                }
                Action::AddIfAbsent if headers.contains_key(name) => {}
                Action::OverwriteIfExists if !headers.contains_key(name) => {}
                Action::AddIfAbsent | Action::Overwrite | Action::OverwriteIfExists => {
                    headers.insert(name.clone(), value);
                }
            }
        }
    }

    /// Whether values have commands in them.
    pub(crate) fn has_commands(&self) -> bool {
        self.has_commands
    }

    /// Whether it changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }
}
