use serde_json::{Value, json};

use super::super::Schema;
use super::{errors, object};

/// A schema whose `spec` has this rule and free fields.
fn ruled(rule: Value) -> Schema {
    let mut rule = rule;
    if rule.is_string() {
        rule = json!({"rule": rule, "message": "no"});
    }
    Schema::compile(&json!({"type": "object", "properties": {"spec": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-validations": [rule],
        "properties": {"when": {"type": "string", "format": "date-time"}, "ratio": {"type": "number"}, "namespace": {"type": "string"}},
    }}}))
    .unwrap()
}

/// (rule, spec, holds): all run on the native evaluator.
#[test]
fn native_rules() {
    let table: &[(&str, Value, bool)] = &[
        ("self.a == 1", json!({"a": 1}), true),
        ("self.a + 1 > 2 && self.a * 2 <= 4 && -self.a < 0", json!({"a": 2}), true),
        ("has(self.a) ? self.a : true", json!({}), true),
        ("has(self.a) || has(self.b)", json!({"c": 1}), false),
        ("!has(self.a)", json!({"a": null}), false),
        ("self.list.all(x, x > 0)", json!({"list": [1, 2]}), true),
        ("self.list.all(x, x > 1)", json!({"list": [1, 2]}), false),
        ("self.list.exists(x, x.name == 'b')", json!({"list": [{"name": "a"}, {"name": "b"}]}), true),
        ("self.list.exists_one(x, x == 1)", json!({"list": [1, 1]}), false),
        ("self.list.filter(x, x.t == 'A').size() <= 1", json!({"list": [{"t": "A"}, {"t": "B"}]}), true),
        ("self.list.map(x, x * 2) == [2, 4]", json!({"list": [1, 2]}), true),
        ("self.list.map(x, x > 1, x * 2) == [4]", json!({"list": [1, 2]}), true),
        ("self.list.all(a, self.list.exists_one(b, a == b))", json!({"list": [1, 2, 3]}), true),
        ("'x' in self.map && !('y' in self.map)", json!({"map": {"x": 1}}), true),
        ("self.map.all(k, self.map[k] > 0)", json!({"map": {"x": 1, "y": 2}}), true),
        ("self.a in ['A', 'B']", json!({"a": "C"}), false),
        (
            "self.a.matches('^[a-z]+$') && self.a.startsWith('ab') && self.a.endsWith('c') && self.a.contains('b')",
            json!({"a": "abc"}),
            true,
        ),
        ("size(self.a) == 2 && self.list[1] == 'y'", json!({"a": "ää", "list": ["x", "y"]}), true),
        (
            "self.__namespace__ == 'n' && self.a__dash__b == 1 && self.a__underscores__c == 2",
            json!({"namespace": "n", "a-b": 1, "a__c": 2}),
            true,
        ),
        ("duration(self.a) < duration('1m30s')", json!({"a": "89.5s"}), true),
        ("(has(self.l) ? self.l.size() : 0) + (self.m.size() > 0 ? self.m[0] : 0) <= 3", json!({"m": [3]}), true),
        ("self.missing == 1 || true", json!({}), true),
        ("false && self.missing == 1", json!({}), false),
        ("self.a == 'x' || self.a == 1.0", json!({"a": 1}), true),
        ("self.list.all(x, x.missing) || self.a == 1", json!({"list": [{}], "a": 1}), true),
        ("!isIP(self.a) && isIP('10.0.0.1') && isIP('::1')", json!({"a": "a.b"}), true),
        (
            "self.a.split('/')[0] == 'b' && self.a.substring(2) == 'ä' && self.a.substring(0, 1).upperAscii() == 'B'",
            json!({"a": "b/ä"}),
            true,
        ),
        ("self.a.substring(2, 1) == ''", json!({"a": "abc"}), false),
        ("string(self.a) + 'b' == '1b' && int('3') == 3", json!({"a": 1}), true),
    ];
    for (rule, value, holds) in table {
        let schema = ruled(json!(rule));
        let node = schema.node(schema.node(schema.root()).property("spec").unwrap());
        assert!(node.rules[0].is_native(), "{rule}");
        let found = errors(&schema, &object(value.clone()), None);
        assert_eq!(found.is_empty(), *holds, "{rule} {value} {found:?}");
    }
}

