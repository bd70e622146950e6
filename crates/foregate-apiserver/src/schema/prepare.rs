//! Unknown fields and defaults, in one walk.

use serde_json::{Map, Value};

use super::path::Path;
use super::tree::{Additional, NodeId, Schema};

/// The `fieldValidation` parameter of a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Unknown fields are removed silently.
    Ignore,
    /// Unknown fields are removed and reported as warnings.
    #[default]
    Warn,
    /// Unknown fields fail the write.
    Strict,
}

impl FieldValidation {
    /// The parameter's value as clients send it; an empty one means [`FieldValidation::Warn`].
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Warn" => Some(Self::Warn),
            "Ignore" => Some(Self::Ignore),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// Fields that the schema does not know, under [`FieldValidation::Strict`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("strict decoding error: {}", .0.join(", "))]
pub struct StrictError(
    /// One `unknown field "spec.foo"` each.
    pub Vec<String>,
);

/// More unknown fields than this are not listed.
const REPORTED: usize = 100;

impl Schema {
    /// Removes what the schema does not know, and applies defaults. Returns warnings (under
    /// [`FieldValidation::Warn`]).
    ///
    /// # Errors
    /// The unknown fields under [`FieldValidation::Strict`]; the object is then half prepared.
    pub fn prepare(&self, object: &mut Value, mode: FieldValidation) -> Result<Vec<String>, StrictError> {
        self.walk(object, mode, true)
    }

    /// Removes what the schema does not know, without defaults: for applied configurations, whose
    /// fields become owned.
    ///
    /// # Errors
    /// As [`Schema::prepare`].
    pub fn prune(&self, object: &mut Value, mode: FieldValidation) -> Result<Vec<String>, StrictError> {
        self.walk(object, mode, false)
    }

    /// Applies defaults only, those that no schema has included.
    pub fn apply_defaults(&self, object: &mut Value) {
        let mut walk = Walk { schema: self, unknown: Vec::new(), prune: false, defaults: true };
        walk.value(object, self.root(), &Path::ROOT);
        if let Some(complete) = self.completion {
            complete(object);
        }
    }

    fn walk(&self, object: &mut Value, mode: FieldValidation, defaults: bool) -> Result<Vec<String>, StrictError> {
        let mut walk = Walk { schema: self, unknown: Vec::new(), prune: true, defaults };
        walk.value(object, self.root(), &Path::ROOT);
        let unknown = walk.unknown;
        match mode {
            FieldValidation::Strict if !unknown.is_empty() => Err(StrictError(unknown)),
            FieldValidation::Warn => Ok(unknown),
            _ => Ok(Vec::new()),
        }
    }
}

struct Walk<'s> {
    schema: &'s Schema,
    unknown: Vec<String>,
    prune: bool,
    defaults: bool,
}

impl Walk<'_> {
    fn value(&mut self, value: &mut Value, id: NodeId, path: &Path<'_>) {
        match value {
            Value::Object(map) => self.object(map, id, path),
            Value::Array(items) => {
                let Some(item) = self.schema.node(id).items else { return };
                for (index, value) in items.iter_mut().enumerate() {
                    self.value(value, item, &path.index(index));
                }
            }
            _ => {}
        }
    }

    fn object(&mut self, map: &mut Map<String, Value>, id: NodeId, path: &Path<'_>) {
        let node = self.schema.node(id);
        if self.defaults {
            for (name, child) in &node.properties {
                let child = self.schema.node(*child);
                let Some(default) = &child.default else { continue };
                let missing = map.get(&**name).is_none_or(|value| value.is_null() && !child.nullable);
                if missing {
                    map.insert(name.to_string(), default.clone());
                }
            }
        }
        let keep = |name: &String, value: &mut Value, walk: &mut Self| {
            if let Some(child) = node.property(name) {
                walk.entry(value, child, &path.field(name))
            } else if let Additional::Schema(child) = node.additional {
                walk.entry(value, child, &path.field(name))
            } else {
                let known = node.preserve_unknown || node.additional == Additional::Any || !walk.prune;
                if !known && walk.unknown.len() < REPORTED {
                    walk.unknown.push(format!("unknown field \"{}\"", path.field(name)));
                }
                known
            }
        };
        map.retain(|name, value| keep(name, value, self));
    }

    /// Whether the entry stays: nulls of fields that can't be null are as good as absent.
    fn entry(&mut self, value: &mut Value, child: NodeId, path: &Path<'_>) -> bool {
        if value.is_null() {
            let node = self.schema.node(child);
            return node.nullable || !self.prune || (node.preserve_unknown && !self.schema.builtin);
        }
        self.value(value, child, path);
        true
    }
}
