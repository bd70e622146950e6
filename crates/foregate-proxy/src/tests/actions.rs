//! What routes can do to requests and responses.

use foregate_envoy::ResourceKind;

use super::backend::{Backend, answer};
use super::resources::{host, resource};
use super::rig::{Rig, until};

#[tokio::test]
async fn header_values_have_commands() {
    let backend = Backend::with(|_| answer(201, &[("x-b", "bee")], "")).await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[backend.port()]).await;
    let add = |name: &str, value: &str| format!("{{ header: {{ key: {name}, value: \"{value}\" }} }}");
    let request = [
        ("x-who", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%:%DOWNSTREAM_LOCAL_PORT%"),
        ("x-what", "%REQ(:METHOD)% %REQ(:PATH)% %REQ_WITHOUT_QUERY(:PATH)% %REQ(:AUTHORITY)% %REQ(:SCHEME)%"),
        ("x-how", "%PROTOCOL% %ROUTE_NAME% %UPSTREAM_CLUSTER% %RESPONSE_CODE% [%REQUESTED_SERVER_NAME%]"),
        ("x-cut", "%REQ(x-in):3%|%REQ(x-no?x-in)%|%REQ(x-no)%|100%%"),
        ("x-none", "%REQ(x-no)%"),
        ("x-when", "%START_TIME(%Y)% %START_TIME%"),
        ("x-in", "%REQ(x-in)%"),
    ];
    let response = [
        ("x-said", "%RESPONSE_CODE% %RESP(x-b)% %RESP(x-no?x-b)% %REQ(x-in)% %RESPONSE_FLAGS% %UPSTREAM_HOST%"),
        ("x-none", "%RESP(x-no)%"),
        ("x-count", "%BYTES_RECEIVED%"),
    ];
    let list = |all: &[(&str, &str)]| all.iter().map(|(name, value)| add(name, value)).collect::<Vec<_>>().join(", ");
    rig.serve(&format!(
        "- name: to-a\n  match: {{ prefix: /a }}\n  route: {{ cluster: a }}\n  request_headers_to_add: [{}]\n  \
         response_headers_to_add: [{}]\n- name: here\n  match: {{ prefix: /here }}\n  direct_response: {{ status: 403 }}\n  \
         response_headers_to_add: [{}]\n",
        list(&request),
        list(&response),
        add("x-said", "%RESPONSE_CODE% %REQ(:path)% %ROUTE_NAME%"),
    ))
    .await;
    let address = rig.address("http-1");
    let mut client = rig.client().await;
    let reply = client.ask("POST", "a.example.com", "/a?q", &[("x-in", "value")], "123").await;
    let got = backend.last().headers;
    let header = |name: &str| got.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(header("x-who"), Some(&*format!("127.0.0.1:{}", address.port())));
    assert_eq!(header("x-what"), Some("POST /a?q /a a.example.com http"));
    assert_eq!(header("x-how"), Some("HTTP/1.1 to-a a 0 []"));
    assert_eq!(header("x-cut"), Some("val|value||100%"));
    assert_eq!(header("x-none"), None);
    let when = header("x-when").unwrap();
    assert!(when.len() == 29 && when.ends_with('Z') && when[5..].starts_with(&when[..4]), "{when}");
    assert_eq!(got.get_all("x-in").iter().count(), 2);
    assert_eq!(reply.header("x-said"), Some(&*format!("201 bee bee value - {}", backend.address)));
    assert_eq!((reply.header("x-none"), reply.header("x-count")), (None, Some("3")));
    assert_eq!(client.get("a", "/here").await.header("x-said"), Some("403 /here here"));
}

#[tokio::test]
async fn matches_look_at_headers_query_and_method() {
    let (a, b) = (Backend::named("a").await, Backend::named("b").await);
    let mut rig = Rig::new().await;
    rig.cluster("a", &[a.port()]).await;
    rig.cluster("b", &[b.port()]).await;
    rig.serve(
        r#"- match: { prefix: /h, headers: [{ name: X-Env, string_match: { exact: dev } }] }
  route: { cluster: a }
- match: { prefix: /h, headers: [{ name: x-env, string_match: { safe_regex: { regex: "st.*" } } }] }
  route: { cluster: b }
- match: { prefix: /q, query_parameters: [{ name: v, string_match: { exact: "2%203" } }] }
  route: { cluster: a }
- match: { prefix: /q, query_parameters: [{ name: w, present_match: true }] }
  route: { cluster: b }
- match: { prefix: /m, headers: [{ name: ":method", string_match: { exact: POST } }] }
  route: { cluster: a }
- match: { prefix: /n, headers: [{ name: x-no, present_match: true, invert_match: true }] }
  route: { cluster: a }
- match: { safe_regex: { regex: "/r/[0-9]+" } }
  route: { cluster: b }
- match: { path: /CASE, case_sensitive: false }
  route: { cluster: b }"#,
    )
    .await;
    let mut client = rig.client().await;
    for (method, path, headers, want) in [
        ("GET", "/h", vec![("x-env", "dev")], Some("a")),
        ("GET", "/h", vec![("x-env", "stage")], Some("b")),
        ("GET", "/h", vec![("x-env", "xstage")], None),
        ("GET", "/h", vec![], None),
        ("GET", "/q?v=2%203", vec![], Some("a")),
        ("GET", "/q?a=1&w", vec![], Some("b")),
        ("GET", "/q?a=1", vec![], None),
        ("POST", "/m", vec![], Some("a")),
        ("GET", "/m", vec![], None),
        ("GET", "/n", vec![], Some("a")),
        ("GET", "/n", vec![("x-no", "1")], None),
        ("GET", "/r/12", vec![], Some("b")),
        ("GET", "/r/12/x", vec![], None),
        ("GET", "/case", vec![], Some("b")),
    ] {
        let reply = client.ask(method, "a", path, &headers, "").await;
        match want {
            Some(want) => assert_eq!((reply.status, &*reply.body), (200, want), "{method} {path} {headers:?}"),
            None => assert_eq!(reply.status, 404, "{method} {path} {headers:?}"),
        }
    }
}

