//! Roles and their bindings (rbac.authorization.k8s.io).

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Attributes, Caller};
use crate::follow::Follow;
use crate::store::Key;

#[derive(Clone, Debug, Default)]
struct Rule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    paths: Vec<String>,
}

#[derive(Clone, Debug)]
enum Subject {
    User(String),
    Group(String),
}

#[derive(Clone, Debug)]
struct Binding {
    /// Empty: everywhere.
    namespace: String,
    cluster_role: bool,
    role: String,
    subjects: Vec<Subject>,
}

#[derive(Clone, Debug, Default)]
struct Tables {
    /// (namespace, name) → rules; the namespace of a ClusterRole is empty.
    roles: HashMap<(String, String), Vec<Rule>>,
    /// (namespace, name) → binding.
    bindings: HashMap<(String, String), Binding>,
}

/// What all roles and bindings together grant.
#[derive(Default)]
pub(crate) struct Policy {
    tables: ArcSwap<Tables>,
    change: Mutex<()>,
}

impl Follow for Policy {
    fn set(&self, key: &Key, object: Option<&Value>) {
        let _guard = self.change.lock();
        let mut tables = Tables::clone(&self.tables.load());
        let id = (key.namespace.to_string(), key.name.to_string());
        let resource = key.resource.rsplit('/').next().unwrap_or_default();
        if resource.ends_with("bindings") {
            match object.and_then(|o| binding(o, &key.namespace)) {
                Some(binding) => drop(tables.bindings.insert(id, binding)),
                None => drop(tables.bindings.remove(&id)),
            }
        } else {
            match object {
                Some(object) => drop(tables.roles.insert(id, rules(object))),
                None => drop(tables.roles.remove(&id)),
            }
        }
        self.tables.store(Arc::new(tables));
    }
}

impl Policy {
    /// Whether a role of `caller` grants `wish`.
    pub fn allows(&self, caller: &Caller, wish: &Attributes) -> bool {
        let tables = self.tables.load();
        tables
            .of(caller)
            .filter(|b| b.namespace.is_empty() || b.namespace == wish.namespace)
            .any(|b| tables.rules(b).iter().any(|rule| rule.grants(wish)))
    }

    /// What `caller` may do in a namespace, as `SubjectRulesReviewStatus` lists it.
    pub fn rules_of(&self, caller: &Caller, namespace: &str) -> Value {
        let tables = self.tables.load();
        let bound = tables.of(caller).filter(|b| b.namespace.is_empty() || b.namespace == namespace);
        let (mut resources, mut paths) = (Vec::new(), Vec::new());
        for rule in bound.flat_map(|b| tables.rules(b)) {
            if !rule.resources.is_empty() {
                resources.push(json!({"verbs": rule.verbs, "apiGroups": rule.groups, "resources": rule.resources,
                    "resourceNames": rule.names}));
            }
            if !rule.paths.is_empty() {
                paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.paths}));
            }
        }
        json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
    }

    /// Whether a ClusterRole of `caller` grants a path.
    pub fn allows_path(&self, caller: &Caller, verb: &str, path: &str) -> bool {
        let tables = self.tables.load();
        tables.of(caller).filter(|b| b.namespace.is_empty()).any(|b| {
            tables.rules(b).iter().any(|rule| has(&rule.verbs, verb) && rule.paths.iter().any(|p| covers(p, path)))
        })
    }
}

