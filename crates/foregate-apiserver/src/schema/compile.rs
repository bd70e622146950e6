//! From OpenAPI JSON to the compiled tree.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use regex::Regex;
use serde_json::{Map, Value};

use super::cel::{self, Rule};
use super::format::Format;
use super::keywords::{bound, count, flag, kind, list_type, names, patch_rule, reference, text};
use super::pattern;
use super::tree::{Additional, Checks, Kind, Node, NodeId, Schema};

/// Why a schema can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// A keyword's value is not what it must be.
    #[error("{path}: {message}")]
    Keyword {
        /// The schema node's field path, from the object's root.
        path: String,
        /// What is wrong and what is expected.
        message: String,
    },
    /// A rule of `x-kubernetes-validations` does not compile.
    #[error("{path}: x-kubernetes-validations: {message}")]
    Rule {
        /// The schema node's field path.
        path: String,
        /// What is wrong with the rule.
        message: String,
    },
    /// Nesting or size beyond what is accepted.
    #[error("the schema is too large: at most {NODES} nodes, {DEPTH} deep")]
    TooLarge,
    /// The parser of rules gave up.
    #[error("a rule of x-kubernetes-validations could not be parsed")]
    Parser,
    /// A `$ref` that leads nowhere.
    #[error("no definition named {0:?}")]
    UnknownDefinition(String),
}

/// Schema nodes of one kind.
const NODES: usize = 50_000;
/// Nesting of schema nodes.
const DEPTH: usize = 100;
/// Stack to compile on: the parser of rules recurses deeply.
const STACK_BYTES: usize = 32 << 20;

/// `JSONSchemaPropsOrArray` and its like in the definition of CRDs.
const OR_ELSE: &[&str] = &["OrArray", "OrBool", "OrStringArray"];

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

impl Schema {
    /// Compiles the `openAPIV3Schema` of a CRD's version.
    ///
    /// # Errors
    /// The first keyword or rule that can't be used.
    pub fn compile(schema: &Value) -> Result<Self, SchemaError> {
        let compile = || {
            let mut compiler = Compiler::new(crate::builtin::object_meta(), false);
            let root = compiler.node(schema, "", 0)?;
            compiler.type_meta(root)?;
            Ok(compiler.finish(root))
        };
        // Not a thread: what lives on after its end would hold nearly empty pages of the allocator, one set per schema.
        // The parser of rules panics on some texts where arithmetic is checked.
        stacker::grow(STACK_BYTES, || catch_unwind(AssertUnwindSafe(compile))).unwrap_or(Err(SchemaError::Parser))
    }

    /// Compiles the definition `name` of Kubernetes' published OpenAPI v3. `completion` fills in
    /// defaults that the definition lacks.
    ///
    /// # Errors
    /// As [`Schema::compile`]; also an unknown name.
    pub fn builtin(
        definitions: &Map<String, Value>,
        name: &str,
        completion: Option<fn(&mut Value)>,
    ) -> Result<Self, SchemaError> {
        let mut compiler = Compiler::new(definitions, true);
        let root = compiler.definition(name, 0)?;
        Ok(Schema { completion, ..compiler.finish(root) })
    }
}

struct Compiler<'d> {
    definitions: &'d Map<String, Value>,
    references: HashMap<String, NodeId>,
    nodes: Vec<Node>,
    builtin: bool,
}

impl<'d> Compiler<'d> {
    fn new(definitions: &'d Map<String, Value>, builtin: bool) -> Self {
        Self { definitions, references: HashMap::new(), nodes: Vec::new(), builtin }
    }

    fn finish(self, root: NodeId) -> Schema {
        let mut schema = Schema { nodes: self.nodes, root, builtin: self.builtin, completion: None };
        // Children are compiled before their parents are filled in, except through references,
        // which only built-in kinds have: and those have no rules.
        if !self.builtin {
            mark_rules(&mut schema.nodes, root);
        }
        schema
    }

    fn reserve(&mut self) -> Result<NodeId, SchemaError> {
        if self.nodes.len() >= NODES {
            return Err(SchemaError::TooLarge);
        }
        self.nodes.push(Node::default());
        Ok((self.nodes.len() - 1) as NodeId)
    }

    /// A named definition, compiled once; recursion ends at the reserved node.
    fn definition(&mut self, name: &str, depth: usize) -> Result<NodeId, SchemaError> {
        // A schema where Go has "a schema, or a list, or true": the rest is the CRD's own check.
        let name = OR_ELSE.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        if let Some(id) = self.references.get(name) {
            return Ok(*id);
        }
        let schema = self.definitions.get(name).ok_or_else(|| SchemaError::UnknownDefinition(name.to_string()))?;
        let id = self.reserve()?;
        self.references.insert(name.to_string(), id);
        let builtin = std::mem::replace(&mut self.builtin, true);
        let node = self.build(schema, name, depth);
        self.builtin = builtin;
        let mut node = node?;
        if name.ends_with("JSONSchemaProps") {
            node.kind = Kind::Any;
        }
        self.nodes[id as usize] = node;
        Ok(id)
    }

