//! `explain` against the resources that translation makes: tables, and a naive reading of the Gateway API.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::cmp::Reverse;

use foregate_api::address::ProxyRef;
use foregate_translate::explain::{Explanation, Gateway, Outcome, Request, Scheme};
use foregate_translate::{Options, Translator};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A gateway with these routes on its listeners `http` (8080) and `tls` (8443, `*.example.com`).
fn gateway(routes: Vec<Value>) -> Gateway {
    let listeners = json!([
        { "claim": "claim", "name": "http", "port": 8080, "protocol": "HTTP" },
        { "claim": "claim", "name": "tls", "port": 8443, "protocol": "HTTPS", "hostname": "*.example.com",
          "tls": { "mode": "Terminate", "certificates": ["certificate"] } },
    ]);
    let mut proxy = support::world::proxy(0, 127, 1);
    proxy["metadata"]["name"] = json!("web");
    proxy["spec"]["template"] = json!("stock");
    proxy["status"] = json!({ "addresses": ["192.0.2.1", "2001:db8::1"], "listeners": listeners });
    let mut manifests =
        vec![proxy, support::world::secret(1), support::world::backend(0, 0), support::world::backend(1, 0)];
    manifests.push(support::world::slice(0, 3));
    manifests.extend(routes);
    let mut translator = Translator::new(Options::default());
    let output = translator.apply(manifests.into_iter().map(support::input));
    assert!(output.reports.iter().all(|report| report.problem.is_none()), "{:?}", output.reports);
    let proxy = ProxyRef { namespace: "tenant-a".to_owned(), name: "web".to_owned() };
    Gateway::read(translator.resources(&proxy)).unwrap()
}

fn route(name: &str, created: u32, listener: &str, hostname: &str, rules: Value) -> Value {
    let origin = json!({ "cluster": "local", "kind": "HTTPRoute", "namespace": "shop", "name": name, "uid": format!("uid-{name}"),
                         "generation": 1, "creationTimestamp": format!("2026-01-01T00:00:{created:02}Z") });
    json!({ "kind": "GatewayRoute", "apiVersion": "foregate.dev/v1alpha1",
            "metadata": { "namespace": "tenant-a", "name": format!("local-{name}"), "generation": 1 },
            "spec": { "origin": origin, "rules": rules, "attachments": [
                { "claim": "claim", "listener": listener, "hostnames": [{ "effective": hostname, "original": hostname }] } ] } })
}

fn to(backend: &str) -> Value {
    json!([{ "backend": backend, "weight": 1 }])
}

fn get(host: &str, path: &str) -> Request {
    Request { port: Some(8080), host: host.into(), method: "GET".into(), path: path.into(), ..Request::default() }
}

fn taker(answer: &Explanation) -> Option<&str> {
    answer.route.as_ref().map(|route| route.name.as_str())
}

fn shop() -> Gateway {
    let path = |kind: &str, value: &str| json!({ "path": { "type": kind, "value": value } });
    gateway(vec![
        route(
            "web",
            0,
            "http",
            "shop.example.com",
            json!([
                { "matches": [path("PathPrefix", "/cart")], "backends": to("backend-0"),
                  "filters": [{ "rewrite": { "hostname": "inner", "path": { "replacePrefixMatch": "/v1" } } },
                              { "requestHeaders": { "set": [{ "name": "x-a", "value": "100%" }], "remove": ["x-b"] } }] },
                { "matches": [{ "path": { "type": "Exact", "value": "/admin" }, "method": "POST",
                                "headers": [{ "name": "X-Role", "value": "admin" }],
                                "queryParams": [{ "name": "q", "type": "RegularExpression", "value": "[0-9]+" }] }],
                  "backends": to("backend-1") },
                { "matches": [path("PathPrefix", "/old")],
                  "filters": [{ "redirect": { "statusCode": 301, "hostname": "new.example.com", "port": 80,
                                              "path": { "replacePrefixMatch": "/new" } } }] },
                { "name": "broken", "matches": [path("PathPrefix", "/broken")], "backends": [{ "weight": 1 }] },
                { "matches": [path("PathPrefix", "/both")],
                  "backends": [{ "backend": "backend-0", "weight": 3 }, { "weight": 1 }] },
            ]),
        ),
        route("any", 1, "http", "*", json!([{ "matches": [{}], "backends": to("backend-0") }])),
        route("safe", 2, "tls", "*.example.com", json!([{ "matches": [{}], "backends": to("backend-0") }])),
    ])
}

