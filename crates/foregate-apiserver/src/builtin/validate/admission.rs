//! Admission policies and their bindings.

use serde_json::Value;

use super::unsupported;
use crate::admission::problems;
use crate::schema::FieldError;

fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value.pointer(path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A ValidatingAdmissionPolicy.
pub(super) fn policy(new: &Value, errors: &mut Vec<FieldError>) {
    let rules = list(new, "/spec/matchConstraints/resourceRules");
    if rules.is_empty() {
        errors.push(FieldError::required("spec.matchConstraints.resourceRules", ""));
    }
    self::rules("spec.matchConstraints.resourceRules", rules, errors);
    if list(new, "/spec/validations").is_empty() {
        errors.push(FieldError::required("spec.validations", "at least one is needed"));
    }
    one_of(new, "/spec/failurePolicy", "spec.failurePolicy", &["Fail", "Ignore"], errors);
    for (at, validation) in list(new, "/spec/validations").iter().enumerate() {
        let reasons = &["Unauthorized", "Forbidden", "Invalid", "RequestEntityTooLarge"];
        one_of(validation, "/reason", &format!("spec.validations[{at}].reason"), reasons, errors);
    }
    for (field, message) in problems(new) {
        errors.push(FieldError::invalid(field, &Value::Null, message));
    }
}

/// A ValidatingAdmissionPolicyBinding.
pub(super) fn binding(new: &Value, errors: &mut Vec<FieldError>) {
    if new.pointer("/spec/policyName").and_then(Value::as_str).is_none_or(str::is_empty) {
        errors.push(FieldError::required("spec.policyName", ""));
    }
    let actions = list(new, "/spec/validationActions");
    if actions.is_empty() {
        errors.push(FieldError::required("spec.validationActions", ""));
    }
    for (at, action) in actions.iter().enumerate() {
        if !matches!(action.as_str(), Some("Deny" | "Warn" | "Audit")) {
            errors.push(unsupported(format!("spec.validationActions[{at}]"), action, &["Audit", "Deny", "Warn"]));
        }
    }
    if new.pointer("/spec/paramRef").is_some_and(|it| !it.is_null()) {
        errors.push(FieldError::invalid("spec.paramRef", &Value::Null, "this server doesn't support it"));
    }
    rules("spec.matchResources.resourceRules", list(new, "/spec/matchResources/resourceRules"), errors);
}

/// Rules that would match nothing are a mistake.
fn rules(field: &str, rules: &[Value], errors: &mut Vec<FieldError>) {
    for (at, rule) in rules.iter().enumerate() {
        for part in ["apiGroups", "apiVersions", "operations", "resources"] {
            if rule.get(part).and_then(Value::as_array).is_none_or(Vec::is_empty) {
                errors.push(FieldError::required(format_args!("{field}[{at}].{part}"), ""));
            }
        }
        for operation in rule.get("operations").and_then(Value::as_array).into_iter().flatten() {
            let known = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
            if !operation.as_str().is_some_and(|it| known.contains(&it)) {
                errors.push(unsupported(format!("{field}[{at}].operations"), operation, known));
            }
        }
    }
}

fn one_of(object: &Value, path: &str, field: &str, known: &[&str], errors: &mut Vec<FieldError>) {
    if let Some(value) = object.pointer(path)
        && !value.as_str().is_some_and(|it| known.contains(&it))
    {
        errors.push(unsupported(field.to_owned(), value, known));
    }
}
