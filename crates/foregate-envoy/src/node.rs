//! YAML and JSON texts as trees of nodes that know their line and column.
//!
//! Every YAML text that a tenant can write must be cheap to refuse: text, nodes (aliases counted at every use) and
//! depth are bounded.

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::Value as Json;
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span};

use crate::Diagnostic;

/// Bytes of a text.
const MAX_TEXT: usize = 8 << 20;
/// Nodes of a text, with what aliases repeat.
const MAX_NODES: usize = 500_000;
/// Depth of nesting; protobuf decoders stop at 100 messages.
const MAX_DEPTH: usize = 100;

/// One value and where it is written.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) value: NodeValue,
    /// How many nodes: this one and all below.
    weight: usize,
    /// How many levels.
    depth: usize,
}

#[derive(Debug)]
pub(crate) enum NodeValue {
    Null,
    Bool(bool),
    /// A number, as it is written.
    Number(String),
    String(String),
    List(Vec<Rc<Node>>),
    /// In the order of the text; keys are distinct.
    Map(Vec<Entry>),
}

/// One key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) value: Rc<Node>,
}

impl Node {
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            NodeValue::Null => "null",
            NodeValue::Bool(_) => "a boolean",
            NodeValue::Number(_) => "a number",
            NodeValue::String(_) => "a string",
            NodeValue::List(_) => "a list",
            NodeValue::Map(_) => "a mapping",
        }
    }

    /// A string by itself.
    pub(crate) fn text(text: &str, line: usize, column: usize) -> Self {
        Self { line, column, value: NodeValue::String(text.to_owned()), weight: 1, depth: 1 }
    }

    /// The node's JSON value; what isn't a JSON number (hexadecimal, infinite) becomes one, or a string.
    pub(crate) fn to_json(&self) -> Json {
        match &self.value {
            NodeValue::Null => Json::Null,
            NodeValue::Bool(flag) => Json::Bool(*flag),
            NodeValue::Number(text) => number_to_json(text),
            NodeValue::String(text) => Json::from(text.as_str()),
            NodeValue::List(items) => Json::Array(items.iter().map(|item| item.to_json()).collect()),
            NodeValue::Map(entries) => {
                Json::Object(entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect())
            }
        }
    }

    /// A JSON value as a node without positions.
    pub(crate) fn from_json(json: &Json) -> Result<Rc<Self>, Diagnostic> {
        Self::json_within(json, MAX_DEPTH)
    }

    fn json_within(json: &Json, depth: usize) -> Result<Rc<Self>, Diagnostic> {
        let Some(below) = depth.checked_sub(1) else { return Err(at(0, 0, "the value is nested too deeply".into())) };
        let value = match json {
            Json::Null => NodeValue::Null,
            Json::Bool(flag) => NodeValue::Bool(*flag),
            Json::Number(number) => NodeValue::Number(number.to_string()),
            Json::String(text) => NodeValue::String(text.clone()),
            Json::Array(items) => {
                NodeValue::List(items.iter().map(|item| Self::json_within(item, below)).collect::<Result<_, _>>()?)
            }
            Json::Object(map) => NodeValue::Map(
                map.iter()
                    .map(|(key, value)| {
                        let value = Self::json_within(value, below)?;
                        Ok(Entry { key: key.clone(), line: 0, column: 0, value })
                    })
                    .collect::<Result<_, _>>()?,
            ),
        };
        Ok(Rc::new(Self { line: 0, column: 0, value, weight: 1, depth: 1 }))
    }
}

fn number_to_json(text: &str) -> Json {
    let integer = parse_integer(text);
    integer
        .and_then(|number| i64::try_from(number).map(Json::from).ok())
        .or_else(|| integer.and_then(|number| u64::try_from(number).map(Json::from).ok()))
        .or_else(|| text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Json::Number))
        .unwrap_or_else(|| Json::from(text))
}

/// An integer in decimal, `0x` or `0o`.
pub(crate) fn parse_integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let number = if let Some(hex) = digits.strip_prefix("0x") {
        i128::from_str_radix(hex, 16).ok()?
    } else if let Some(octal) = digits.strip_prefix("0o") {
        i128::from_str_radix(octal, 8).ok()?
    } else if digits.starts_with(|c: char| c.is_ascii_digit()) {
        digits.parse().ok()?
    } else {
        return None;
    };
    Some(if negative { -number } else { number })
}

