//! Sets of field paths as tries, and their JSON form FieldsV1.

use std::fmt;

use serde_json::{Map, Value};

/// One step of a path. The order is that of FieldsV1 as Kubernetes writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Element {
    /// `f:name`: a field or map entry.
    Field(Box<str>),
    /// `k:{"name":"http"}`: a list item by its keys, as compact JSON with sorted names.
    Key(Box<str>),
    /// `v:"x"`: an item of a set, as compact JSON.
    Value(Box<str>),
    /// `i:0`: an item by its place.
    Index(u64),
}

/// A set of paths. Sorted; never holds empty nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set(Vec<(Element, Node)>);

/// What is known below one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    /// The path that ends here is in the set.
    pub(super) member: bool,
    pub(super) children: Set,
}

/// Nesting of FieldsV1 that is read.
const DEPTH: usize = 128;

impl Element {
    fn parse(text: &str) -> Option<Self> {
        let rest = text.get(2..)?;
        match text.get(..2)? {
            "f:" => Some(Self::Field(rest.into())),
            "k:" => Some(Self::Key(rest.into())),
            "v:" => Some(Self::Value(rest.into())),
            "i:" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => format!("k:{keys}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }
}

/// As in conflict messages: `.spec.listeners[name="http"].port`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let pairs: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(f, "[{}]", pairs.join(","))
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl Node {
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }
}

impl Set {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Element, &Node)> {
        self.0.iter().map(|(element, node)| (element, node))
    }

    pub(super) fn get(&self, element: &Element) -> Option<&Node> {
        self.0.binary_search_by(|(known, _)| known.cmp(element)).ok().map(|at| &self.0[at].1)
    }

    /// Adds `node` at `element`; nothing if it is empty.
    pub(super) fn put(&mut self, element: Element, node: Node) {
        if node.is_empty() {
            return;
        }
        // Objects are walked in order, so that most additions are at the end.
        if self.0.last().is_none_or(|(last, _)| *last < element) {
            self.0.push((element, node));
            return;
        }
        match self.0.binary_search_by(|(known, _)| known.cmp(&element)) {
            Ok(at) => {
                let old = &mut self.0[at].1;
                old.member |= node.member;
                old.children = old.children.union(&node.children);
            }
            Err(at) => self.0.insert(at, (element, node)),
        }
    }

    /// Takes a field out, with everything below it.
    pub(super) fn remove_field(&mut self, name: &str) {
        self.0.retain(|(element, _)| !matches!(element, Element::Field(known) if **known == *name));
    }

    /// Leaves only this field and what is below it.
    pub(super) fn keep_field(&mut self, name: &str) {
        self.0.retain(|(element, _)| matches!(element, Element::Field(known) if **known == *name));
    }

    /// Changes what is below a field; a node that becomes empty goes.
    pub(super) fn edit_field(&mut self, name: &str, edit: impl FnOnce(&mut Node)) {
        let found =
            self.0.iter_mut().position(|(element, _)| matches!(element, Element::Field(known) if **known == *name));
        if let Some(at) = found {
            edit(&mut self.0[at].1);
            if self.0[at].1.is_empty() {
                self.0.remove(at);
            }
        }
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        if self.is_empty() {
            return other.clone();
        }
        if other.is_empty() {
            return self.clone();
        }
        let mut out = Vec::with_capacity(self.0.len() + other.0.len());
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (Some(a), Some(b)) => a.0.cmp(&b.0),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (None, None) => break,
            };
            match order {
                std::cmp::Ordering::Less => out.extend(left.next().cloned()),
                std::cmp::Ordering::Greater => out.extend(right.next().cloned()),
                std::cmp::Ordering::Equal => {
                    if let (Some((element, a)), Some((_, b))) = (left.next(), right.next()) {
                        let node = Node { member: a.member || b.member, children: a.children.union(&b.children) };
                        out.push((element.clone(), node));
                    }
                }
            }
        }
        Self(out)
    }

    /// The paths of this set that aren't in `other`.
    pub(super) fn difference(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a && !b, true)
    }

    /// The paths that are in both sets.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a && b, false)
    }

    fn combine(&self, other: &Self, member: fn(bool, bool) -> bool, keep_alone: bool) -> Self {
        if other.is_empty() {
            return if keep_alone { self.clone() } else { Self::default() };
        }
        let mut out = Vec::with_capacity(self.0.len());
        for (element, node) in &self.0 {
            let node = match other.get(element) {
                Some(with) => Node {
                    member: member(node.member, with.member),
                    children: node.children.combine(&with.children, member, keep_alone),
                },
                None if keep_alone => node.clone(),
                None => continue,
            };
            if !node.is_empty() {
                out.push((element.clone(), node));
            }
        }
        Self(out)
    }

    /// Every path, as text.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect(&mut String::new(), &mut out);
        out
    }

    fn collect(&self, prefix: &mut String, out: &mut Vec<String>) {
        for (element, node) in &self.0 {
            let length = prefix.len();
            prefix.push_str(&element.to_string());
            if node.member {
                out.push(prefix.clone());
            }
            node.children.collect(prefix, out);
            prefix.truncate(length);
        }
    }

    /// Reads FieldsV1; steps that aren't of a known form are left out.
    pub(super) fn from_fields_v1(fields: &Value) -> Self {
        Self::read(fields, 0)
    }

    fn read(fields: &Value, depth: usize) -> Self {
        let mut out = Self::default();
        let Some(map) = fields.as_object().filter(|_| depth < DEPTH) else { return out };
        out.0.reserve(map.len());
        for (step, below) in map {
            let Some(element) = Element::parse(step) else { continue };
            let children = Self::read(below, depth + 1);
            let member = children.is_empty() || below.get(".").is_some();
            out.put(element, Node { member, children });
        }
        out
    }

    /// Writes FieldsV1.
    pub(super) fn to_fields_v1(&self) -> Value {
        let mut map = Map::new();
        for (element, node) in &self.0 {
            let mut below = node.children.to_fields_v1();
            if node.member
                && !node.children.is_empty()
                && let Value::Object(below) = &mut below
            {
                below.insert(".".into(), Value::Object(Map::new()));
            }
            map.insert(element.text(), below);
        }
        Value::Object(map)
    }
}
