//! Services that are asked whether a request may pass.

use bytes::Bytes;
use foregate_envoy::ResourceKind;
use foregate_envoy::pb::envoy::service::auth::v3 as auth;
use h2::server::Builder;
use http::{HeaderMap, HeaderValue, Response};
use prost::Message;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::backend::{Backend, Got, answer};
use super::backend2::Backend2;
use super::client2::read_all;
use super::resources::{eds_cluster, endpoints, rds, resource, response, shell};
use super::rig::Rig;

const RULES: &str = r#"decoder_header_mutation_rules: { disallow_expression: { regex: "host|:.*|x-kept" } }"#;

/// A filter that asks by HTTP.
fn by_http(more: &str) -> String {
    format!(
        r#"{{ "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz,
        http_service: {{ server_uri: {{ uri: "http://auth", cluster: auth, timeout: 20s }}, path_prefix: /check,
          authorization_response: {{ allowed_upstream_headers: {{ patterns: [{{ safe_regex: {{ regex: ".*" }} }}] }} }} }},
        transport_api_version: V3, {RULES}, {more} }}"#
    )
}

/// A filter that asks by gRPC.
fn by_grpc(more: &str) -> String {
    format!(
        r#"{{ "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz,
        grpc_service: {{ envoy_grpc: {{ cluster_name: grpc, authority: auth.shop }}, timeout: 20s }},
        transport_api_version: V3, {RULES}, {more} }}"#
    )
}

/// What a route says to have a filter run.
fn says(filter: &str) -> String {
    format!(
        r#"typed_per_filter_config: {{ foregate.external_auth: {{
        "@type": type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcherPerRoute,
        xds_matcher: {{ on_no_match: {{ action: {{ name: ask, typed_config: {{
          "@type": type.googleapis.com/envoy.extensions.filters.http.composite.v3.ExecuteFilterAction,
          typed_config: {{ name: ask, typed_config: {filter} }} }} }} }} }} }} }}"#
    )
}

const SLOT: &str = r#"{ name: foregate.external_auth, typed_config: {
  "@type": type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher,
  xds_matcher: { on_no_match: { action: { name: skip, typed_config: {
    "@type": type.googleapis.com/envoy.extensions.filters.common.matcher.action.v3.SkipFilter } } } },
  extension_config: { name: composite, typed_config: {
    "@type": type.googleapis.com/envoy.extensions.filters.http.composite.v3.Composite } } } }"#;
const ON: &str = r#"{ "@type": type.googleapis.com/envoy.config.route.v3.FilterConfig, config: {} }"#;

fn listener(filters: &[String]) -> String {
    let filters: String = filters.iter().map(|filter| format!("      - {filter}\n")).collect();
    format!(
        r#"
name: http-1
address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
filter_chains:
- filters:
  - name: envoy.filters.network.http_connection_manager
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: x
      use_remote_address: true
      {}
      http_filters:
{filters}      - name: envoy.filters.http.router
        typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true }}
"#,
        rds("rc")
    )
}

/// Serves virtual host `*` with this YAML.
async fn serve(rig: &mut Rig, filters: &[String], host: &str) {
    rig.set(ResourceKind::Listener, vec![resource(ResourceKind::Listener, "http-1", &listener(filters))]).await;
    rig.set(ResourceKind::RouteConfiguration, vec![shell("rc")]).await;
    let host = format!("name: rc/*\ndomains: [\"*\"]\n{host}");
    rig.set(ResourceKind::VirtualHost, vec![resource(ResourceKind::VirtualHost, "rc/*", &host)]).await;
}

/// Says yes, no or nothing sensible, as the path has it.
fn judge(got: &Got) -> Response<http_body_util::Full<Bytes>> {
    match got.target.rsplit(['/', '?']).next().unwrap() {
        "deny" => answer(401, &[("www-authenticate", "Basic"), ("x-why", "so"), ("set-cookie", "a=1")], "who are you?"),
        "broken" => answer(503, &[], "ignored"),
        "teapot" => answer(299, &[("content-type", "text/html")], "<p>"),
        _ => answer(
            200,
            &[
                ("x-user", "me"),
                ("x-kept", "changed"),
                ("host", "elsewhere"),
                ("x-envoy-max-retries", "9"),
                ("x-envoy-auth-headers-to-remove", "x-secret, host"),
            ],
            "",
        ),
    }
}

