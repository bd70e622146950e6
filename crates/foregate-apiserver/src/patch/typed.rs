//! Objects seen through their schema: which fields there are, how two objects differ, how they
//! merge, and what to remove when a manager gives fields up.
//!
//! Structs and maps are walked; scalars, atomic lists and atomic maps are leaves; lists with keys
//! and sets are walked by item. Where there is no schema, maps are walked and lists are atomic.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::fields::{Element, Node, Set};
use super::lists::{Origin, interleave};
use crate::schema::{ListType, NodeId, Schema};

/// A list item that lacks a key, or occurs twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct TypeError {
    /// The list's path.
    pub path: String,
    /// What is wrong with the item.
    pub message: String,
}

/// A place in the schema; `None` below what the schema doesn't describe.
#[derive(Clone, Copy)]
pub(super) struct Typed<'s> {
    schema: &'s Schema,
    id: Option<NodeId>,
}

/// How a value is walked.
enum Shape<'v, 's> {
    Leaf,
    Map(&'v Map<String, Value>),
    List(&'v [Value], &'s ListType),
}

impl<'s> Typed<'s> {
    pub(super) fn root(schema: &'s Schema) -> Self {
        Self { schema, id: Some(schema.root()) }
    }

    fn child(self, name: &str) -> Self {
        Self { id: self.id.and_then(|id| self.schema.node(id).child(name)), ..self }
    }

    fn item(self) -> Self {
        Self { id: self.id.and_then(|id| self.schema.node(id).items), ..self }
    }

    /// Whether `name` is a declared field, and not an entry of a map.
    fn declares(self, name: &str) -> bool {
        self.id.is_some_and(|id| self.schema.node(id).property(name).is_some())
    }

    fn shape<'v>(self, value: &'v Value) -> Shape<'v, 's> {
        let node = self.id.map(|id| self.schema.node(id));
        match value {
            Value::Object(map) if !node.is_some_and(|node| node.atomic_map) => Shape::Map(map),
            Value::Array(items) => match node.map(|node| &node.list_type) {
                Some(list) if *list != ListType::Atomic => Shape::List(items, list),
                _ => Shape::Leaf,
            },
            _ => Shape::Leaf,
        }
    }

    /// The step to a list item.
    fn element(self, list: &ListType, item: &Value) -> Result<Element, String> {
        match list {
            ListType::Set => Ok(Element::Value(item.to_string().into())),
            ListType::Map(keys) => {
                let mut identity = Map::new();
                for key in keys {
                    let value = item.get(&**key).or_else(|| self.item().child(key).default());
                    if let Some(value) = value {
                        identity.insert(key.to_string(), value.clone());
                    }
                }
                if identity.is_empty() {
                    return Err(format!("an item lacks the list's key {}", keys.join(", ")));
                }
                Ok(Element::Key(Value::Object(identity).to_string().into()))
            }
            ListType::Atomic => Err("an atomic list has no item paths".to_string()),
        }
    }

    fn default(self) -> Option<&'s Value> {
        self.id.and_then(|id| self.schema.node(id).default.as_ref())
    }

    fn elements(self, list: &ListType, items: &[Value]) -> Result<Vec<Element>, TypeError> {
        let element = |item| self.element(list, item);
        items
            .iter()
            .map(element)
            .collect::<Result<_, _>>()
            .map_err(|message| TypeError { path: String::new(), message })
    }
}

impl TypeError {
    fn below(mut self, step: &str) -> Self {
        self.path = format!(".{step}{}", self.path);
        self
    }
}

