//! Label selectors.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Whether labels match. An empty selector matches all; an operator that isn't known matches nothing.
pub(crate) fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
        && selector.match_expressions.iter().flatten().all(|requirement| holds(requirement, labels))
}

fn holds(requirement: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let listed = |value: &String| requirement.values.iter().flatten().any(|v| v == value);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators() {
        let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        for (operator, key, values, expected) in [
            ("In", "team", &["a", "b"][..], true),
            ("In", "team", &["b"], false),
            ("In", "other", &["a"], false),
            ("NotIn", "team", &["b"], true),
            ("NotIn", "team", &["a"], false),
            ("NotIn", "other", &["a"], true),
            ("Exists", "team", &[], true),
            ("Exists", "other", &[], false),
            ("DoesNotExist", "other", &[], true),
            ("DoesNotExist", "team", &[], false),
            ("Newer", "team", &["a"], false),
        ] {
            let selector = LabelSelector {
                match_labels: None,
                match_expressions: Some(vec![LabelSelectorRequirement {
                    key: key.to_owned(),
                    operator: operator.to_owned(),
                    values: Some(values.iter().map(|&v| v.to_owned()).collect()),
                }]),
            };
            assert_eq!(matches(&selector, &labels), expected, "{key} {operator} {values:?}");
        }
        assert!(matches(&LabelSelector::default(), &labels));
    }
}
