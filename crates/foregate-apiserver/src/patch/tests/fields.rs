use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::fields::Set;

#[test]
fn fields_v1_and_paths() {
    let fields = json!({
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
        "f:spec": {
            "f:listeners": {"k:{\"name\":\"a\",\"port\":80}": {".": {}, "f:port": {}}},
            "f:hosts": {"v:\"x\"": {}},
            "f:l": {"i:3": {}},
        },
    });
    let set = Set::from_fields_v1(&fields);
    assert_eq!(set.to_fields_v1(), fields);
    assert_eq!(
        set.paths(),
        [
            ".metadata.labels",
            ".metadata.labels.app",
            ".spec.hosts[=\"x\"]",
            ".spec.l[3]",
            ".spec.listeners[name=\"a\",port=80]",
            ".spec.listeners[name=\"a\",port=80].port",
        ]
    );
}

/// What others wrote is never trusted to be well formed.
#[test]
fn broken_fields_v1_is_left_out() {
    for (fields, paths) in [
        (json!(null), vec![]),
        (json!({"": {}, "x": {}, "q:y": {}, "i:z": {}, "ä": {}}), vec![]),
        (json!({"f:a": 1, "f:b": {".": 1}}), vec![".a", ".b"]),
    ] {
        assert_eq!(Set::from_fields_v1(&fields).paths(), paths, "{fields}");
    }
}

fn fields() -> impl Strategy<Value = Value> {
    let step = prop_oneof!["f:[a-d]", "k:\\{\"n\":[0-3]\\}", "v:[0-3]", "i:[0-3]"];
    Just(json!({})).prop_recursive(4, 40, 4, move |inner| {
        (prop::collection::btree_map(step.clone(), inner, 1..4), any::<bool>()).prop_map(|(map, member)| {
            let mut map: serde_json::Map<String, Value> = map.into_iter().collect();
            if member {
                map.insert(".".into(), json!({}));
            }
            Value::Object(map)
        })
    })
}

fn has(paths: &[String], path: &String) -> bool {
    paths.binary_search(path).is_ok()
}

fn sorted(set: &Set) -> Vec<String> {
    let mut paths = set.paths();
    paths.sort();
    paths
}

proptest! {
    #[test]
    fn sets_behave_as_sets_of_paths(a in fields(), b in fields()) {
        let (a, b) = (Set::from_fields_v1(&a), Set::from_fields_v1(&b));
        let (pa, pb) = (sorted(&a), sorted(&b));
        for path in sorted(&a.union(&b)) {
            prop_assert!(has(&pa, &path) || has(&pb, &path));
        }
        prop_assert_eq!(sorted(&a.union(&b)).len(), pa.iter().chain(pb.iter().filter(|path| !has(&pa, path))).count());
        let difference: Vec<String> = pa.iter().filter(|path| !has(&pb, path)).cloned().collect();
        prop_assert_eq!(sorted(&a.difference(&b)), difference);
        let intersection: Vec<String> = pa.iter().filter(|path| has(&pb, path)).cloned().collect();
        prop_assert_eq!(sorted(&a.intersection(&b)), intersection);
        prop_assert!(a.difference(&a).is_empty());
        prop_assert_eq!(&Set::from_fields_v1(&a.to_fields_v1()), &a);
    }
}