#[tokio::test]
async fn a_route_asks_by_http() {
    let (app, authorizer) = (Backend::named("app").await, Backend::with(judge).await);
    let mut rig = Rig::new().await;
    rig.cluster("app", &[app.port()]).await;
    rig.cluster("auth", &[authorizer.port()]).await;
    let routes = format!(
        "routes:\n- match: {{ prefix: /body }}\n  route: {{ cluster: app }}\n  {}\n- match: {{ prefix: /here }}\n  direct_response: {{ \
         status: 204 }}\n  {}\n- match: {{ prefix: /open }}\n  route: {{ cluster: app }}\n- match: {{ prefix: / }}\n  route: {{ \
         cluster: app }}\n  response_headers_to_add: [{{ header: {{ key: x-added, value: r }} }}]\n  {}\n",
        says(&by_http("with_request_body: { max_request_bytes: 5 }")),
        says(&by_http("")),
        says(&by_http("allowed_headers: { patterns: [{ exact: x-told }] }")),
    );
    serve(&mut rig, &[SLOT.to_owned()], &routes).await;
    let mut client = rig.client().await;
    let headers = [("authorization", "me"), ("x-told", "1"), ("x-secret", "2"), ("x-kept", "own")];
    let reply = client.ask("POST", "a.com", "/a/b?q=1", &headers, "text").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "app"));
    let asked = authorizer.last();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/check/a/b?q=1"));
    let mut names: Vec<&str> = asked.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["authorization", "content-length", "host", "x-told"]);
    assert_eq!(
        (&asked.headers["host"], &asked.headers["content-length"]),
        (&"a.com".parse().unwrap(), &"0".parse().unwrap())
    );
    let got = app.last();
    assert_eq!(got.body, "text");
    let header = |name: &str| got.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!((header("x-user"), header("x-kept"), header("host")), (Some("me"), Some("own"), Some("a.com")));
    assert_eq!((header("x-secret"), header("x-envoy-max-retries")), (None, None));

    // Refusals are the service's; an error is nobody's word.
    let denied = client.get("a.com", "/deny").await;
    assert_eq!((denied.status, denied.body.as_str()), (401, "who are you?"));
    assert_eq!((denied.header("www-authenticate"), denied.header("x-why")), (Some("Basic"), Some("so")));
    assert_eq!((denied.header("x-added"), denied.header("content-type")), (Some("r"), Some("text/plain")));
    let odd = client.get("a.com", "/teapot").await;
    assert_eq!((odd.status, odd.header("content-type"), odd.body.as_str()), (299, Some("text/html"), "<p>"));
    let failed = client.get("a.com", "/broken").await;
    assert_eq!((failed.status, failed.body.as_str()), (403, ""));
    assert_eq!(client.get("a.com", "/here/deny").await.status, 401);
    assert_eq!(client.get("a.com", "/here").await.status, 204);
    let asked = authorizer.got().len();
    assert_eq!(client.get("a.com", "/open").await.status, 200);
    assert_eq!(authorizer.got().len(), asked, "nobody is asked about it");

    // Bodies up to a bound, which reach the endpoint as well.
    assert_eq!(client.ask("POST", "a.com", "/body", &[], "12345").await.status, 200);
    assert_eq!((authorizer.last().body, app.last().body), (Bytes::from("12345"), Bytes::from("12345")));
    assert_eq!(authorizer.last().headers["x-envoy-auth-partial-body"], "false");
    let before = (authorizer.got().len(), app.got().len());
    assert_eq!(client.ask("POST", "a.com", "/body", &[], "123456").await.status, 413);
    assert_eq!((authorizer.got().len(), app.got().len()), before);
    assert_eq!(rig.metric("foregate_proxy_asked_denied_total"), 3.0);
    assert_eq!(rig.metric("foregate_proxy_asked_failed_total"), 1.0);
}

