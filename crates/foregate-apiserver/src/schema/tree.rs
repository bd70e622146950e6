//! The compiled schema: an arena of nodes.

use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use super::cel::Rule;
use super::format::Format;

/// A node's place in its schema's arena.
pub(crate) type NodeId = u32;

/// A compiled schema of one kind and version. Cheap to share (`Arc`), never changes.
#[derive(Debug)]
pub struct Schema {
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
    /// Published OpenAPI of a built-in kind: null means absent, and there is nothing to ratchet.
    pub(super) builtin: bool,
    /// What fills in defaults that no schema has.
    pub(super) completion: Option<fn(&mut Value)>,
}

/// The JSON types that a node may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListType {
    /// One value, replaced as a whole.
    #[default]
    Atomic,
    /// Unique scalars.
    Set,
    /// Objects, unique in these fields.
    Map(Vec<Box<str>>),
}

/// What is known about keys that `properties` does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Additional {
    /// They are unknown fields.
    #[default]
    Unknown,
    /// Anything goes (`additionalProperties: true`).
    Any,
    /// All have this schema.
    Schema(NodeId),
}

/// `x-kubernetes-patch-strategy` and `-merge-key`.
#[derive(Clone, Debug, Default)]
pub(crate) struct PatchRule {
    pub(crate) merge: bool,
    pub(crate) retain_keys: bool,
    pub(crate) merge_key: Option<Box<str>>,
}

/// A bound of a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) value: f64,
    pub(crate) exclusive: bool,
}

/// One schema node: what a value at this place may be.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) nullable: bool,
    /// Sorted by name.
    pub(crate) properties: Vec<(Box<str>, NodeId)>,
    pub(crate) additional: Additional,
    pub(crate) items: Option<NodeId>,
    pub(crate) preserve_unknown: bool,
    pub(crate) embedded_resource: bool,
    pub(crate) default: Option<Value>,
    pub(crate) required: Vec<Box<str>>,
    pub(crate) list_type: ListType,
    pub(crate) atomic_map: bool,
    pub(crate) patch: Option<Box<PatchRule>>,
    pub(crate) checks: Option<Box<Checks>>,
    pub(crate) rules: Vec<Rule>,
    /// This node or one below has rules.
    pub(crate) rules_below: bool,
    /// This node or one below has rules that look at `oldSelf`.
    pub(crate) transitions_below: bool,
}

/// Value checks; most nodes have none.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) enums: Vec<Value>,
    pub(crate) format: Option<Format>,
    pub(crate) pattern: Option<Arc<Regex>>,
    pub(crate) minimum: Option<Bound>,
    pub(crate) maximum: Option<Bound>,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    pub(crate) unique_items: bool,
    pub(crate) all_of: Vec<NodeId>,
    pub(crate) any_of: Vec<NodeId>,
    pub(crate) one_of: Vec<NodeId>,
    pub(crate) not: Option<NodeId>,
}

impl Node {
    /// The declared field `name`.
    pub(crate) fn property(&self, name: &str) -> Option<NodeId> {
        self.properties.binary_search_by(|(known, _)| (**known).cmp(name)).ok().map(|at| self.properties[at].1)
    }

    /// The schema of the field or map entry `name`, if anything is known about it.
    pub(crate) fn child(&self, name: &str) -> Option<NodeId> {
        self.property(name).or(match self.additional {
            Additional::Schema(id) => Some(id),
            _ => None,
        })
    }
}

impl Schema {
    /// The node at `id`.
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    /// The node of the whole object.
    pub(crate) fn root(&self) -> NodeId {
        self.root
    }

    /// Whether the kind has this top-level field, for instance `status`.
    pub fn has_field(&self, name: &str) -> bool {
        self.node(self.root).property(name).is_some()
    }
}

impl Checks {
    /// Whether there is anything to check.
    pub(crate) fn is_some(&self) -> bool {
        let numbers = self.minimum.is_some() || self.maximum.is_some() || self.multiple_of.is_some();
        let sizes = [
            self.min_length,
            self.max_length,
            self.min_items,
            self.max_items,
            self.min_properties,
            self.max_properties,
        ];
        let parts = !(self.all_of.is_empty() && self.any_of.is_empty() && self.one_of.is_empty());
        !self.enums.is_empty()
            || self.format.is_some()
            || self.pattern.is_some()
            || numbers
            || sizes.iter().any(Option::is_some)
            || self.unique_items
            || parts
            || self.not.is_some()
    }
}