/// The documents of a YAML or JSON text.
///
/// # Errors
/// Syntax that isn't YAML, a key twice in one mapping, an unknown anchor or tag, a limit. All that can be found before
/// the parser gives up.
pub(crate) fn documents(text: &str) -> Result<Vec<Rc<Node>>, Vec<Diagnostic>> {
    if text.len() > MAX_TEXT {
        return Err(vec![at(0, 0, format!("the text is larger than {MAX_TEXT} bytes"))]);
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => {
                let marker = error.marker();
                Err(at(marker.line(), marker.col() + 1, format!("this is not YAML: {}", error.info())))
            }
        };
        if let Err(diagnostic) = step {
            builder.diagnostics.push(diagnostic);
            break;
        }
    }
    if builder.diagnostics.is_empty() { Ok(builder.documents) } else { Err(builder.diagnostics) }
}

fn at(line: usize, column: usize, message: String) -> Diagnostic {
    Diagnostic { line, column, path: String::new(), message }
}

/// A list or mapping that is still open.
struct Open {
    line: usize,
    column: usize,
    anchor: usize,
    items: Vec<Rc<Node>>,
    map: Option<OpenMap>,
}

/// The entries of a mapping that is still open.
#[derive(Default)]
struct OpenMap {
    entries: Vec<Entry>,
    /// The key that waits for its value.
    waiting: Option<Rc<Node>>,
    /// What `<<` names.
    merged: Vec<Rc<Node>>,
    /// The line of each key.
    seen: HashMap<String, usize>,
}

#[derive(Default)]
struct Builder {
    documents: Vec<Rc<Node>>,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    nodes: usize,
    diagnostics: Vec<Diagnostic>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Diagnostic> {
        let (line, column) = (span.start.line(), span.start.col() + 1);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_ref().map(|tag| format!("{}{}", tag.handle(), tag.suffix()));
                let value = self.scalar(&text, style, tag.as_deref(), line, column);
                self.complete(Node { line, column, value, weight: 1, depth: 1 }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(line, column, anchor, None),
            Event::MappingStart(_, anchor, _) => self.begin(line, column, anchor, Some(OpenMap::default())),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => {
                    let node = Rc::clone(node);
                    self.add(node)
                }
                None => Err(at(line, column, "this alias is used inside the value that it names".into())),
            },
            _ => Ok(()),
        }
    }

    fn begin(&mut self, line: usize, column: usize, anchor: usize, map: Option<OpenMap>) -> Result<(), Diagnostic> {
        if self.open.len() >= MAX_DEPTH {
            return Err(at(line, column, format!("the text is nested deeper than {MAX_DEPTH} levels")));
        }
        self.open.push(Open { line, column, anchor, items: Vec::new(), map });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Diagnostic> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let Open { line, column, anchor, items, map } = open;
        let value = match map {
            Some(map) => NodeValue::Map(self.merge_keys(map)),
            None => NodeValue::List(items),
        };
        let children: Vec<(usize, usize)> = match &value {
            NodeValue::Map(entries) => entries.iter().map(|entry| (entry.value.weight, entry.value.depth)).collect(),
            NodeValue::List(items) => items.iter().map(|item| (item.weight, item.depth)).collect(),
            _ => Vec::new(),
        };
        let weight = children.iter().fold(1usize, |sum, (weight, _)| sum.saturating_add(*weight));
        let depth = 1 + children.iter().map(|(_, depth)| *depth).max().unwrap_or(0);
        if depth > MAX_DEPTH {
            return Err(at(line, column, format!("the text is nested deeper than {MAX_DEPTH} levels")));
        }
        self.complete(Node { line, column, value, weight, depth }, anchor)
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Diagnostic> {
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        // Children were counted when they were added.
        self.nodes += 1;
        self.place(node)
    }

    /// Adds what an alias stands for: all its nodes count again.
    fn add(&mut self, node: Rc<Node>) -> Result<(), Diagnostic> {
        self.nodes = self.nodes.saturating_add(node.weight);
        self.place(node)
    }

    fn place(&mut self, node: Rc<Node>) -> Result<(), Diagnostic> {
        if self.nodes > MAX_NODES {
            return Err(at(node.line, node.column, format!("the text has more than {MAX_NODES} values")));
        }
        match self.open.last_mut() {
            None => self.documents.push(node),
            Some(Open { map: None, items, .. }) => items.push(node),
            Some(Open { map: Some(map), .. }) => match map.waiting.take() {
                None => map.waiting = Some(node),
                Some(key) => self.diagnostics.extend(map.insert(&key, node)),
            },
        }
        Ok(())
    }

    /// Adds what `<<` names; the mapping's own keys win, and earlier sources before later ones.
    fn merge_keys(&mut self, map: OpenMap) -> Vec<Entry> {
        let OpenMap { mut entries, merged, mut seen, .. } = map;
        let mut sources: Vec<Rc<Node>> = Vec::new();
        for source in merged {
            match &source.value {
                NodeValue::List(items) => sources.extend(items.iter().cloned()),
                _ => sources.push(source),
            }
        }
        for source in sources {
            let NodeValue::Map(more) = &source.value else {
                let message = format!("`<<` takes a mapping, this is {}", source.kind());
                self.diagnostics.push(at(source.line, source.column, message));
                continue;
            };
            for entry in more {
                if !seen.contains_key(&entry.key) {
                    seen.insert(entry.key.clone(), entry.line);
                    entries.push(entry.clone());
                }
            }
        }
        entries
    }

    /// Plain scalars by YAML's core schema; quoted and block ones are strings.
    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&str>, line: usize, column: usize) -> NodeValue {
        match tag {
            None | Some("!") if style != ScalarStyle::Plain => NodeValue::String(text.to_owned()),
            None => plain(text),
            Some("!" | "tag:yaml.org,2002:str") => NodeValue::String(text.to_owned()),
            Some(
                "tag:yaml.org,2002:int"
                | "tag:yaml.org,2002:float"
                | "tag:yaml.org,2002:bool"
                | "tag:yaml.org,2002:null",
            ) => plain(text),
            Some(other) => {
                self.diagnostics.push(at(line, column, format!("tag {other} is not supported: remove it")));
                NodeValue::Null
            }
        }
    }
}

