//! The rules of `x-kubernetes-validations`: parsed once, evaluated per object.
//!
//! The crate `cel` parses every rule. What uses only the common part of CEL, which is what nearly
//! all rules do, runs on our own evaluator: it reads the JSON object in place, without copies, and
//! counts its steps. Rules with other functions (quantities, addresses, versions, timestamps, …)
//! run on the crate's interpreter with `kube-cel`'s libraries.

mod evaluate;
mod expression;
mod foreign;
mod limits;
mod operations;
pub(crate) mod script;

use std::fmt;

use kube_cel::cel::Program;
use serde_json::Value;

use super::compile::SchemaError;
use super::error::FieldErrorKind;
use super::tree::{NodeId, Schema};
pub(crate) use evaluate::Budget;
use evaluate::Machine;
use expression::Expression;
pub(super) use expression::RESERVED;

/// What a rule sees.
const ROOTS: &[&str] = &["self", "oldSelf"];

/// One compiled rule.
pub(crate) struct Rule {
    text: String,
    code: Code,
    message: Option<String>,
    message_code: Option<Code>,
    pub(super) kind: FieldErrorKind,
    /// Appended to the path of the node, with its dot.
    pub(super) field_path: Option<String>,
    /// Looks at `oldSelf`.
    pub(super) transition: bool,
    /// Runs on creation too, with `oldSelf` null.
    pub(super) optional_old_self: bool,
}

enum Code {
    Native(Expression),
    Foreign(Box<Program>),
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rule").field(&self.text).finish()
    }
}

/// Everything a rule sees.
pub(crate) struct Scope<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) node: NodeId,
    pub(crate) value: &'a Value,
    pub(crate) old: Option<&'a Value>,
}

impl Rule {
    /// Compiles one entry of `x-kubernetes-validations` at `path`. `typed` says that the values
    /// below have formats which CEL types specially, so that the native evaluator is out.
    pub(super) fn compile(rule: &Value, path: &str, typed: bool) -> Result<Self, SchemaError> {
        let text = |name: &str| rule.get(name).and_then(Value::as_str).map(str::to_string);
        let fault = |message: String| SchemaError::Rule { path: path.to_string(), message };
        let source = text("rule").ok_or_else(|| fault("rule is required".into()))?;
        let (code, transition) = Code::compile(&source, typed).map_err(&fault)?;
        let message_code = match text("messageExpression") {
            Some(source) => Some(Code::compile(&source, typed).map_err(&fault)?.0),
            None => None,
        };
        let kind = match text("reason").as_deref() {
            Some("FieldValueRequired") => FieldErrorKind::Required,
            Some("FieldValueForbidden") => FieldErrorKind::Forbidden,
            Some("FieldValueDuplicate") => FieldErrorKind::Duplicate,
            _ => FieldErrorKind::Invalid,
        };
        let optional_old_self = rule.get("optionalOldSelf") == Some(&Value::Bool(true));
        Ok(Self {
            text: source.trim().to_string(),
            code,
            message: text("message").map(|message| message.trim().to_string()).filter(|message| !message.is_empty()),
            message_code,
            kind,
            field_path: text("fieldPath").filter(|path| !path.is_empty()),
            transition,
            optional_old_self,
        })
    }

    /// The same rule for the interpreter, to hold the two against each other.
    #[cfg(test)]
    pub(super) fn to_foreign(&self) -> Self {
        let rule = serde_json::json!({"rule": self.text, "message": self.message, "fieldPath": self.field_path});
        let compiled = Self::compile(&rule, "", true);
        compiled.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Whether the native evaluator runs this rule.
    #[cfg(test)]
    pub(super) fn is_native(&self) -> bool {
        matches!(self.code, Code::Native(_))
    }

    /// Runs the rule: `None` when it holds, else what to tell the user.
    pub(super) fn check(&self, scope: &Scope<'_>, budget: &mut Budget) -> Option<String> {
        match self.code.condition(scope, budget) {
            Ok(true) => None,
            Ok(false) => Some(self.failed(scope, budget)),
            Err(error) => {
                let rule = self.message.clone().unwrap_or_else(|| format!("failed rule: {}", self.text));
                Some(format!("{error} evaluating rule: {rule}"))
            }
        }
    }

    fn failed(&self, scope: &Scope<'_>, budget: &mut Budget) -> String {
        let computed = self.message_code.as_ref().and_then(|code| code.message(scope, budget));
        // Kubernetes falls back to the static message when the expression gives nothing usable.
        computed
            .filter(|text| !text.trim().is_empty() && !text.contains('\n'))
            .or_else(|| self.message.clone())
            .unwrap_or_else(|| format!("failed rule: {}", self.text))
    }
}

impl Code {
    fn compile(source: &str, typed: bool) -> Result<(Self, bool), String> {
        limits::text(source)?;
        let program = Program::compile(source).map_err(|error| format!("rule {source:?} does not parse: {error}"))?;
        limits::tree(program.expression())?;
        let transition = program.references().has_variable("oldSelf");
        let native = if typed { None } else { Expression::translate(program.expression(), ROOTS, &[]) };
        Ok((native.map_or_else(|| Self::Foreign(Box::new(program)), Self::Native), transition))
    }

    fn condition(&self, scope: &Scope<'_>, budget: &mut Budget) -> Result<bool, String> {
        match self {
            Self::Native(expression) => {
                Machine::new(&[Some(scope.value), scope.old], &[], budget).condition(expression)
            }
            Self::Foreign(program) => foreign::condition(program, scope, budget),
        }
    }

    fn message(&self, scope: &Scope<'_>, budget: &mut Budget) -> Option<String> {
        match self {
            Self::Native(expression) => Machine::new(&[Some(scope.value), scope.old], &[], budget).message(expression),
            Self::Foreign(program) => foreign::message(program, scope),
        }
    }
}