/// Every path of `value`: what an applied configuration owns.
pub(super) fn fields(typed: Typed<'_>, value: &Value) -> Result<Set, TypeError> {
    let mut out = Set::default();
    match typed.shape(value) {
        Shape::Leaf => {}
        Shape::Map(map) => {
            for (name, value) in map {
                let below = typed.child(name);
                let member = is_leaf(below, value) || !typed.declares(name);
                let children = fields(below, value).map_err(|error| error.below(name))?;
                out.put(Element::Field(name.as_str().into()), Node { member, children });
            }
        }
        Shape::List(items, list) => {
            for (item, element) in items.iter().zip(typed.elements(list, items)?) {
                if out.get(&element).is_some() {
                    return Err(TypeError {
                        path: String::new(),
                        message: format!("the item {element} is there twice"),
                    });
                }
                let children = match list {
                    ListType::Map(_) => fields(typed.item(), item)?,
                    _ => Set::default(),
                };
                out.put(element, Node { member: true, children });
            }
        }
    }
    Ok(out)
}

/// Scalars and atomics; also what is empty, so that empty and absent stay different.
fn is_leaf(typed: Typed<'_>, value: &Value) -> bool {
    match typed.shape(value) {
        Shape::Leaf => true,
        Shape::Map(map) => map.is_empty(),
        Shape::List(items, _) => items.is_empty(),
    }
}

/// How `new` differs from `old`.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Paths that are new, or have another value.
    pub(super) changed: Set,
    /// Paths that are gone.
    pub(super) removed: Set,
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

/// Compares two objects.
pub(super) fn compare(typed: Typed<'_>, old: &Value, new: &Value) -> Difference {
    let (changed, removed) = differ(typed, Some(old), Some(new));
    Difference { changed: changed.children, removed: removed.children }
}

/// What changed and what was removed at one place and below.
fn differ(typed: Typed<'_>, old: Option<&Value>, new: Option<&Value>) -> (Node, Node) {
    let (mut changed, mut removed) = (Node::default(), Node::default());
    if old == new {
        return (changed, removed);
    }
    changed.member = old.is_none();
    removed.member = new.is_none();
    let leaf = |value: Option<&Value>| value.is_none_or(|value| is_leaf(typed, value));
    if leaf(old) && leaf(new) {
        changed.member |= new.is_some();
        return (changed, removed);
    }
    let map = |value: Option<&Value>| {
        value.is_none_or(|value| matches!(typed.shape(value), Shape::Map(_)) || value.is_null())
    };
    let list = |value: Option<&Value>| {
        value.is_none_or(|value| matches!(typed.shape(value), Shape::List(..)) || value.is_null())
    };
    if map(old) && map(new) {
        differ_maps(typed, old, new, &mut changed.children, &mut removed.children);
    } else if list(old) && list(new) {
        differ_lists(typed, old, new, &mut changed.children, &mut removed.children);
    } else {
        // From a map to a scalar or the like: all of the old goes, all of the new comes.
        if let Some(old) = old {
            removed.children = fields(typed, old).unwrap_or_default();
        }
        if let Some(new) = new {
            changed.children = fields(typed, new).unwrap_or_default();
            changed.member |= is_leaf(typed, new);
        }
    }
    (changed, removed)
}

fn differ_maps(typed: Typed<'_>, old: Option<&Value>, new: Option<&Value>, changed: &mut Set, removed: &mut Set) {
    let empty = Map::new();
    let old = old.and_then(Value::as_object).unwrap_or(&empty);
    let new = new.and_then(Value::as_object).unwrap_or(&empty);
    let mut note = |name: &String, old: Option<&Value>, new: Option<&Value>| {
        if old == new {
            return;
        }
        let (added, gone) = differ(typed.child(name), old, new);
        changed.put(Element::Field(name.as_str().into()), added);
        removed.put(Element::Field(name.as_str().into()), gone);
    };
    for (name, value) in new {
        note(name, old.get(name), Some(value));
    }
    for (name, value) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
        note(name, Some(value), None);
    }
}