    fn node(&mut self, schema: &Value, path: &str, depth: usize) -> Result<NodeId, SchemaError> {
        if depth > DEPTH {
            return Err(SchemaError::TooLarge);
        }
        if let Some(name) = reference(schema) {
            return self.definition(name, depth + 1);
        }
        let id = self.reserve()?;
        self.nodes[id as usize] = self.build(schema, path, depth)?;
        Ok(id)
    }

    fn build(&mut self, schema: &Value, path: &str, depth: usize) -> Result<Node, SchemaError> {
        let mut node = Node {
            kind: kind(schema),
            nullable: flag(schema, "nullable"),
            embedded_resource: flag(schema, "x-kubernetes-embedded-resource"),
            preserve_unknown: flag(schema, "x-kubernetes-preserve-unknown-fields"),
            default: schema.get("default").filter(|default| self.wants_default(default)).cloned(),
            required: names(schema, "required"),
            list_type: list_type(schema),
            atomic_map: text(schema, "x-kubernetes-map-type") == Some("atomic"),
            patch: patch_rule(schema),
            ..Node::default()
        };
        self.children(schema, path, depth, &mut node)?;
        node.checks = self.checks(schema, path, depth, node.kind)?;
        if self.builtin
            && node.kind == Kind::Object
            && node.properties.is_empty()
            && node.additional == Additional::Unknown
        {
            // RawExtension, FieldsV1: an object of which OpenAPI says nothing.
            node.preserve_unknown = true;
        }
        if node.kind == Kind::Any && node.properties.is_empty() && node.checks.is_none() {
            node.preserve_unknown |= self.builtin;
        }
        if node.embedded_resource {
            self.embedded(&mut node, depth)?;
        }
        for rule in schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
            // Not before a rule asks: built-in schemas, which have none, may refer to themselves.
            let whole = node.kind != Kind::Object && has_typed_format(&self.nodes, &node);
            let typed = whole || self.reads_typed(&node, rule);
            node.rules.push(Rule::compile(rule, if path.is_empty() { "<root>" } else { path }, typed)?);
        }
        Ok(node)
    }

    /// Published OpenAPI gives Go's zero values as defaults: those are no defaults at all.
    fn wants_default(&self, default: &Value) -> bool {
        if !self.builtin {
            return true;
        }
        match default {
            Value::Object(map) => !map.is_empty(),
            Value::String(text) => !text.is_empty(),
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::Bool(value) => *value,
            _ => false,
        }
    }

    fn children(&mut self, schema: &Value, path: &str, depth: usize, node: &mut Node) -> Result<(), SchemaError> {
        for (name, child) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let child_path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let id = self.node(child, &child_path, depth + 1)?;
            node.properties.push((name.as_str().into(), id));
        }
        node.properties.sort_by(|a, b| a.0.cmp(&b.0));
        node.additional = match schema.get("additionalProperties") {
            Some(Value::Bool(true)) => Additional::Any,
            Some(child @ Value::Object(_)) => Additional::Schema(self.node(child, &format!("{path}.*"), depth + 1)?),
            _ => Additional::Unknown,
        };
        if let Some(items) = schema.get("items") {
            node.items = Some(self.node(items, &format!("{path}[]"), depth + 1)?);
        }
        Ok(())
    }

    fn checks(
        &mut self,
        schema: &Value,
        path: &str,
        depth: usize,
        kind: Kind,
    ) -> Result<Option<Box<Checks>>, SchemaError> {
        let mut checks = Checks {
            enums: schema.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
            format: text(schema, "format").and_then(Format::parse),
            pattern: compile_pattern(schema, path)?,
            minimum: bound(schema, "minimum", "exclusiveMinimum"),
            maximum: bound(schema, "maximum", "exclusiveMaximum"),
            multiple_of: schema.get("multipleOf").and_then(Value::as_f64).filter(|factor| *factor > 0.0),
            min_length: count(schema, "minLength"),
            max_length: count(schema, "maxLength"),
            min_items: count(schema, "minItems"),
            max_items: count(schema, "maxItems"),
            min_properties: count(schema, "minProperties"),
            max_properties: count(schema, "maxProperties"),
            unique_items: flag(schema, "uniqueItems"),
            ..Checks::default()
        };
        // For int-or-string the type says all that the usual anyOf does.
        if kind != Kind::IntOrString {
            checks.any_of = self.alternatives(schema, "anyOf", path, depth)?;
            checks.one_of = self.alternatives(schema, "oneOf", path, depth)?;
        }
        checks.all_of = self.alternatives(schema, "allOf", path, depth)?;
        if let Some(not) = schema.get("not") {
            checks.not = Some(self.node(not, path, depth + 1)?);
        }
        Ok(checks.is_some().then(|| Box::new(checks)))
    }

    fn alternatives(
        &mut self,
        schema: &Value,
        keyword: &str,
        path: &str,
        depth: usize,
    ) -> Result<Vec<NodeId>, SchemaError> {
        let list = schema.get(keyword).and_then(Value::as_array);
        list.into_iter().flatten().map(|schema| self.node(schema, path, depth + 1)).collect()
    }

    /// Every custom object has apiVersion, kind and metadata, whether its schema says so or not.
    fn type_meta(&mut self, root: NodeId) -> Result<(), SchemaError> {
        let mut node = std::mem::take(&mut self.nodes[root as usize]);
        let result = self.embedded(&mut node, 0);
        node.kind = Kind::Object;
        self.nodes[root as usize] = node;
        result
    }

    fn embedded(&mut self, node: &mut Node, depth: usize) -> Result<(), SchemaError> {
        for name in ["apiVersion", "kind"] {
            if node.property(name).is_none() {
                let id = self.reserve()?;
                self.nodes[id as usize].kind = Kind::String;
                insert(node, name, id);
            }
        }
        let metadata = self.definition(OBJECT_META, depth + 1)?;
        match node.property("metadata") {
            // What the CRD says about the name holds besides the common shape of metadata.
            Some(own) if !self.nodes[own as usize].properties.is_empty() => {
                let common = self.nodes[metadata as usize].properties.clone();
                let id = self.reserve()?;
                let checks = Checks { all_of: vec![own], ..Checks::default() };
                self.nodes[own as usize].preserve_unknown = true;
                self.nodes[id as usize] =
                    Node { kind: Kind::Object, properties: common, checks: Some(Box::new(checks)), ..Node::default() };
                insert(node, "metadata", id);
            }
            _ => insert(node, "metadata", metadata),
        }
        Ok(())
    }

    /// Whether a rule reads fields whose formats CEL types specially (times, durations, bytes).
    fn reads_typed(&self, node: &Node, rule: &Value) -> bool {
        let source = text(rule, "rule").unwrap_or_default();
        let message = text(rule, "messageExpression").unwrap_or_default();
        let whole = names_self_alone(source) || names_self_alone(message);
        let below =
            node.properties.iter().filter(|(name, _)| whole || mentions(source, name) || mentions(message, name));
        let others = match node.additional {
            Additional::Schema(id) => Some(id),
            _ => None,
        };
        below.map(|(_, id)| *id).chain(others).any(|id| has_typed_format(&self.nodes, &self.nodes[id as usize]))
    }
}

