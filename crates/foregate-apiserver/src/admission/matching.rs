//! Which writes a policy or a binding is about (`MatchResources`).

use serde_json::Value;

use super::policy::Scene;
use super::{Operation, Write};
use crate::rest::selector::Labels;
use crate::store::Meta;

/// What rules look at.
pub(super) struct Place<'a> {
    operation: Operation,
    group: &'a str,
    version: &'a str,
    resource: &'a str,
    subresource: &'a str,
    namespaced: bool,
    name: &'a str,
}

impl<'a> Place<'a> {
    /// Of a write.
    pub fn of(write: &Write<'a>) -> Self {
        let kind = &write.op.kind;
        Self {
            operation: write.operation,
            group: &kind.group,
            version: &kind.version,
            resource: &kind.plural,
            subresource: write.op.target.subresource.as_deref().unwrap_or_default(),
            namespaced: kind.namespaced,
            name: write.name,
        }
    }
}

/// `MatchResources`, read once.
#[derive(Debug, Default)]
pub(super) struct Matching {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    /// Rules for one version are meant for the others, too.
    equivalent: bool,
    namespaces: Labels,
    objects: Labels,
}

/// `NamedRuleWithOperations`
#[derive(Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    scope: String,
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

impl Matching {
    /// Reads one.
    pub fn of(value: &Value) -> Self {
        let rules = |list: &Value| list.as_array().into_iter().flatten().map(Rule::of).collect();
        Self {
            rules: rules(&value["resourceRules"]),
            excluded: rules(&value["excludeResourceRules"]),
            equivalent: value["matchPolicy"] != "Exact",
            namespaces: Labels::of(&value["namespaceSelector"]),
            objects: Labels::of(&value["objectSelector"]),
        }
    }

    /// Whether it has no rules: in a binding, those of the policy count alone.
    pub fn is_unbounded(&self) -> bool {
        self.rules.is_empty() && self.excluded.is_empty()
    }

    /// Whether it asks for labels of the namespace.
    pub fn needs_namespace(&self) -> bool {
        !self.namespaces.is_empty()
    }

    /// Whether the rules take a write. Selectors aren't asked.
    pub fn rules_take(&self, place: &Place<'_>) -> bool {
        let takes = |rule: &Rule| rule.takes(place, self.equivalent);
        (self.rules.is_empty() && !self.excluded.is_empty() || self.rules.iter().any(takes))
            && !self.excluded.iter().any(takes)
    }

    /// Whether the selectors take a write.
    pub fn selectors_take(&self, scene: &Scene<'_>) -> bool {
        let by_object = self.objects.is_empty()
            || [scene.write.object, scene.write.old]
                .into_iter()
                .flatten()
                .any(|object| self.objects.matches(&Meta::of(object).labels));
        // A namespace that isn't there any more has no labels to be left out by.
        let by_namespace = self.namespaces.is_empty()
            || scene.namespace.is_none_or(|namespace| self.namespaces.matches(&Meta::of(namespace).labels));
        by_object && by_namespace
    }
}

impl Rule {
    fn of(value: &Value) -> Self {
        Self {
            operations: texts(&value["operations"]),
            groups: texts(&value["apiGroups"]),
            versions: texts(&value["apiVersions"]),
            resources: texts(&value["resources"]),
            names: texts(&value["resourceNames"]),
            scope: value["scope"].as_str().unwrap_or("*").to_owned(),
        }
    }

    fn takes(&self, place: &Place<'_>, equivalent: bool) -> bool {
        let has = |list: &[String], what: &str| list.iter().any(|it| it == "*" || it == what);
        has(&self.groups, place.group)
            && self.resources.iter().any(|pattern| is_meant(pattern, place.resource, place.subresource))
            && has(&self.operations, place.operation.as_str())
            && (equivalent || has(&self.versions, place.version))
            && (self.names.is_empty() || self.names.iter().any(|it| it == place.name))
            && match self.scope.as_str() {
                "Cluster" => !place.namespaced,
                "Namespaced" => place.namespaced,
                _ => true,
            }
    }
}

/// `pods`, `pods/status`, `pods/*`, `*/status`, `*`, `*/*`.
fn is_meant(pattern: &str, resource: &str, subresource: &str) -> bool {
    let fits = |pattern: &str, what: &str| pattern == "*" || pattern == what;
    match pattern.split_once('/') {
        None => subresource.is_empty() && fits(pattern, resource),
        Some((main, sub)) => fits(main, resource) && fits(sub, subresource),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_name_resources_and_their_parts() {
        for (pattern, resource, subresource, expected) in [
            ("things", "things", "", true),
            ("things", "things", "status", false),
            ("things/status", "things", "status", true),
            ("things/*", "things", "status", true),
            ("*/status", "others", "status", true),
            ("*", "others", "", true),
            ("*", "others", "status", false),
            ("*/*", "others", "", true),
            ("others", "things", "", false),
        ] {
            assert_eq!(is_meant(pattern, resource, subresource), expected, "{pattern} {resource}/{subresource}");
        }
    }

    #[test]
    fn rules_take_what_they_say() {
        let matching = Matching::of(&json!({
            "resourceRules": [{"apiGroups": ["x.dev"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                "resources": ["things"]}],
            "excludeResourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"],
                "resources": ["*"], "resourceNames": ["free"]}],
        }));
        let place = Place {
            operation: Operation::Create,
            group: "x.dev",
            version: "v1",
            resource: "things",
            subresource: "",
            namespaced: true,
            name: "a",
        };
        assert!(matching.rules_take(&place));
        assert!(matching.rules_take(&Place { version: "v2", ..place }), "equivalent");
        assert!(!Matching { equivalent: false, ..matching }.rules_take(&Place { version: "v2", ..place }));
    }

    impl Clone for Place<'_> {
        fn clone(&self) -> Self {
            *self
        }
    }
    impl Copy for Place<'_> {}

    #[test]
    fn what_is_left_out_is_free() {
        let rule = |operations: Value, scope: &str| {
            Matching::of(&json!({"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"],
                "operations": operations, "resources": ["things"], "scope": scope}]}))
        };
        let place = Place {
            operation: Operation::Delete,
            group: "x.dev",
            version: "v1",
            resource: "things",
            subresource: "",
            namespaced: true,
            name: "a",
        };
        for (operations, scope, expected) in [
            (json!(["*"]), "*", true),
            (json!(["DELETE"]), "Namespaced", true),
            (json!(["DELETE"]), "Cluster", false),
            (json!(["CREATE", "UPDATE"]), "*", false),
        ] {
            assert_eq!(rule(operations.clone(), scope).rules_take(&place), expected, "{operations} {scope}");
        }
        assert!(Matching::default().is_unbounded() && !Matching::default().rules_take(&place));
    }
}
