use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::fields::Set;
use super::super::managed;
use super::super::typed::{Typed, compare, fields};
use super::{object, schema, writer};

/// Specs of the test kind, with items of lists unique in their keys.
fn specs() -> impl Strategy<Value = Value> {
    let word = "[a-c]";
    let listener = (word, prop::option::of(1..3u8), prop::option::of(word)).prop_map(|(name, port, mode)| {
        let mut item = json!({"name": name});
        if let Some(port) = port {
            item["port"] = port.into();
        }
        if let Some(mode) = mode {
            item["tls"] = json!({"mode": mode});
        }
        item
    });
    let unique = |mut items: Vec<Value>, key: fn(&Value) -> String| {
        let mut seen = std::collections::HashSet::new();
        items.retain(|item| seen.insert(key(item)));
        Value::Array(items)
    };
    let field = prop_oneof![
        (1..3u8).prop_map(|n| ("replicas", json!(n))),
        word.prop_map(|w| ("class", json!(w))),
        prop::collection::vec(listener, 0..4)
            .prop_map(move |l| ("listeners", unique(l, |item| item["name"].to_string()))),
        prop::collection::vec(word.prop_map(Value::from), 0..4)
            .prop_map(move |l| ("hosts", unique(l, ToString::to_string))),
        prop::collection::vec((0..3u8).prop_map(|n| json!({"x": n})), 0..3).prop_map(|l| ("rules", Value::Array(l))),
        prop::collection::btree_map(word, word, 0..3).prop_map(|m| ("selector", json!(m))),
        prop::collection::btree_map(word, word, 0..3).prop_map(|m| ("whole", json!(m))),
        prop::collection::btree_map("[ab]", word, 0..3).prop_map(|m| ("nested", json!(m))),
        prop::collection::btree_map(word, prop::collection::btree_map(word, 0..3u8, 0..3), 0..3)
            .prop_map(|m| ("free", json!(m))),
    ];
    prop::collection::vec(field, 0..6).prop_map(|fields| {
        let map: Map<String, Value> = fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        Value::Object(map)
    })
}

fn force(manager: &str, live: Option<&Value>, spec: &Value) -> Value {
    managed::apply(&writer(&schema(), manager), live, &object(spec.clone()), true).unwrap()
}

fn owned(object: &Value, manager: &str) -> Set {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let own = entries.iter().filter(|entry| entry["manager"] == manager);
    own.fold(Set::default(), |set, entry| set.union(&Set::from_fields_v1(&entry["fieldsV1"])))
}

fn spec_fields(spec: &Value) -> Set {
    let schema = schema();
    fields(Typed::root(&schema), &json!({"spec": spec})).unwrap()
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(a in specs(), b in specs()) {
        let live = force("one", None, &a);
        prop_assert_eq!(&force("one", Some(&live), &a), &live);
        let both = force("two", Some(&live), &b);
        prop_assert_eq!(&force("two", Some(&both), &b), &both);
    }

    /// The manager owns all that it applied, and the object holds all of it.
    #[test]
    fn what_is_applied_is_owned_and_there(a in specs(), b in specs(), c in specs()) {
        let live = force("one", None, &a);
        let live = force("two", Some(&live), &b);
        let new = force("one", Some(&live), &c);
        prop_assert!(spec_fields(&c).difference(&owned(&new, "one")).is_empty());
        let schema = schema();
        let again = managed::apply(&writer(&schema, "third"), Some(&new), &object(c.clone()), false);
        prop_assert!(again.is_ok(), "what was just applied conflicts with itself: {again:?}");
    }

    /// Nothing that another manager owns goes away when one gives everything up.
    #[test]
    fn giving_up_leaves_the_others_alone(a in specs(), b in specs()) {
        let live = force("one", None, &a);
        let both = force("two", Some(&live), &b);
        let left = force("one", Some(&both), &json!({}));
        let schema = schema();
        let lost = compare(Typed::root(&schema), &both, &left).removed;
        prop_assert!(lost.intersection(&owned(&both, "two")).is_empty(), "lost {:?}", lost.paths());
        prop_assert_eq!(owned(&left, "two"), owned(&both, "two"));
    }

    /// Removing and adding again leads back.
    #[test]
    fn removing_and_adding_again_leads_back(a in specs(), b in specs()) {
        let first = force("one", None, &a);
        let second = force("one", Some(&first), &b);
        let third = force("one", Some(&second), &a);
        prop_assert_eq!(owned(&third, "one"), owned(&first, "one"));
        let sorted = |value: &Value| spec_fields(&value["spec"]).paths();
        prop_assert_eq!(sorted(&third), sorted(&first));
    }

    /// Managers of disjoint fields may come in any order.
    #[test]
    fn disjoint_managers_commute(a in specs(), b in specs()) {
        let names = |spec: &Value| spec.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let mut b = b;
        let taken = names(&a);
        b.as_object_mut().unwrap().retain(|name, _| !taken.contains(name));
        let schema = schema();
        let apply = |manager: &str, live: Option<&Value>, spec: &Value| {
            managed::apply(&writer(&schema, manager), live, &object(spec.clone()), false).unwrap()
        };
        let one_two = apply("two", Some(&apply("one", None, &a)), &b);
        let two_one = apply("one", Some(&apply("two", None, &b)), &a);
        prop_assert_eq!(one_two, two_one);
    }

    /// Every field of an updated object belongs to someone, and what changed to its writer alone.
    #[test]
    fn updates_leave_no_field_without_an_owner(a in specs(), b in specs()) {
        let schema = schema();
        let mut live = object(a);
        managed::update(&writer(&schema, "one"), None, &mut live);
        let mut new = live.clone();
        new["spec"] = b.clone();
        managed::update(&writer(&schema, "two"), Some(&live), &mut new);
        let all = owned(&new, "one").union(&owned(&new, "two"));
        prop_assert!(spec_fields(&b).difference(&all).is_empty(), "{:?}", spec_fields(&b).difference(&all).paths());
        prop_assert!(owned(&new, "one").intersection(&owned(&new, "two")).is_empty());
    }
}
