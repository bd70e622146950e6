//! Roles and their bindings.

use serde_json::Value;

use super::unsupported;
use crate::schema::FieldError;

/// A RoleBinding or ClusterRoleBinding.
pub(super) fn binding(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let role = new.get("roleRef").unwrap_or(&Value::Null);
    let kind = role.get("kind").and_then(Value::as_str).unwrap_or_default();
    if !matches!(kind, "Role" | "ClusterRole") {
        errors.push(unsupported("roleRef.kind".into(), &kind.into(), &["ClusterRole", "Role"]));
    }
    if role.get("name").and_then(Value::as_str).unwrap_or_default().is_empty() {
        errors.push(FieldError::required("roleRef.name", ""));
    }
    if old.is_some_and(|old| old.get("roleRef") != new.get("roleRef")) {
        errors.push(FieldError::invalid("roleRef", role, "cannot change roleRef"));
    }
    let subjects = new.get("subjects").and_then(Value::as_array);
    for (index, subject) in subjects.into_iter().flatten().enumerate() {
        let kind = subject.get("kind").and_then(Value::as_str).unwrap_or_default();
        if !matches!(kind, "User" | "Group" | "ServiceAccount") {
            let supported = &["Group", "ServiceAccount", "User"];
            errors.push(unsupported(format!("subjects[{index}].kind"), &kind.into(), supported));
        }
        if kind == "ServiceAccount"
            && subject.get("namespace").is_none()
            && new.pointer("/metadata/namespace").is_none()
        {
            errors.push(FieldError::required(format_args!("subjects[{index}].namespace"), ""));
        }
    }
}

/// The rules of a Role or ClusterRole.
pub(super) fn rules(new: &Value, errors: &mut Vec<FieldError>) {
    let filled =
        |rule: &Value, field: &str| rule.get(field).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    for (index, rule) in new.get("rules").and_then(Value::as_array).into_iter().flatten().enumerate() {
        if !filled(rule, "verbs") {
            errors.push(FieldError::required(
                format_args!("rules[{index}].verbs"),
                "verbs must contain at least one value",
            ));
        }
        if !filled(rule, "nonResourceURLs") && !filled(rule, "resources") {
            let detail = "resource rules must supply at least one resource";
            errors.push(FieldError::required(format_args!("rules[{index}].resources"), detail));
        }
    }
}