impl OpenMap {
    /// Adds an entry, or says why it can't.
    fn insert(&mut self, key: &Node, value: Rc<Node>) -> Option<Diagnostic> {
        let Some(text) = key_text(key) else {
            let message = format!("a key must be a string, this is {}", key.kind());
            return Some(at(key.line, key.column, message));
        };
        if text == "<<" {
            self.merged.push(value);
            return None;
        }
        if let Some(first) = self.seen.get(&text) {
            return Some(at(key.line, key.column, format!("key {text:?} is there already, in line {first}")));
        }
        self.seen.insert(text.clone(), key.line);
        self.entries.push(Entry { key: text, line: key.line, column: key.column, value });
        None
    }
}

fn key_text(key: &Node) -> Option<String> {
    match &key.value {
        NodeValue::String(text) | NodeValue::Number(text) => Some(text.clone()),
        NodeValue::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn plain(text: &str) -> NodeValue {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => NodeValue::Null,
        "true" | "True" | "TRUE" => NodeValue::Bool(true),
        "false" | "False" | "FALSE" => NodeValue::Bool(false),
        _ if is_number(text) => NodeValue::Number(text.to_owned()),
        _ => NodeValue::String(text.to_owned()),
    }
}

/// The number forms of YAML 1.2's core schema.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    if text.starts_with("0x") || text.starts_with("0o") {
        return parse_integer(text).is_some();
    }
    let mut digits = false;
    for (at, byte) in unsigned.bytes().enumerate() {
        match byte {
            b'0'..=b'9' => digits = true,
            b'.' if !unsigned[..at].contains(['.', 'e', 'E']) => {}
            b'e' | b'E' if digits && !unsigned[..at].contains(['e', 'E']) => {}
            b'-' | b'+' if at > 0 && matches!(unsigned.as_bytes()[at - 1], b'e' | b'E') => {}
            _ => return false,
        }
    }
    digits && unsigned.parse::<f64>().is_ok()
}