#[tokio::test]
async fn whoever_cannot_be_asked_lets_nobody_pass() {
    let app = Backend::named("app").await;
    let mut rig = Rig::new().await;
    rig.cluster("app", &[app.port()]).await;
    let routes = format!(
        "routes:\n- match: {{ prefix: / }}\n  route: {{ cluster: app }}\n  {}\n",
        says(&by_http("status_on_error: { code: ServiceUnavailable }"))
    );
    serve(&mut rig, &[SLOT.to_owned()], &routes).await;
    let mut client = rig.client().await;
    assert_eq!(client.get("a.com", "/").await.status, 503, "there is no cluster");
    rig.cluster("auth", &[]).await;
    assert_eq!(client.get("a.com", "/").await.status, 503, "there is no endpoint");
    let gone = Backend::named("gone").await.port();
    rig.cluster("auth", &[gone]).await;
    assert_eq!(client.get("a.com", "/").await.status, 503, "nobody listens");
    // A listener that has no place for it.
    serve(&mut rig, &[], &routes).await;
    assert_eq!(rig.client().await.get("a.com", "/").await.status, 500);
    assert!(app.got().is_empty());
}

#[tokio::test]
async fn a_listener_asks_before_requests_are_routed() {
    let (app, first) = (Backend::named("app").await, Backend::with(judge).await);
    let mut rig = Rig::new().await;
    rig.cluster("app", &[app.port()]).await;
    rig.cluster("auth", &[first.port()]).await;
    let mut questions = grpc(&mut rig, |check| match check.headers.get("x-user") {
        Some(user) => passes(auth::OkHttpResponse {
            headers: vec![
                set("x-tenant", &format!("of-{user}")),
                set(":authority", "elsewhere"),
                set("host", "elsewhere"),
            ],
            response_headers_to_add: vec![set("x-seen", "yes")],
            query_parameters_to_set: vec![foregate_envoy::pb::envoy::config::core::v3::QueryParameter {
                key: "by".to_owned(),
                value: "auth".to_owned(),
            }],
            ..Default::default()
        }),
        None => denies(403, "out of order"),
    })
    .await;
    let filter = |name: &str, config: String| format!("{{ name: {name}, disabled: true, typed_config: {config} }}");
    let filters = [
        filter("one", by_http("clear_route_cache: true")),
        filter("two", by_grpc("clear_route_cache: true")),
        SLOT.to_owned(),
    ];
    let switched = format!("typed_per_filter_config: {{ one: {ON}, two: {ON} }}\n");
    let host = format!(
        "{switched}routes:\n- match: {{ prefix: /, headers: [{{ name: x-tenant, string_match: {{ exact: of-me }} }}] }}\n  \
         route: {{ cluster: app }}\n"
    );
    serve(&mut rig, &filters, &host).await;
    let mut client = rig.client().await;
    let reply = client.get("a.com", "/x?a=1").await;
    assert_eq!((reply.status, reply.header("x-seen")), (200, Some("yes")), "{reply:?}");
    assert_eq!(app.last().target, "/x?a=1&by=auth");
    let asked = questions.recv().await.unwrap();
    assert_eq!((asked.method.as_str(), asked.path.as_str(), asked.host.as_str()), ("GET", "/x?a=1", "a.com"));
    assert_eq!(asked.headers.get(":path").map(String::as_str), Some("/x?a=1"));
    assert_eq!(client.get("a.com", "/deny").await.status, 401);
    assert!(questions.try_recv().is_err(), "who is refused by the first isn't asked about at the second");

    // Off where a virtual host doesn't say that they are on; one that isn't there lets nobody pass.
    let open = host.replace(&switched, "");
    rig.set(ResourceKind::VirtualHost, vec![virtual_host(&open)]).await;
    assert_eq!(client.get("a.com", "/deny").await.status, 404);
    let missing = host.replace("two:", "three:");
    rig.set(ResourceKind::VirtualHost, vec![virtual_host(&missing)]).await;
    assert_eq!(client.get("a.com", "/x").await.status, 500);
    serve(&mut rig, &[SLOT.to_owned()], &host).await;
    let reply = rig.client().await.ask("GET", "a.com", "/x", &[("x-tenant", "of-me")], "").await;
    assert_eq!(reply.status, 500, "whoever knows what a service would say doesn't pass either");
}

fn virtual_host(yaml: &str) -> foregate_xds::client::ClientResource {
    resource(ResourceKind::VirtualHost, "rc/*", &format!("name: rc/*\ndomains: [\"*\"]\n{yaml}"))
}