/// Rules that need the interpreter's libraries.
#[test]
fn foreign_rules() {
    let table: &[(&str, Value, bool)] = &[
        ("quantity(self.a).isGreaterThan(quantity('1Ki'))", json!({"a": "1Mi"}), true),
        ("isIP(self.a) && ip(self.a).family() == 4", json!({"a": "10.0.0.1"}), true),
        ("self.ratio / 2.0 == 2.5", json!({"ratio": 5}), true),
        ("isCIDR(self.a)", json!({"a": "nope"}), false),
        ("self.when < timestamp('2027-01-01T00:00:00Z')", json!({"when": "2026-01-01T00:00:00Z"}), true),
        ("self.a.split('/', 2).size() == 2", json!({"a": "b/c/d"}), true),
        ("self.__namespace__.charAt(0) == 'n'", json!({"namespace": "n"}), true),
        ("url(self.a).getScheme() == 'https'", json!({"a": "http://x"}), false),
    ];
    for (rule, value, holds) in table {
        let schema = ruled(json!(rule));
        let node = schema.node(schema.node(schema.root()).property("spec").unwrap());
        assert!(!node.rules[0].is_native(), "{rule}");
        let found = errors(&schema, &object(value.clone()), None);
        let expected: &[&str] = if *holds { &[] } else { &["spec: Invalid value: \"object\": no"] };
        assert_eq!(found, expected, "{rule} {value}");
    }
}

#[test]
fn messages_reasons_and_paths() {
    let check = |rule: Value, spec: Value| errors(&ruled(rule), &object(spec), None);
    let dynamic = json!({"rule": "self.a < 5", "messageExpression": "'a is ' + string(self.a)", "message": "static"});
    assert_eq!(check(dynamic, json!({"a": 7})), ["spec: Invalid value: \"object\": a is 7"]);
    let broken = json!({"rule": "self.a < 5", "messageExpression": "self.missing", "message": "static"});
    assert_eq!(check(broken, json!({"a": 7})), ["spec: Invalid value: \"object\": static"]);
    assert_eq!(
        check(json!({"rule": "self.a < 5"}), json!({"a": 7})),
        ["spec: Invalid value: \"object\": failed rule: self.a < 5"]
    );
    let placed = json!({"rule": "self.a < 5", "message": "m", "reason": "FieldValueForbidden", "fieldPath": ".a"});
    assert_eq!(check(placed, json!({"a": 7})), ["spec.a: Forbidden: m"]);
    let missing = json!({"rule": "self.b == 1", "message": "m"});
    assert_eq!(check(missing, json!({})), ["spec: Invalid value: \"object\": no such key: b evaluating rule: m"]);
}

#[test]
fn transition_rules_need_an_old_object() {
    let schema = ruled(json!("self.a == oldSelf.a"));
    let (one, two) = (object(json!({"a": 1})), object(json!({"a": 2})));
    assert!(errors(&schema, &two, None).is_empty());
    assert!(errors(&schema, &one, Some(&one)).is_empty());
    assert_eq!(errors(&schema, &two, Some(&one)).len(), 1);
    let optional = ruled(json!({"rule": "oldSelf == null || self.a == 1", "optionalOldSelf": true, "message": "no"}));
    assert!(errors(&optional, &two, None).is_empty());
    assert_eq!(errors(&optional, &two, Some(&one)).len(), 1);
}

#[test]
fn transition_rules_follow_list_items_by_key() {
    let schema = Schema::compile(&json!({"properties": {"spec": {"type": "object", "properties": {"list": {
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "properties": {"name": {"type": "string"}, "v": {"type": "integer"}},
                  "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v", "message": "only up"}]},
    }}}}}))
    .unwrap();
    let old = object(json!({"list": [{"name": "a", "v": 1}, {"name": "b", "v": 5}]}));
    let moved = object(json!({"list": [{"name": "b", "v": 5}, {"name": "c", "v": 0}, {"name": "a", "v": 0}]}));
    assert_eq!(errors(&schema, &moved, Some(&old)), ["spec.list[2]: Invalid value: \"object\": only up"]);
}