/// Made once: it is asked often.
static SHOP: std::sync::LazyLock<Gateway> = std::sync::LazyLock::new(shop);

#[test]
fn what_happens_is_told() {
    let shop = shop();
    let answer = shop.explain(&get("shop.example.com:8080", "/cart//items/../x?id=1"));
    assert_eq!(taker(&answer), Some("HTTPRoute/shop/web/0/0"));
    let Outcome::Forward(forward) = &answer.outcome else { panic!("{:?}", answer.outcome) };
    assert_eq!((forward.host.as_str(), forward.path.as_str()), ("inner", "/v1/x?id=1"));
    let changes: Vec<String> = forward.request_headers.iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["remove x-b", "set x-a: 100%"]);
    assert_eq!(forward.backends[0].backend(), "backend-0");
    assert!(!forward.backends[0].endpoints.is_empty() && answer.status().is_none());

    let answer = shop.explain(&get("shop.example.com", "/both"));
    let Outcome::Forward(forward) = &answer.outcome else { panic!("{:?}", answer.outcome) };
    let shares: Vec<_> = forward.backends.iter().map(|share| (share.percent, share.status)).collect();
    assert_eq!(shares, [(75.0, None), (25.0, Some(500))]);

    let answer = shop.explain(&get("SHOP.example.com:8080", "/old/x?q=1"));
    let location = "http://new.example.com/new/x?q=1".to_owned();
    assert_eq!(answer.outcome, Outcome::Redirect { status: 301, location });

    let answer = shop.explain(&get("shop.example.com", "/broken"));
    assert_eq!((taker(&answer), answer.status()), (Some("HTTPRoute/shop/web/broken/0"), Some(500)));

    let post = Request {
        method: "POST".into(),
        headers: vec![("x-role".into(), "admin".into())],
        ..get("shop.example.com", "/admin?q=1&q=x")
    };
    let answer = shop.explain(&post);
    assert_eq!(taker(&answer), Some("HTTPRoute/shop/web/1/0"));
    assert_eq!(answer.status(), Some(503), "backend-1 has no endpoints");
}

#[test]
fn listeners_and_names_are_chosen_as_connections_do() {
    let shop = shop();
    let none = |request: Request| match shop.explain(&request).outcome {
        Outcome::NoListener { reason } | Outcome::NoFilterChain { reason } => reason,
        other => panic!("{other:?}"),
    };
    let other_port = Request { port: Some(81), ..get("a", "/") };
    assert!(none(other_port).contains("http-8080 on 192.0.2.1:8080, [2001:db8::1]:8080; https-8443"));
    let other_address = Request { address: "192.0.2.9".parse().ok(), ..get("a", "/") };
    assert!(none(other_address).starts_with("nothing listens on 192.0.2.9:8080"));
    assert!(none(Request { scheme: Scheme::Https, ..get("a", "/") }).contains("speaks plain HTTP; ask with http://"));
    assert!(none(Request { port: Some(8443), ..get("a", "/") }).contains("speaks TLS; ask with https://"));
    let tls = |host: &str| Request { scheme: Scheme::Https, port: Some(8443), ..get(host, "/") };
    let said = none(tls("example.com"));
    assert!(said.contains("serve example.com; it serves: *.example.com (with a certificate)"), "{said}");
    assert!(none(tls("192.0.2.1:8443")).contains("without a name (the host is an address)"));
    assert_eq!(taker(&shop.explain(&tls("a.b.example.com:8443"))), Some("HTTPRoute/shop/safe/0/0"));
    let v6 = Request { address: "2001:db8::1".parse().ok(), ..get("[2001:db8::1]:8080", "/") };
    assert_eq!(taker(&shop.explain(&v6)), Some("HTTPRoute/shop/any/0/0"));
}