#[tokio::test]
async fn a_route_asks_by_grpc() {
    let app = Backend::named("app").await;
    let mut rig = Rig::new().await;
    rig.cluster("app", &[app.port()]).await;
    let mut questions = grpc(&mut rig, |check| match &*check.path {
        "/deny" => denies(402, "pay"),
        "/plain" => auth::CheckResponse { status: Some(status(7)), ..Default::default() },
        "/bad" => passes(auth::OkHttpResponse { headers: vec![set("a b", "c")], ..Default::default() }),
        _ => passes(auth::OkHttpResponse {
            headers: vec![set("x-user", "me"), append("x-list", "2"), append("x-new", "1")],
            headers_to_remove: vec!["x-secret".to_owned(), "host".to_owned(), "no name".to_owned()],
            ..Default::default()
        }),
    })
    .await;
    let routes = format!(
        "routes:\n- match: {{ prefix: /body }}\n  route: {{ cluster: app }}\n  {}\n- match: {{ prefix: / }}\n  route: {{ cluster: app \
         }}\n  {}\n",
        says(&by_grpc(
            "with_request_body: { max_request_bytes: 9 }, allowed_headers: { patterns: [{ exact: x-told }] }"
        )),
        says(&by_grpc("")),
    );
    serve(&mut rig, &[SLOT.to_owned()], &routes).await;
    let mut client = rig.client().await;
    let headers = [("x-list", "1"), ("x-secret", "2"), ("x-told", "3")];
    assert_eq!(client.ask("GET", "a.com", "/a", &headers, "").await.status, 200);
    let got = app.last().headers;
    let all = |name: &str| got.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        (all("x-user"), all("x-list"), all("host")),
        (vec!["me".into()], vec!["1".into(), "2".into()], vec!["a.com".into()])
    );
    assert!(all("x-new").is_empty() && all("x-secret").is_empty());
    let asked = questions.recv().await.unwrap();
    assert_eq!((asked.headers.get("x-secret").map(String::as_str), asked.size), (Some("2"), -1));
    assert_eq!((asked.body.as_str(), asked.scheme.as_str(), asked.protocol.as_str()), ("", "http", "HTTP/1.1"));

    assert_eq!(client.ask("POST", "a.com", "/body", &headers, "text").await.status, 200);
    let asked = questions.recv().await.unwrap();
    let mut names: Vec<&str> = asked.headers.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!((names, asked.body.as_str(), asked.size), (vec!["x-envoy-auth-partial-body", "x-told"], "text", 4));
    assert_eq!(app.last().body, "text");

    let denied = client.get("a.com", "/deny").await;
    assert_eq!((denied.status, denied.body.as_str(), denied.header("x-why")), (402, "pay", Some("so")));
    assert_eq!(client.get("a.com", "/plain").await.status, 403);
    assert_eq!(client.get("a.com", "/bad").await.status, 500, "half of its changes are none");
}

#[tokio::test]
async fn what_the_engine_cannot_do_is_refused() {
    let mut rig = Rig::new().await;
    let filter = |config: String| format!("{{ name: one, typed_config: {config} }}");
    let cors = r#"{ name: envoy.filters.http.cors, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors } }"#;
    for (filters, path) in [
        (vec![filter(by_http(""))], "typed_config.clear_route_cache: must be true"),
        (
            vec![filter(by_http("clear_route_cache: true, failure_mode_allow: true"))],
            "failure_mode_allow: lets everybody",
        ),
        (
            vec![filter(by_http("clear_route_cache: true, shadow_mode: true"))],
            "typed_config.shadow_mode: not supported",
        ),
        (
            vec![filter(by_http(
                "clear_route_cache: true, with_request_body: { max_request_bytes: 1, allow_partial_message: true }",
            ))],
            "with_request_body.allow_partial_message: not supported",
        ),
        (vec![cors.to_owned(), filter(by_http("clear_route_cache: true"))], "http_filters[1]: must come before"),
        (vec![SLOT.to_owned(), cors.to_owned()], "http_filters[1]: must come before"),
        (vec![SLOT.replace("SkipFilter", "SkipFilter, x: 1").replace(", x: 1", "")], ""),
    ] {
        let sent = response(
            ResourceKind::Listener,
            vec![resource(ResourceKind::Listener, "http-1", &listener(&filters))],
            &[],
        );
        match rig.send(sent).await {
            Err(why) => assert!(!path.is_empty() && why.contains(path), "{path}: {why}"),
            Ok(()) => assert!(path.is_empty(), "not refused: {path}"),
        }
    }
    let per_route = |config: &str| {
        let host = format!("routes:\n- match: {{ prefix: / }}\n  direct_response: {{ status: 200 }}\n  {config}\n");
        response(ResourceKind::VirtualHost, vec![virtual_host(&host)], &[])
    };
    let unknown = format!("typed_per_filter_config: {{ one: {ON} }}");
    for (config, path) in [
        (says(&by_http("clear_route_cache: true")), "clear_route_cache: not supported"),
        (says(&by_http("include_peer_certificate: true")), "include_peer_certificate: not supported"),
        (unknown, "typed_per_filter_config[\"one\"]: not supported"),
    ] {
        let why = rig.send(per_route(&config)).await.unwrap_err();
        assert!(why.contains(path), "{path}: {why}");
    }
}

