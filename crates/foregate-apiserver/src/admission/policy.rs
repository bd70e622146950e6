//! One policy: its expressions, compiled.

use serde_json::Value;

use super::Write;
use super::matching::Matching;
use crate::schema::cel::Budget;
use crate::schema::cel::script::{Script, check};

/// What expressions see. `namespaceObject` is last, so that a policy says whether it needs it.
const ROOTS: &[&str] = &["object", "oldObject", "request", "namespaceObject"];

/// A policy.
#[derive(Debug)]
pub(super) struct Policy {
    pub matching: Matching,
    rules: Result<Rules, String>,
    /// Whether what can't be evaluated counts as passed.
    lenient: bool,
}

#[derive(Debug)]
struct Rules {
    conditions: Script,
    condition_count: usize,
    validations: Vec<Validation>,
    script: Script,
}

#[derive(Debug)]
struct Validation {
    /// Place of its expression in the script.
    rule: usize,
    /// Place of its `messageExpression`.
    message_rule: Option<usize>,
    message: String,
    reason: String,
}

/// Why a policy says no.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub message: String,
    /// `metav1.StatusReason`
    pub reason: String,
}

/// A write and what belongs to it.
pub(super) struct Scene<'a> {
    pub write: &'a Write<'a>,
    pub request: &'a Value,
    pub namespace: Option<&'a Value>,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

impl Policy {
    /// Compiles a stored policy.
    pub fn of(object: &Value) -> Self {
        let spec = &object["spec"];
        Self {
            matching: Matching::of(&spec["matchConstraints"]),
            rules: rules(spec),
            lenient: spec["failurePolicy"] == "Ignore",
        }
    }

    /// Whether it asks for the namespace.
    pub fn needs_namespace(&self) -> bool {
        let uses = |rules: &Rules| rules.conditions.uses_last || rules.script.uses_last;
        self.matching.needs_namespace() || self.rules.as_ref().is_ok_and(uses)
    }

    /// Whether a write is fine.
    ///
    /// # Errors
    /// Why it isn't.
    pub fn judge(&self, scene: &Scene<'_>, budget: &mut Budget) -> Result<(), Denied> {
        let failed = |message: String| {
            if self.lenient { Ok(()) } else { Err(Denied { message, reason: "Invalid".to_owned() }) }
        };
        let rules = match &self.rules {
            Ok(rules) => rules,
            // Policies are checked when they are written, so an older server took this one.
            Err(error) => return failed(format!("the policy can't be used: {error}")),
        };
        let values = [scene.write.object, scene.write.old, Some(scene.request), scene.namespace];
        let mut run = rules.conditions.run(&values, budget);
        let mut error = None;
        for at in 0..rules.condition_count {
            match run.condition(at) {
                Ok(true) => {}
                // One that is false counts, whatever the others are.
                Ok(false) => return Ok(()),
                Err(why) => error = Some(why),
            }
        }
        if let Some(why) = error {
            return failed(format!("a match condition failed: {why}"));
        }
        let mut run = rules.script.run(&values, budget);
        for validation in &rules.validations {
            match run.condition(validation.rule) {
                Ok(true) => {}
                Ok(false) => {
                    let computed = validation.message_rule.and_then(|at| run.message(at));
                    let computed = computed.filter(|text| !text.trim().is_empty() && !text.contains('\n'));
                    let message = computed.unwrap_or_else(|| validation.message.clone());
                    return Err(Denied { message, reason: validation.reason.clone() });
                }
                Err(why) => failed(format!("{why} ({})", validation.message))?,
            }
        }
        Ok(())
    }
}

fn rules(spec: &Value) -> Result<Rules, String> {
    let conditions: Vec<&str> = list(&spec["matchConditions"]).iter().map(|it| text(&it["expression"])).collect();
    let named: Vec<(&str, &str)> =
        list(&spec["variables"]).iter().map(|it| (text(&it["name"]), text(&it["expression"]))).collect();
    let mut sources = Vec::new();
    let mut validations = Vec::new();
    for it in list(&spec["validations"]) {
        let expression = text(&it["expression"]);
        sources.push(expression);
        let rule = sources.len() - 1;
        let message_rule = it["messageExpression"].as_str().filter(|source| !source.is_empty()).map(|source| {
            sources.push(source);
            sources.len() - 1
        });
        let said = text(&it["message"]).trim();
        let message = if said.is_empty() { format!("failed expression: {}", expression.trim()) } else { said.into() };
        let reason = it["reason"].as_str().unwrap_or("Invalid").to_owned();
        validations.push(Validation { rule, message_rule, message, reason });
    }
    Ok(Rules {
        conditions: Script::compile(ROOTS, &[], &conditions)?,
        condition_count: conditions.len(),
        validations,
        script: Script::compile(ROOTS, &named, &sources)?,
    })
}

/// What is wrong with a policy that its schema doesn't find: field and message.
pub(crate) fn problems(object: &Value) -> Vec<(String, String)> {
    let spec = &object["spec"];
    let mut found = Vec::new();
    let mut compile = |field: String, source: &Value, names: &[String]| {
        if let Err(error) = check(text(source), ROOTS, names) {
            found.push((field, error));
        }
    };
    for (at, it) in list(&spec["matchConditions"]).iter().enumerate() {
        compile(format!("spec.matchConditions[{at}].expression"), &it["expression"], &[]);
    }
    let names: Vec<String> = list(&spec["variables"]).iter().map(|it| text(&it["name"]).to_owned()).collect();
    for (at, it) in list(&spec["variables"]).iter().enumerate() {
        compile(format!("spec.variables[{at}].expression"), &it["expression"], &names[..at]);
    }
    for (at, it) in list(&spec["validations"]).iter().enumerate() {
        compile(format!("spec.validations[{at}].expression"), &it["expression"], &names);
        if it["messageExpression"].as_str().is_some_and(|source| !source.is_empty()) {
            compile(format!("spec.validations[{at}].messageExpression"), &it["messageExpression"], &names);
        }
    }
    for field in ["paramKind", "auditAnnotations"] {
        let there = &spec[field];
        if !there.is_null() && there.as_array().is_none_or(|list| !list.is_empty()) {
            found.push((format!("spec.{field}"), "this server doesn't support it".to_owned()));
        }
    }
    found
}