#[test]
fn near_misses_say_why() {
    let shop = shop();
    let reasons = |request: &Request, name: &str| {
        let answer = shop.explain(request);
        let miss = answer.near_misses.iter().find(|miss| miss.route.name == name);
        let texts = |miss: &foregate_translate::explain::NearMiss| {
            miss.reasons.iter().map(|reason| reason.text.clone()).collect::<Vec<_>>()
        };
        miss.map(texts).unwrap_or_else(|| panic!("{name} isn't among {:?}", answer.near_misses))
    };
    assert_eq!(
        reasons(&get("shop.example.com", "/admin/"), "HTTPRoute/shop/web/1/0"),
        [
            "path /admin/ isn't exactly /admin; exact matches count the slash at the end",
            "method GET isn't POST",
            "header X-Role is missing; it wants = \"admin\"",
            "query parameter q is missing; it wants ~ [0-9]+",
        ]
    );
    assert_eq!(
        reasons(&get("shop.example.com", "/cartoon"), "HTTPRoute/shop/web/0/0"),
        ["path /cartoon isn't path prefix /cart; prefixes match whole path elements"]
    );
    assert_eq!(
        reasons(&get("shop.example.com", "/cartoon"), "HTTPRoute/shop/any/0/0"),
        ["it is for *; shop.example.com is more specific, and takes host shop.example.com"]
    );
    let multi = Request {
        headers: vec![("x-role".into(), "a".into()), ("X-Role".into(), "b".into())],
        method: "POST".into(),
        ..get("shop.example.com", "/admin?q=x")
    };
    assert_eq!(
        reasons(&multi, "HTTPRoute/shop/web/1/0"),
        ["header X-Role is \"a,b\"; it wants = \"admin\"", "query parameter q is \"x\"; it wants ~ [0-9]+",]
    );
    let answer = shop.explain(&get("shop.example.com", "/nowhere"));
    assert_eq!(answer.status(), Some(404));
    let Outcome::NotFound { reason } = &answer.outcome else { panic!("{:?}", answer.outcome) };
    assert_eq!(reason, "none of the 5 routes for shop.example.com matches");
    for bad in ["nowhere", "/a#b", "/%00"] {
        assert_eq!(shop.explain(&get("shop.example.com", bad)).status(), Some(400), "{bad}");
    }
}

/// A match as the oracle sees it.
#[derive(Clone, Debug)]
struct Asked {
    kind: usize,
    path: String,
    method: Option<&'static str>,
    header: Option<&'static str>,
    query: Option<&'static str>,
}

const KINDS: [&str; 3] = ["Exact", "PathPrefix", "RegularExpression"];
const HOSTS: [&str; 4] = ["*", "*.b.c", "*.a.b.c", "a.b.c"];

impl Asked {
    fn manifest(&self) -> Value {
        let value = |name: &str, value: Option<&str>| value.map(|it| json!([{ "name": name, "value": it }]));
        let mut manifest = json!({ "path": { "type": KINDS[self.kind], "value": self.path } });
        let parts = [
            ("method", self.method.map(Value::from)),
            ("headers", value("x-h", self.header)),
            ("queryParams", value("q", self.query)),
        ];
        for (name, part) in parts {
            if let Some(part) = part {
                manifest[name] = part;
            }
        }
        manifest
    }