/// Whether a rule may select the field `name`.
fn mentions(source: &str, name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let selected = source
        .match_indices(name)
        .any(|(at, _)| source[..at].trim_end().ends_with('.') && !source[at + name.len()..].starts_with(plain));
    let escaped = !name.chars().all(plain) || name.contains("__") || cel::RESERVED.contains(&name);
    selected || (escaped && source.contains("__"))
}

/// `self` used other than as `self.field`.
fn names_self_alone(source: &str) -> bool {
    source.match_indices("elf").any(|(at, _)| {
        let prefix = &source[..at];
        (prefix.ends_with('s') || prefix.ends_with("oldS")) && !source[at + 3..].trim_start().starts_with('.')
    })
}

fn insert(node: &mut Node, name: &str, id: NodeId) {
    match node.properties.binary_search_by(|(known, _)| (**known).cmp(name)) {
        Ok(at) => node.properties[at].1 = id,
        Err(at) => node.properties.insert(at, (name.into(), id)),
    }
}

/// Custom schemas are trees, so this ends.
fn has_typed_format(nodes: &[Node], node: &Node) -> bool {
    let own = node.checks.as_ref().and_then(|checks| checks.format);
    let special = matches!(own, Some(Format::DateTime | Format::Duration | Format::Byte | Format::Date));
    if special || node.kind == Kind::Number {
        return true;
    }
    let below = node.properties.iter().map(|(_, id)| *id).chain(node.items);
    let others = match node.additional {
        Additional::Schema(id) => Some(id),
        _ => None,
    };
    below.chain(others).any(|id| has_typed_format(nodes, &nodes[id as usize]))
}

fn mark_rules(nodes: &mut [Node], id: NodeId) -> (bool, bool) {
    let node = &nodes[id as usize];
    let mut rules = !node.rules.is_empty();
    let mut transitions = node.rules.iter().any(|rule| rule.transition);
    let others = match node.additional {
        Additional::Schema(id) => Some(id),
        _ => None,
    };
    let below: Vec<NodeId> = node.properties.iter().map(|(_, id)| *id).chain(node.items).chain(others).collect();
    for child in below {
        let (a, b) = mark_rules(nodes, child);
        rules |= a;
        transitions |= b;
    }
    let node = &mut nodes[id as usize];
    (node.rules_below, node.transitions_below) = (rules, transitions);
    (rules, transitions)
}

fn compile_pattern(schema: &Value, path: &str) -> Result<Option<Arc<Regex>>, SchemaError> {
    let Some(pattern) = text(schema, "pattern") else { return Ok(None) };
    pattern::compile(pattern).map(Some).map_err(|error| SchemaError::Keyword {
        path: path.to_string(),
        message: format!("pattern {pattern:?} is not a regular expression: {error}"),
    })
}