/// Rules of unchanged subtrees don't run: they held, or were let through, before.
#[test]
fn rules_of_unchanged_subtrees_do_not_run() {
    let schema = ruled(json!("self.a == 1"));
    let bad = object(json!({"a": 2}));
    assert_eq!(errors(&schema, &bad, None).len(), 1);
    let mut labelled = bad.clone();
    labelled["metadata"]["labels"] = json!({"x": "y"});
    assert!(errors(&schema, &labelled, Some(&bad)).is_empty());
}

/// A rule that multiplies lists ends in an error, not in a stuck server.
#[test]
fn the_work_of_rules_is_bounded() {
    let rule = "self.l.all(a, self.l.all(b, self.l.all(c, self.l.all(d, a + b + c + d >= 0))))";
    let items: Vec<u32> = (0..400).collect();
    let found = errors(&ruled(json!({"rule": rule, "message": "m"})), &object(json!({"l": items})), None);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("budget"), "{found:?}");
}

/// (kind, schema) of the Gateway API's CRDs, in version v1 where there are several.
fn gateway_api() -> Vec<(String, Schema)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../foregate-api/crds/gateway-api");
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let crd: Value = serde_saphyr::from_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let name =
                format!("{}/{}", crd["spec"]["names"]["kind"].as_str().unwrap(), version["name"].as_str().unwrap());
            out.push((name, Schema::compile(&version["schema"]["openAPIV3Schema"]).unwrap()));
        }
    }
    out
}

/// The rules that every route change runs are the fast ones.
#[test]
fn the_gateway_apis_rules_run_natively() {
    let schemas = gateway_api();
    let rules: Vec<_> =
        schemas.iter().flat_map(|(_, schema)| schema.nodes.iter().flat_map(|node| &node.rules)).collect();
    assert!(rules.len() > 200, "{}", rules.len());
    // Named formats are the interpreter's; what has them is written seldom.
    let foreign: Vec<_> = rules.iter().filter(|rule| !rule.is_native()).collect();
    let others = foreign.iter().filter(|rule| !format!("{rule:?}").contains("format."));
    assert_eq!(others.count(), 0, "{foreign:?}");
    let routes = schemas.iter().filter(|(name, _)| name.contains("Route/"));
    let mut routes = routes.flat_map(|(_, schema)| schema.nodes.iter().flat_map(|node| &node.rules));
    assert!(routes.all(|rule| rule.is_native()), "{foreign:?}");
}

/// Our evaluator and the crate's agree on every good and bad example.
#[test]
fn both_evaluators_agree() {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gateway-api");
    let mut objects = Vec::new();
    for folder in ["valid", "invalid"] {
        for entry in std::fs::read_dir(format!("{data}/{folder}")).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            objects.extend(text.split("\n---").filter_map(|part| serde_saphyr::from_str::<Value>(part).ok()));
        }
    }
    let mut compared = 0;
    for (name, mut schema) in gateway_api() {
        let of_kind = |object: &&Value| {
            let version = object["apiVersion"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
            format!("{}/{version}", object["kind"].as_str().unwrap_or_default()) == name
        };
        let prepared: Vec<Value> = objects
            .iter()
            .filter(of_kind)
            .cloned()
            .map(|mut object| {
                schema.apply_defaults(&mut object);
                object
            })
            .collect();
        let native: Vec<_> = prepared.iter().map(|object| errors(&schema, object, None)).collect();
        for node in &mut schema.nodes {
            for rule in &mut node.rules {
                let (kind, foreign) = (rule.kind, rule.to_foreign());
                *rule = foreign;
                rule.kind = kind;
            }
        }
        let foreign: Vec<_> = prepared.iter().map(|object| errors(&schema, object, None)).collect();
        assert_eq!(native, foreign);
        compared += prepared.len();
    }
    assert!(compared > 40, "{compared}");
}