fn differ_lists(typed: Typed<'_>, old: Option<&Value>, new: Option<&Value>, changed: &mut Set, removed: &mut Set) {
    let (old, new) = (items(old), items(new));
    let Some(list) = typed.id.map(|id| &typed.schema.node(id).list_type) else { return };
    // Items without keys can't be owned one by one; validation refuses them.
    let indexed = |items: &[Value]| -> Vec<(Element, usize)> {
        let elements = items.iter().enumerate();
        elements.filter_map(|(index, item)| Some((typed.element(list, item).ok()?, index))).collect()
    };
    let (old_elements, new_elements) = (indexed(old), indexed(new));
    let places =
        |elements: &[(Element, usize)]| -> HashMap<Element, usize> { elements.iter().rev().cloned().collect() };
    let (old_places, new_places) = (places(&old_elements), places(&new_elements));
    let below = if matches!(list, ListType::Map(_)) { typed.item() } else { Typed { id: None, ..typed } };
    for (element, index) in &new_elements {
        let before = old_places.get(element).map(|at| &old[*at]);
        let (added, gone) = differ(below, before, Some(&new[*index]));
        changed.put(element.clone(), added);
        removed.put(element.clone(), gone);
    }
    for (element, index) in &old_elements {
        if !new_places.contains_key(element) {
            removed.put(element.clone(), differ(below, Some(&old[*index]), None).1);
        }
    }
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `live` with what `applied` says laid over it.
pub(super) fn merge(typed: Typed<'_>, live: Option<&Value>, applied: &Value) -> Result<Value, TypeError> {
    let Some(live) = live else { return Ok(applied.clone()) };
    match (typed.shape(live), typed.shape(applied)) {
        (Shape::Map(old), Shape::Map(new)) => {
            let mut out = old.clone();
            for (name, value) in new {
                let merged = merge(typed.child(name), old.get(name), value).map_err(|error| error.below(name))?;
                out.insert(name.clone(), merged);
            }
            Ok(Value::Object(out))
        }
        (Shape::List(old, list), Shape::List(new, _)) => {
            let (old_elements, new_elements) = (typed.elements(list, old)?, typed.elements(list, new)?);
            let mut out = Vec::with_capacity(old.len() + new.len());
            for origin in interleave(&old_elements, &new_elements) {
                out.push(match origin {
                    Origin::Old(index) => old[index].clone(),
                    Origin::New(index) => new[index].clone(),
                    Origin::Both(_, index) if *list == ListType::Set => new[index].clone(),
                    Origin::Both(before, index) => merge(typed.item(), Some(&old[before]), &new[index])?,
                });
            }
            Ok(Value::Array(out))
        }
        _ => Ok(applied.clone()),
    }
}

/// Removes from `value` what `last` has and `owned` does not: fields that their manager no longer
/// applies and that nobody else owns.
pub(super) fn prune(typed: Typed<'_>, value: &mut Value, last: &Set, owned: &Set) {
    match value {
        Value::Object(map) => {
            for (element, node) in last.iter() {
                let Element::Field(name) = element else { continue };
                let Some(below) = map.get_mut(&**name) else { continue };
                if gives_up(typed.child(name), below, node, owned.get(element)) {
                    map.remove(&**name);
                }
            }
        }
        Value::Array(items) => {
            let Some(list) =
                typed.id.map(|id| &typed.schema.node(id).list_type).filter(|list| **list != ListType::Atomic)
            else {
                return;
            };
            items.retain_mut(|item| {
                let Ok(element) = typed.element(list, item) else { return true };
                let Some(node) = last.get(&element) else { return true };
                !gives_up(typed.item(), item, node, owned.get(&element))
            });
        }
        _ => {}
    }
}

/// Whether the value itself goes; else what is given up below it is removed.
fn gives_up(typed: Typed<'_>, value: &mut Value, last: &Node, owned: Option<&Node>) -> bool {
    if last.member && owned.is_none() {
        return true;
    }
    if last.children.is_empty() || is_leaf(typed, value) {
        return false;
    }
    let nobody = Set::default();
    prune(typed, value, &last.children, owned.map_or(&nobody, |node| &node.children));
    // What became empty by this was only there for its fields.
    is_leaf(typed, value) && !owned.is_some_and(|node| node.member)
}