#[tokio::test]
async fn rewrites_change_path_and_host() {
    let backend = Backend::named("a").await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[backend.port()]).await;
    rig.serve(
        r#"- match: { path_separated_prefix: /p }
  route: { cluster: a, prefix_rewrite: /new }
- match: { path: /exact }
  route: { cluster: a, prefix_rewrite: /whole }
- match: { path_separated_prefix: /cut }
  route: { cluster: a, regex_rewrite: { pattern: { regex: "^/cut/?" }, substitution: / } }
- match: { prefix: /host }
  route: { cluster: a, host_rewrite_literal: inner.example.com, append_x_forwarded_host: true }"#,
    )
    .await;
    let mut client = rig.client().await;
    for (path, target, host) in [
        ("/p", "/new", "a.example.com"),
        ("/p/x?y=1", "/new/x?y=1", "a.example.com"),
        ("/exact?y", "/whole?y", "a.example.com"),
        ("/cut/x", "/x", "a.example.com"),
        ("/cut", "/", "a.example.com"),
        ("/host", "/host", "inner.example.com"),
    ] {
        assert_eq!(client.get("a.example.com", path).await.status, 200);
        let got = backend.last();
        assert_eq!((&*got.target, got.headers["host"].to_str().unwrap()), (target, host), "{path}");
    }
    assert_eq!(backend.last().headers["x-forwarded-host"], "a.example.com");
}

#[tokio::test]
async fn headers_are_changed_on_every_level() {
    let backend = Backend::with(|_| answer(200, &[("x-drop", "1"), ("x-keep", "1")], "")).await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[backend.port()]).await;
    rig.serve("[]").await;
    let yaml = r#"
