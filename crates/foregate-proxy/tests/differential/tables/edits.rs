//! Header edits, weights, mirrors.

use serde_json::Value;

use crate::case::{Case, ask, get};
use crate::objects::route;

pub fn routes() -> Vec<Value> {
    vec![
        route(
            "edits",
            &["edit.test"],
            r#"
- { matches: [{ path: { type: PathPrefix, value: /set } }], filters: [{ requestHeaders: { set: [{ name: x-set, value: new }] } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /add } }], filters: [{ requestHeaders: { add: [{ name: x-add, value: new }] } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /remove } }], filters: [{ requestHeaders: { remove: [x-remove] } }], backends: [{ backend: a, weight: 1 }] }
- matches: [{ path: { type: PathPrefix, value: /all } }]
  filters:
  - { requestHeaders: { set: [{ name: x-one, value: set }], add: [{ name: x-two, value: added }, { name: X-Three, value: "a,b" }], remove: [x-four, X-Five] } }
  backends: [{ backend: b, weight: 1 }]
- matches: [{ path: { type: PathPrefix, value: /response } }]
  filters:
  - { responseHeaders: { set: [{ name: x-one, value: set }], add: [{ name: x-two, value: added }], remove: [x-three, x-backend] } }
  backends: [{ backend: b, weight: 1 }]
- matches: [{ path: { type: PathPrefix, value: /host } }]
  filters: [{ requestHeaders: { set: [{ name: host, value: set.test }] } }]
  backends: [{ backend: c, weight: 1 }]
- matches: [{ path: { type: PathPrefix, value: /known } }]
  filters: [{ requestHeaders: { set: [{ name: user-agent, value: set }, { name: accept, value: none }], remove: [cookie, referer] } }]
  backends: [{ backend: c, weight: 1 }]
- matches: [{ path: { type: PathPrefix, value: /per-backend } }]
  filters: [{ requestHeaders: { add: [{ name: x-who, value: rule }] } }]
  backends: [{ backend: a, weight: 1, filters: [{ requestHeaders: { add: [{ name: x-who, value: backend }] } }, { responseHeaders: { set: [{ name: x-from, value: backend }] } }] }]
- matches: [{ path: { type: PathPrefix, value: /percent } }]
  filters: [{ requestHeaders: { set: [{ name: x-percent, value: "100% %REQ(host)% %%" }] } }]
  backends: [{ backend: a, weight: 1 }]
- matches: [{ path: { type: PathPrefix, value: /server } }]
  filters: [{ responseHeaders: { set: [{ name: server, value: mine }], add: [{ name: set-cookie, value: "a=1" }], remove: [date] } }]
  backends: [{ backend: a, weight: 1 }]
"#,
        ),
        route(
            "weights",
            &["weight.test"],
            r#"
- { matches: [{ path: { type: PathPrefix, value: /one } }], backends: [{ backend: a, weight: 0 }, { backend: b, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /zero } }], backends: [{ backend: a, weight: 0 }, { backend: b, weight: 0 }] }
- { matches: [{ path: { type: PathPrefix, value: /big } }], backends: [{ backend: a, weight: 1000000 }, { backend: b, weight: 0 }] }
- { matches: [{ path: { type: PathPrefix, value: /missing } }], backends: [{ weight: 1 }, { backend: b, weight: 0 }] }
- { matches: [{ path: { type: PathPrefix, value: /only-missing } }], backends: [{ weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /none } }] }
"#,
        ),
        route(
            "mirrors",
            &["mirror.test"],
            r#"
- { matches: [{ path: { type: PathPrefix, value: /one } }], filters: [{ mirror: { backend: b, numerator: 1, denominator: 1 } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /two } }], filters: [{ mirror: { backend: b, numerator: 100, denominator: 100 } }, { mirror: { backend: c, numerator: 1, denominator: 1 } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /never } }], filters: [{ mirror: { backend: b, numerator: 0, denominator: 100 } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /dead } }], filters: [{ mirror: { backend: dead, numerator: 1, denominator: 1 } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /edited } }], filters: [{ mirror: { backend: b, numerator: 1, denominator: 1 } }, { requestHeaders: { set: [{ name: x-set, value: "1" }] } }, { rewrite: { hostname: new.test, path: { replacePrefixMatch: /new } } }], backends: [{ backend: a, weight: 1 }] }
"#,
        ),
    ]
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (target, headers) in [
        ("/set", &[][..]),
        ("/set", &[("x-set", "old")]),
        ("/set", &[("X-Set", "old"), ("x-set", "older")]),
        ("/add", &[]),
        ("/add", &[("x-add", "old")]),
        ("/add", &[("x-add", "old"), ("x-add", "older")]),
        ("/remove", &[("x-remove", "old"), ("X-Remove", "older"), ("x-removed", "not")]),
        ("/all", &[("x-one", "1"), ("x-two", "2"), ("x-three", "3"), ("x-four", "4"), ("x-five", "5")]),
        ("/all", &[]),
        ("/response", &[("x-do", "header=x-one: old;header=x-two: old;header=x-three: old")]),
        ("/response", &[]),
        ("/response", &[("x-do", "header=x-one: a;header=x-one: b;header=x-two: a;header=x-two: b")]),
        ("/host", &[]),
        ("/known", &[("user-agent", "old"), ("accept", "*/*"), ("cookie", "a=1"), ("referer", "x")]),
        ("/known", &[]),
        ("/per-backend", &[]),
        ("/per-backend", &[("x-who", "client")]),
        ("/percent", &[]),
        ("/server", &[]),
        ("/server", &[("x-do", "header=server: theirs;header=set-cookie: b~2;header=date: never")]),
    ] {
        all.push(ask("GET", "edit.test", target, headers, ""));
        all.push(ask("POST", "edit.test", target, headers, "with a body"));
    }
    for target in ["/one", "/zero", "/big", "/missing", "/only-missing", "/none"] {
        all.push(get("weight.test", target));
        all.push(ask("HEAD", "weight.test", target, &[], ""));
    }
    for (target, copies) in [("/one/x?y=1", 2), ("/two", 3), ("/never", 1), ("/dead", 1), ("/edited/x?y=1", 2)] {
        all.push(get("mirror.test", target).upstream(copies));
        all.push(get("mirror.test:8080", target).upstream(copies));
        all.push(ask("POST", "mirror.test", target, &[], "a body for all").upstream(copies));
    }
    all
}