    /// By the Gateway API's words, element by element.
    fn takes(&self, request: &Request) -> bool {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let elements = |path: &str| path.split('/').filter(|it| !it.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let path_fits = match self.kind {
            0 => path == self.path,
            1 => elements(path).starts_with(&elements(&self.path)),
            _ => path.starts_with(self.path.trim_end_matches(".*")),
        };
        path_fits
            && self.method.is_none_or(|method| method == request.method)
            && self.header.is_none_or(|value| request.headers.iter().any(|(_, line)| line == value))
            && self.query.is_none_or(|value| query.split('&').next() == Some(&format!("q={value}")))
    }

    fn rank(&self) -> impl Ord + use<> {
        let length = self.path.trim_end_matches('/').len();
        let (kind, length) = if self.kind == 1 && length == 0 { (3, 0) } else { (self.kind, length) };
        let length = if self.kind == 0 { self.path.len() } else { length };
        (kind, Reverse(length), self.method.is_none(), self.header.is_none(), self.query.is_none())
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let path = prop::sample::select(vec!["/", "/a", "/a/", "/a/b", "/ab", "/b"]);
    let method = prop::option::of(prop::sample::select(vec!["GET", "POST"]));
    let value = || prop::option::weighted(0.3, prop::sample::select(vec!["1", "2"]));
    (0..3usize, path, method, value(), value()).prop_map(|(kind, path, method, header, query)| {
        let path = if kind == 2 { format!("{path}.*") } else { path.to_owned() };
        Asked { kind, path, method, header, query }
    })
}

fn request() -> impl Strategy<Value = Request> {
    let host = prop::sample::select(vec!["a.b.c", "x.a.b.c", "x.b.c", "b.c", "A.b.c:8080"]);
    let path = prop::sample::select(vec!["/", "/a", "/a/", "/a/b", "/ab", "/b/c", "/c"]);
    let query = prop::sample::select(vec!["", "?q=1", "?q=2&q=1", "?r=1"]);
    let headers = prop::collection::vec(prop::sample::select(vec!["1", "2"]), 0..3);
    (host, path, query, prop::sample::select(vec!["GET", "POST"]), headers).prop_map(
        |(host, path, query, method, headers)| Request {
            method: method.to_owned(),
            headers: headers.into_iter().map(|value| ("X-H".to_owned(), value.to_owned())).collect(),
            ..get(host, &format!("{path}{query}"))
        },
    )
}

/// Route: age, host name, rules of matches.
type World = Vec<(u32, usize, Vec<Vec<Asked>>)>;

/// The name of the Envoy route that is to take a request.
fn expected(world: &World, request: &Request) -> Option<String> {
    let host = request.host.split(':').next().unwrap().to_lowercase();
    let fits =
        |at: usize| at == 0 || HOSTS[at] == host || HOSTS[at].strip_prefix('*').is_some_and(|it| host.ends_with(it));
    // The names are in the order of their precedence; the listener takes any host.
    let chosen = world.iter().map(|(_, at, _)| *at).filter(|at| fits(*at)).max().unwrap_or(0);
    let mut best = None;
    for (index, (age, _, rules)) in world.iter().enumerate().filter(|(_, (_, at, _))| *at == chosen) {
        for (rule, matches) in rules.iter().enumerate() {
            for (position, asked) in matches.iter().enumerate().filter(|(_, asked)| asked.takes(request)) {
                let rank = (asked.rank(), *age, index, rule, position);
                if best.as_ref().is_none_or(|(other, _)| rank < *other) {
                    best = Some((rank, format!("HTTPRoute/shop/r{index}/{rule}/{position}")));
                }
            }
        }
    }
    best.map(|(_, name)| name)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_is_asked_is_answered(
        (host, path, method) in (any::<String>(), any::<String>(), any::<String>()),
        slash in any::<bool>(),
        headers in prop::collection::vec((any::<String>(), any::<String>()), 0..3),
    ) {
        let path = if slash { format!("/{path}") } else { path };
        let answer = SHOP.explain(&Request { host, path, method, headers, port: Some(8080), ..Request::default() });
        prop_assert_eq!(answer.route.is_some(), !matches!(answer.outcome, Outcome::Refused { .. } | Outcome::NotFound { .. }));
    }

    #[test]
    fn the_same_route_as_by_the_words_of_the_gateway_api(
        world in prop::collection::vec(
            (0..3u32, 0..HOSTS.len(), prop::collection::vec(prop::collection::vec(asked(), 1..4), 1..4)), 1..6),
        requests in prop::collection::vec(request(), 24),
    ) {
        let manifests = world.iter().enumerate().map(|(index, (age, at, rules))| {
            let rules: Vec<Value> = rules.iter().map(|matches| {
                let matches: Vec<Value> = matches.iter().map(Asked::manifest).collect();
                json!({ "matches": matches, "backends": to("backend-0") })
            }).collect();
            route(&format!("r{index}"), *age, "http", HOSTS[*at], json!(rules))
        });
        let gateway = gateway(manifests.collect());
        for request in &requests {
            let answer = gateway.explain(request);
            let want = expected(&world, request);
            prop_assert_eq!(taker(&answer), want.as_deref(), "{:?}", request);
            prop_assert!(answer.near_misses.iter().all(|miss| !miss.reasons.is_empty()));
            let taken = |name: &str| want.as_deref() == Some(name) && answer.virtual_host.is_some();
            let at_home = |virtual_host: &str| answer.virtual_host.as_ref().is_some_and(|it| it.name == virtual_host);
            let twice = answer.near_misses.iter().any(|it| taken(&it.route.name) && at_home(&it.virtual_host));
            prop_assert!(!twice, "what takes a request doesn't miss it");
        }
    }
}

/// A gateway with connections and datagrams beside requests.
fn mixed() -> Gateway {
    let tls = |mode: &str| json!({ "mode": mode, "certificates": ["certificate"] });
    let listeners = json!([
        { "claim": "claim", "name": "web", "port": 8443, "protocol": "HTTPS", "tls": tls("Terminate") },
        { "claim": "claim", "name": "through", "port": 8443, "protocol": "TLS", "hostname": "*.db.example.com", "tls": tls("Passthrough") },
        { "claim": "claim", "name": "ended", "port": 8443, "protocol": "TLS", "hostname": "ended.example.com", "tls": tls("Terminate") },
        { "claim": "claim", "name": "through-2", "port": 8444, "protocol": "TLS", "hostname": "through.test", "tls": tls("Passthrough") },
        { "claim": "claim", "name": "ended-2", "port": 8444, "protocol": "TLS", "hostname": "ended.test", "tls": tls("Terminate") },
        { "claim": "claim", "name": "bytes", "port": 9000, "protocol": "TCP" },
        { "claim": "claim", "name": "datagrams", "port": 9000, "protocol": "UDP" },
        { "claim": "claim", "name": "nobody", "port": 9001, "protocol": "TCP" },
    ]);
    let mut proxy = support::world::proxy(0, 127, 1);
    proxy["spec"]["template"] = json!("stock");
    proxy["status"] = json!({ "addresses": ["192.0.2.1"], "listeners": listeners });
    let forward = |name: &str, protocol: &str, listener: &str, hostname: &str, backends: Value| {
        let mut manifest = route(name, 0, listener, hostname, json!([{ "backends": backends }]));
        manifest["spec"]["protocol"] = json!(protocol);
        manifest["spec"]["origin"]["kind"] = json!(format!("{protocol}Route"));
        manifest
    };
    let backend = |n: usize, weight: u32| json!({ "backend": format!("backend-{n}"), "weight": weight });
    let manifests = [
        proxy,
        support::world::secret(1),
        support::world::backend(0, 0),
        support::world::backend(1, 0),
        support::world::slice(0, 2),
        forward("db", "TLS", "through", "a.db.example.com", json!([backend(0, 1)])),
        forward("ended", "TLS", "ended", "ended.example.com", json!([backend(0, 1), { "weight": 1 }])),
        forward("bytes", "TCP", "bytes", "*", json!([backend(1, 1)])),
        forward("datagrams", "UDP", "datagrams", "*", json!([backend(0, 70), backend(1, 20), { "weight": 10 }])),
    ];
    let mut translator = Translator::new(Options::default());
    translator.apply(manifests.into_iter().map(support::input));
    let proxy = ProxyRef { namespace: "tenant-a".to_owned(), name: "proxy-0".to_owned() };
    Gateway::read(translator.resources(&proxy)).unwrap()
}

#[test]
fn connections_and_datagrams_are_carried() {
    let gateway = mixed();
    // scheme, host, port → route and shares in percent, or what is said
    let table = [
        (Scheme::Tls, "a.db.example.com", 8443, Ok(("TLSRoute/shop/db/0/0", vec![("backend-0", 100.0, 2)]))),
        (Scheme::Https, "a.db.example.com", 8443, Ok(("TLSRoute/shop/db/0/0", vec![("backend-0", 100.0, 2)]))),
        (Scheme::Tls, "b.db.example.com", 8443, Err("no route takes connections to *.db.example.com")),
        (
            Scheme::Tls,
            "ended.example.com",
            8443,
            Ok(("TLSRoute/shop/ended/0/0", vec![("backend-0", 50.0, 2), ("foregate-unresolved", 50.0, 0)])),
        ),
        (Scheme::Tls, "other.example.com", 8443, Err("takes requests here; ask with https://")),
        (Scheme::Https, "a.test", 8444, Err("doesn't serve a.test; it serves: ")),
        (Scheme::Https, "a.test", 8444, Err("through.test (by passthrough)")),
        (Scheme::Https, "a.test", 8444, Err("ended.test (with a certificate)")),
        (Scheme::Http, "a.db.example.com", 8443, Err("speaks TLS; ask with https://")),
        (Scheme::Tcp, "any", 9000, Ok(("TCPRoute/shop/bytes/0/0", vec![("backend-1", 100.0, 0)]))),
        (Scheme::Http, "any", 9000, Ok(("TCPRoute/shop/bytes/0/0", vec![("backend-1", 100.0, 0)]))),
        (Scheme::Tls, "any", 9000, Err("speaks no TLS; ask with tcp://")),
        (Scheme::Tcp, "any", 9001, Err("no route takes everything at listener tcp-9001")),
        (Scheme::Udp, "any", 9001, Err("nothing listens on port 9001")),
        (
            Scheme::Udp,
            "any",
            9000,
            Ok((
                "UDPRoute/shop/datagrams/0/0",
                vec![("backend-0", 70.0, 2), ("backend-1", 20.0, 0), ("foregate-unresolved", 10.0, 0)],
            )),
        ),
    ];
    for (scheme, host, port, expected) in table {
        let request = Request { scheme, port: Some(port), host: host.into(), ..Request::default() };
        let answer = gateway.explain(&request);
        match (expected, &answer.outcome) {
            (Ok((route, shares)), Outcome::Carry { backends, ends_tls }) => {
                let said: Vec<_> = backends.iter().map(|it| (it.backend(), it.percent, it.endpoints.len())).collect();
                assert_eq!((taker(&answer), said), (Some(route), shares), "{scheme:?} {host}:{port}");
                assert_eq!(*ends_tls, host == "ended.example.com");
            }
            (Err(said), Outcome::NoFilterChain { reason } | Outcome::NoListener { reason }) => {
                assert!(reason.contains(said), "{scheme:?} {host}:{port}: {reason}");
            }
            (expected, other) => panic!("{scheme:?} {host}:{port}: {other:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn a_request_on_another_hosts_connection_is_misdirected() {
    let gateway = mixed();
    let at = |host: &str, sni: &str| Request { scheme: Scheme::Https, sni: Some(sni.into()), ..get(host, "/") };
    let ask = |host: &str, sni: &str| gateway.explain(&Request { port: Some(8443), ..at(host, sni) });
    for host in ["a.db.example.com", "ended.example.com"] {
        let answer = ask(host, "web.example.com");
        assert_eq!(answer.status(), Some(421), "{host}");
        let Outcome::Respond { reason, .. } = &answer.outcome else { panic!("{:?}", answer.outcome) };
        assert!(reason.contains("another listener of the port has the host"), "{reason}");
    }
    assert_eq!(ask("web.example.com", "other.example.com").status(), Some(404), "the same listener has both");
}