impl Tables {
    fn of<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = &'a Binding> {
        self.bindings.values().filter(|b| {
            b.subjects.iter().any(|s| match s {
                Subject::User(name) => *name == caller.user,
                Subject::Group(name) => caller.groups.contains(name),
            })
        })
    }

    fn rules(&self, binding: &Binding) -> &[Rule] {
        let namespace = if binding.cluster_role { String::new() } else { binding.namespace.clone() };
        self.roles.get(&(namespace, binding.role.clone())).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Rule {
    fn grants(&self, wish: &Attributes) -> bool {
        let any_sub = wish.resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
        has(&self.verbs, &wish.verb)
            && has(&self.groups, &wish.group)
            && (has(&self.resources, &wish.resource) || any_sub.is_some_and(|s| self.resources.contains(&s)))
            && (self.names.is_empty() || self.names.contains(&wish.name))
    }
}

fn has(list: &[String], what: &str) -> bool {
    list.iter().any(|l| l == "*" || l == what)
}

fn covers(pattern: &str, path: &str) -> bool {
    pattern == path || pattern.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn rules(role: &Value) -> Vec<Rule> {
    let rule = |r: &Value| Rule {
        verbs: texts(&r["verbs"]),
        groups: texts(&r["apiGroups"]),
        resources: texts(&r["resources"]),
        names: texts(&r["resourceNames"]),
        paths: texts(&r["nonResourceURLs"]),
    };
    role["rules"].as_array().into_iter().flatten().map(rule).collect()
}

fn binding(object: &Value, namespace: &str) -> Option<Binding> {
    let subject = |s: &Value| {
        let name = s["name"].as_str()?.to_owned();
        match s["kind"].as_str()? {
            "User" => Some(Subject::User(name)),
            "Group" => Some(Subject::Group(name)),
            "ServiceAccount" => {
                let namespace = s["namespace"].as_str().unwrap_or(namespace);
                Some(Subject::User(format!("system:serviceaccount:{namespace}:{name}")))
            }
            _ => None,
        }
    };
    Some(Binding {
        namespace: namespace.to_owned(),
        cluster_role: object["roleRef"]["kind"] == "ClusterRole",
        role: object["roleRef"]["name"].as_str()?.to_owned(),
        subjects: object["subjects"].as_array().into_iter().flatten().filter_map(subject).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = "rbac.authorization.k8s.io";

    fn policy(objects: &[(&str, &str, &str, Value)]) -> Policy {
        let policy = Policy::default();
        for (resource, namespace, name, object) in objects {
            let resource: Arc<str> = format!("{GROUP}/{resource}").into();
            policy.set(&Key::new(&resource, namespace, name), Some(object));
        }
        policy
    }

    fn wish(verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
        Attributes {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    #[test]
    fn roles_grant_what_they_say_where_they_are_bound() {
        let policy = policy(&[
            (
                "clusterroles",
                "",
                "edit",
                json!({"rules": [
                {"verbs": ["get", "list"], "apiGroups": ["x.dev"], "resources": ["things", "*/status"]},
                {"verbs": ["get"], "nonResourceURLs": ["/metrics", "/debug/*"]}]}),
            ),
            (
                "rolebindings",
                "a",
                "b",
                json!({"roleRef": {"kind": "ClusterRole", "name": "edit"},
                "subjects": [{"kind": "User", "name": "ann"}]}),
            ),
            (
                "clusterrolebindings",
                "",
                "all",
                json!({"roleRef": {"kind": "ClusterRole", "name": "edit"},
                "subjects": [{"kind": "Group", "name": "ops"}]}),
            ),
            (
                "roles",
                "a",
                "one",
                json!({"rules": [
                {"verbs": ["*"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["s"]}]}),
            ),
            (
                "rolebindings",
                "a",
                "c",
                json!({"roleRef": {"kind": "Role", "name": "one"},
                "subjects": [{"kind": "ServiceAccount", "name": "bot"}]}),
            ),
        ]);
        let ann = Caller::new("ann", vec![]);
        let ops = Caller::new("bob", vec!["ops".into()]);
        let bot = Caller::new("system:serviceaccount:a:bot", vec![]);
        let cases = [
            (&ann, wish("get", "x.dev", "things", "a", "n"), true),
            (&ann, wish("get", "x.dev", "things", "b", "n"), false),
            (&ann, wish("get", "x.dev", "things/status", "a", "n"), true),
            (&ann, wish("get", "x.dev", "things/scale", "a", "n"), false),
            (&ann, wish("delete", "x.dev", "things", "a", "n"), false),
            (&ops, wish("list", "x.dev", "things", "", ""), true),
            (&ops, wish("list", "", "things", "", ""), false),
            (&bot, wish("patch", "", "secrets", "a", "s"), true),
            (&bot, wish("patch", "", "secrets", "a", "t"), false),
            (&bot, wish("list", "", "secrets", "a", ""), false),
        ];
        for (caller, wish, expected) in cases {
            assert_eq!(policy.allows(caller, &wish), expected, "{} {wish:?}", caller.user);
        }
        assert!(policy.allows_path(&ops, "get", "/debug/x"));
        assert!(!policy.allows_path(&ann, "get", "/metrics"));
    }
}