name: rc/*
domains: ["*"]
request_headers_to_add:
- { header: { key: x-level, value: host }, append_action: OVERWRITE_IF_EXISTS_OR_ADD }
response_headers_to_remove: [x-drop]
routes:
- match: { prefix: / }
  request_headers_to_remove: [x-secret]
  request_headers_to_add:
  - { header: { key: x-level, value: route }, append_action: OVERWRITE_IF_EXISTS_OR_ADD }
  - { header: { key: x-more, value: "100%%" } }
  - { header: { key: x-absent, value: "1" }, append_action: ADD_IF_ABSENT }
  response_headers_to_add:
  - { header: { key: x-keep, value: "2" } }
  route:
    weighted_clusters:
      clusters:
      - { name: a, weight: 1, request_headers_to_add: [{ header: { key: x-cluster, value: a } }] }
"#;
    rig.set(ResourceKind::VirtualHost, vec![resource(ResourceKind::VirtualHost, "rc/*", yaml)]).await;
    let mut client = rig.client().await;
    let reply = client.ask("GET", "a", "/", &[("x-secret", "1"), ("x-more", "1"), ("x-absent", "0")], "").await;
    assert_eq!(reply.all("x-keep"), ["1", "2"]);
    assert_eq!(reply.header("x-drop"), None);
    let got = backend.last().headers;
    assert!(!got.contains_key("x-secret"));
    assert_eq!(got.get_all("x-more").iter().collect::<Vec<_>>(), ["1", "100%"]);
    assert_eq!(got["x-absent"], "0");
    assert_eq!(got["x-cluster"], "a");
    assert_eq!(got["x-level"], "host", "the least specific level comes last");
}

#[tokio::test]
async fn redirects_and_direct_responses_need_no_endpoint() {
    let mut rig = Rig::new().await;
    rig.serve(
        r#"- match: { prefix: /r }
  redirect: { scheme_redirect: https, port_redirect: 8443, response_code: FOUND }
- match: { prefix: /d }
  direct_response: { status: 418, body: { inline_string: "teapot" } }
- match: { prefix: /e }
  direct_response: { status: 500 }
- match: { prefix: /n }
  direct_response: { status: 204, body: { inline_string: "none" } }"#,
    )
    .await;
    let mut client = rig.client().await;
    let reply = client.get("a.example.com", "/r?x=1").await;
    assert_eq!((reply.status, reply.header("location")), (302, Some("https://a.example.com:8443/r?x=1")));
    let reply = client.get("a", "/d").await;
    assert_eq!((reply.status, &*reply.body), (418, "teapot"));
    assert_eq!(client.get("a", "/e").await.status, 500);
    let reply = client.get("a", "/n").await;
    assert_eq!((reply.status, reply.header("content-length")), (204, None));
    let reply = client.ask("HEAD", "a", "/d", &[], "").await;
    assert_eq!((reply.status, reply.header("content-length")), (418, Some("6")));
}

#[tokio::test]
async fn weights_share_requests() {
    let (a, b) = (Backend::named("a").await, Backend::named("b").await);
    let mut rig = Rig::new().await;
    rig.cluster("a", &[a.port()]).await;
    rig.cluster("b", &[b.port()]).await;
    rig.serve(
        "- match: { prefix: / }\n  route: { weighted_clusters: { clusters: [{ name: a, weight: 9 }, { name: b, weight: 1 }, { name: c, weight: 0 }] } }",
    )
    .await;
    let mut client = rig.client().await;
    let mut of_b = 0;
    for _ in 0..500 {
        of_b += usize::from(client.get("x", "/").await.body == "b");
    }
    assert!((15..120).contains(&of_b), "{of_b} of 500 went to the one with a tenth");
}

#[tokio::test]
async fn endpoints_take_turns() {
    let (a, b) = (Backend::named("a").await, Backend::named("b").await);
    let mut rig = Rig::new().await;
    rig.cluster("a", &[a.port(), b.port()]).await;
    rig.serve("- { match: { prefix: / }, route: { cluster: a } }").await;
    let mut client = rig.client().await;
    for _ in 0..10 {
        client.get("x", "/").await;
    }
    assert_eq!((a.got().len(), b.got().len()), (5, 5));
}

#[tokio::test]
async fn copies_go_elsewhere_and_nobody_waits_for_them() {
    let (a, b) = (Backend::named("a").await, Backend::with(|_| answer(500, &[], "")).await);
    let mut rig = Rig::new().await;
    rig.cluster("a", &[a.port()]).await;
    rig.cluster("b", &[b.port()]).await;
    rig.serve(
        r#"- match: { prefix: / }
  route:
    cluster: a
    request_mirror_policies:
    - { cluster: b }
    - { cluster: b, runtime_fraction: { default_value: { numerator: 0 } } }
    - { cluster: missing }"#,
    )
    .await;
    let mut client = rig.client().await;
    assert_eq!(client.ask("POST", "x.example.com", "/p?q", &[], "body").await.body, "a");
    assert_eq!(client.get("x.example.com:80", "/g").await.body, "a");
    until("both copies", || b.got().len() == 2).await;
    let got = b.got();
    assert_eq!(
        (&*got[0].target, &*got[0].body, got[0].headers["host"].to_str().unwrap()),
        ("/p?q", &b"body"[..], "x.example.com-shadow")
    );
    assert_eq!((&*got[1].target, got[1].headers["host"].to_str().unwrap()), ("/g", "x.example.com-shadow:80"));
}

#[tokio::test]
async fn paths_are_normal_before_routes_see_them() {
    let backend = Backend::named("a").await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[backend.port()]).await;
    rig.serve_with(
        "normalize_path: true\n      merge_slashes: true\n      path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT",
        "- { match: { prefix: /public }, route: { cluster: a } }",
    )
    .await;
    let mut client = rig.client().await;
    assert_eq!(client.get("a", "/public/../private").await.status, 404);
    assert_eq!(client.get("a", "/%70ublic//x/%2e%2E/y?z").await.status, 200);
    assert_eq!(backend.last().target, "/public/y?z");
    let reply = client.get("a", "/public%2fx").await;
    assert_eq!((reply.status, reply.header("location")), (307, Some("/public/x")));
}

#[tokio::test]
async fn thousands_of_routes_in_one_host() {
    let backend = Backend::named("a").await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[backend.port()]).await;
    rig.serve("[]").await;
    let mut routes = String::new();
    for n in 0..2000 {
        routes.push_str(&format!(
            "- {{ match: {{ path_separated_prefix: /r{n} }}, route: {{ cluster: a, prefix_rewrite: /{n} }} }}\n"
        ));
    }
    rig.set(ResourceKind::VirtualHost, vec![host("rc", "*", &routes)]).await;
    let mut client = rig.client().await;
    for n in [0, 7, 1999] {
        assert_eq!(client.get("a", &format!("/r{n}/x")).await.body, "a");
        assert_eq!(backend.last().target, format!("/{n}/x"));
    }
    assert_eq!(client.get("a", "/r2000").await.status, 404);
}