type Question = auth::attribute_context::HttpRequest;

/// A service of gRPC behind the cluster `grpc`; tells what it was asked.
async fn grpc(
    rig: &mut Rig,
    judge: impl Fn(&Question) -> auth::CheckResponse + Clone + Send + Sync + 'static,
) -> UnboundedReceiver<Question> {
    let (tell, told) = unbounded_channel();
    let service = Backend2::with(
        Builder::new(),
        move |request: http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>| {
            let (judge, tell) = (judge.clone(), tell.clone());
            async move {
                let (parts, mut body) = request.into_parts();
                let Ok(body) = read_all(&mut body).await else { return };
                let body: &[u8] = body.as_ref();
                assert_eq!(parts.uri.path(), "/envoy.service.auth.v3.Authorization/Check");
                assert_eq!(parts.uri.authority().map(|a| a.as_str()), Some("auth.shop"));
                let check = auth::CheckRequest::decode(&body[5..]).unwrap();
                let question = check.attributes.unwrap().request.unwrap().http.unwrap();
                let message = judge(&question).encode_to_vec();
                let _ = tell.send(question);
                let mut framed = vec![0];
                framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
                framed.extend_from_slice(&message);
                let mut head = Response::new(());
                head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
                let Ok(mut stream) = respond.send_response(head, false) else { return };
                let _ = stream.send_data(framed.into(), false);
                let _ = stream.send_trailers(HeaderMap::from_iter([(
                    "grpc-status".parse().unwrap(),
                    HeaderValue::from_static("0"),
                )]));
            }
        },
    )
    .await;
    let http2 = r#"typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    explicit_http_config: { http2_protocol_options: {} }"#;
    rig.set(ResourceKind::Cluster, vec![eds_cluster("grpc", http2)]).await;
    rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("grpc", &[service.port()])]).await;
    // It stops with the test.
    std::mem::forget(service);
    told
}

fn status(code: i32) -> foregate_envoy::pb::google::rpc::Status {
    foregate_envoy::pb::google::rpc::Status { code, ..Default::default() }
}

fn passes(ok: auth::OkHttpResponse) -> auth::CheckResponse {
    let response = Some(auth::check_response::HttpResponse::OkResponse(ok));
    auth::CheckResponse { status: Some(status(0)), http_response: response, ..Default::default() }
}

fn denies(code: i32, body: &str) -> auth::CheckResponse {
    let denied = auth::DeniedHttpResponse {
        status: Some(foregate_envoy::pb::envoy::r#type::v3::HttpStatus { code }),
        headers: vec![set("x-why", "so")],
        body: body.to_owned(),
    };
    let response = Some(auth::check_response::HttpResponse::DeniedResponse(denied));
    auth::CheckResponse { status: Some(status(7)), http_response: response, ..Default::default() }
}

fn set(name: &str, value: &str) -> foregate_envoy::pb::envoy::config::core::v3::HeaderValueOption {
    use foregate_envoy::pb::envoy::config::core::v3 as core;
    let header = core::HeaderValue { key: name.to_owned(), value: value.to_owned(), ..Default::default() };
    core::HeaderValueOption { header: Some(header), ..Default::default() }
}

#[allow(deprecated, reason = "it is what services send")]
fn append(name: &str, value: &str) -> foregate_envoy::pb::envoy::config::core::v3::HeaderValueOption {
    let append = Some(foregate_envoy::pb::google::protobuf::BoolValue { value: true });
    foregate_envoy::pb::envoy::config::core::v3::HeaderValueOption { append, ..set(name, value) }
}
