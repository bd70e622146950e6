//! The whole validation of one object: structure first, then rules.

use serde_json::Value;

use super::cel::{Budget, Scope};
use super::correlation::Correlation;
use super::error::{FieldError, FieldErrorKind};
use super::path::Path;
use super::structure::{REPORTED, Structure};
use super::tree::{NodeId, Schema};

impl Schema {
    /// Everything that is wrong with `new`. With `old`, the object before the write, what did not
    /// change is not checked again, and rules that compare with `oldSelf` run.
    ///
    /// The object is expected to be prepared ([`Schema::prepare`]). CEL rules run only on objects
    /// whose types, required fields, enumerations and sizes are right, as in Kubernetes.
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut structure = Structure { schema: self, errors: Vec::new() };
        structure.value(new, old, self.root, &Path::ROOT);
        let mut errors = structure.errors;
        let blocked =
            errors.iter().any(|error| !matches!(error.kind, FieldErrorKind::Invalid | FieldErrorKind::Duplicate));
        if !blocked && self.node(self.root).rules_below {
            let mut rules = Rules { schema: self, budget: Budget::new(), errors };
            rules.value(new, old, old, self.root, &Path::ROOT);
            errors = rules.errors;
        }
        errors
    }
}

struct Rules<'s> {
    schema: &'s Schema,
    budget: Budget,
    errors: Vec<FieldError>,
}

impl Rules<'_> {
    /// `same` is what the value may be unchanged against; `old` is what `oldSelf` is: items of
    /// lists without keys have the first, never the second.
    fn value(&mut self, value: &Value, same: Option<&Value>, old: Option<&Value>, id: NodeId, path: &Path<'_>) {
        let node = self.schema.node(id);
        if !node.rules_below || self.errors.len() >= REPORTED {
            return;
        }
        let unchanged = same == Some(value);
        if unchanged && !node.transitions_below {
            return;
        }
        if value.is_null() {
            return;
        }
        self.rules(value, unchanged, old, id, path);
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let Some(child) = node.child(name) else { continue };
                    let (same, old) = (same.and_then(|same| same.get(name)), old.and_then(|old| old.get(name)));
                    self.value(value, same, old, child, &path.field(name));
                }
            }
            Value::Array(items) => {
                let Some(child) = node.items else { return };
                let same = Correlation::new(same, &node.list_type);
                let old = Correlation::new(old, &node.list_type);
                for (index, item) in items.iter().enumerate() {
                    let (same, old) = (same.of(item, index), old.by_key(item, index));
                    self.value(item, same, old, child, &path.index(index));
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, value: &Value, unchanged: bool, old: Option<&Value>, id: NodeId, path: &Path<'_>) {
        let node = self.schema.node(id);
        let scope = Scope { schema: self.schema, node: id, value, old };
        for rule in &node.rules {
            let applies = if rule.transition { old.is_some() || rule.optional_old_self } else { !unchanged };
            if !applies {
                continue;
            }
            if let Some(message) = rule.check(&scope, &mut self.budget) {
                let field = format!("{path}{}", rule.field_path.as_deref().unwrap_or_default());
                self.errors.push(FieldError::new(rule.kind, field.trim_start_matches('.'), value, message));
            }
        }
    }
}
