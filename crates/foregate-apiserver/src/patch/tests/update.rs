use serde_json::{Value, json};

use super::super::managed::{self, Writer};
use super::{apply, object, owners, schema, writer};

fn update(manager: &str, live: Option<&Value>, new: &Value) -> Value {
    let schema = schema();
    let mut new = new.clone();
    managed::update(&writer(&schema, manager), live, &mut new);
    new
}

#[test]
fn a_create_owns_everything_but_identity() {
    let mut new = object(json!({"replicas": 1, "selector": {"a": "1"}, "listeners": [{"name": "x", "port": 1}]}));
    new["metadata"]["labels"] = json!({"l": "1"});
    new["metadata"]["uid"] = "u".into();
    new["status"] = json!({"phase": "x"});
    let live = update("kubectl-create", None, &new);
    assert_eq!(
        owners(&live),
        json!({"kubectl-create": {
            "f:metadata": {"f:labels": {".": {}, "f:l": {}}},
            "f:spec": {
                ".": {}, "f:replicas": {}, "f:selector": {".": {}, "f:a": {}},
                "f:listeners": {".": {}, "k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:port": {}}},
            },
        }})
    );
    assert_eq!(live["metadata"]["managedFields"][0]["operation"], "Update");
}

#[test]
fn what_changes_moves_to_its_writer() {
    let schema = schema();
    let live = apply(&schema, "one", None, json!({"replicas": 1, "class": "c", "hosts": ["a"]})).unwrap();
    let mut new = live.clone();
    new["spec"] = json!({"replicas": 2, "class": "c", "hosts": ["a", "b"], "nested": {"a": "1"}});
    let new = update("edit", Some(&live), &new);
    assert_eq!(
        owners(&new),
        json!({
            "one": {"f:spec": {"f:class": {}, "f:hosts": {"v:\"a\"": {}}}},
            "edit": {"f:spec": {"f:replicas": {}, "f:hosts": {"v:\"b\"": {}}, "f:nested": {".": {}, "f:a": {}}}},
        })
    );
    let mut gone = new.clone();
    gone["spec"] = json!({"replicas": 2, "hosts": ["b"]});
    let gone = update("other", Some(&new), &gone);
    assert_eq!(owners(&gone), json!({"edit": {"f:spec": {"f:replicas": {}, "f:hosts": {"v:\"b\"": {}}}}}));
}

#[test]
fn writing_the_same_changes_nothing() {
    let schema = schema();
    let live = apply(&schema, "one", None, json!({"replicas": 1, "listeners": [{"name": "a"}]})).unwrap();
    assert_eq!(update("edit", Some(&live), &live), live);
    // Clients that know nothing of managedFields don't lose them.
    let mut bare = live.clone();
    bare["metadata"].as_object_mut().unwrap().remove("managedFields");
    assert_eq!(update("edit", Some(&live), &bare), live);
}

/// Clients may hand ownership over, as kubectl does on its way to server-side apply.
#[test]
fn sent_managed_fields_are_taken() {
    let live = update("old", None, &object(json!({"replicas": 1})));
    let mut new = live.clone();
    new["metadata"]["managedFields"][0]["manager"] = "new".into();
    let new = update("edit", Some(&live), &new);
    assert_eq!(owners(&new), json!({"new": {"f:spec": {".": {}, "f:replicas": {}}}}));
    let mut reset = live.clone();
    reset["metadata"]["managedFields"] = json!([{}]);
    assert_eq!(update("edit", Some(&live), &reset)["metadata"].get("managedFields"), None);
}

#[test]
fn old_updaters_are_summed_up() {
    let schema = schema();
    let mut live = object(json!({"selector": {}}));
    for index in 0..15 {
        let mut new = live.clone();
        new["spec"]["selector"][format!("k{index:02}")] = "v".into();
        let (manager, now) = (format!("m{index:02}"), format!("2026-01-01T00:00:{index:02}Z"));
        managed::update(&Writer { manager: &manager, now: &now, ..writer(&schema, "") }, Some(&live), &mut new);
        live = new;
    }
    let owners = owners(&live);
    assert_eq!(owners.as_object().unwrap().len(), 10);
    assert!(owners["m14"]["f:spec"]["f:selector"]["f:k14"].is_object());
    assert!(owners["ancient-changes"]["f:spec"]["f:selector"]["f:k00"].is_object());
}

#[test]
fn managers_of_writes() {
    assert_eq!(managed::manager(Some("me"), "kubectl/1.37"), "me");
    assert_eq!(managed::manager(Some(""), "kubectl/v1.37.1 (linux/amd64)"), "kubectl");
    assert_eq!(managed::manager(None, ""), "unknown");
    assert!(managed::manager_fault("ok").is_none());
    assert!(managed::manager_fault("a\nb").is_some());
    assert!(managed::manager_fault(&"x".repeat(129)).is_some());
}
