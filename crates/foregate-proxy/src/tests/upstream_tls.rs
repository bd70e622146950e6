//! TLS to endpoints: whom the engine trusts, and how it shows itself.

use std::sync::Arc;

use foregate_envoy::ResourceKind;
use foregate_xds::client::ClientResource;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_rustls::TlsAcceptor;

use super::client::LIMIT;
use super::resources::{eds_cluster, endpoints, resource};
use super::rig::Rig;
use super::tcp::{tcp_listener, tcp_proxy};
use super::upstream2::options;

const TO_A: &str = "- { match: { prefix: / }, route: { cluster: a } }";

/// Who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its key.
struct Identity {
    chain: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, names: Vec<SanType>) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names;
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { chain, key: key.serialize_pem() }
    }

    fn named(&self, name: &str) -> Identity {
        self.sign(vec![SanType::DnsName(name.try_into().unwrap())])
    }
}

/// A server that says what was asked of it: name and protocol; every connection carries one request.
async fn server(identity: &Identity, clients: Option<&Authority>) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let session = stream.get_ref().1;
                let name = session.server_name().unwrap_or("-").to_owned();
                let resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
                let protocol = String::from_utf8(session.alpn_protocol().unwrap_or(b"-").to_vec()).unwrap();
                let text = format!("{name} {protocol}{}", if resumed { " resumed" } else { "" });
                if protocol == "h2" {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        let response =
                            http::Response::builder().header("x-scheme", request.uri().scheme_str().unwrap());
                        let mut out = respond.send_response(response.body(()).unwrap(), false).unwrap();
                        out.send_data(text.clone().into(), true).unwrap();
                    }
                    return;
                }
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", text.len());
                let _ = stream.write_all(format!("{head}{text}").as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    port
}

/// A text in JSON's form, which YAML takes.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// A cluster with these fields of `UpstreamTlsContext`, and these of its common part.
fn cluster(upstream: &str, common: &str, more: &str) -> ClientResource {
    let socket = format!(
        "transport_socket: {{ name: tls, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, {upstream} \
         common_tls_context: {{ {common} }} }} }}\n{more}"
    );
    eds_cluster("a", &socket)
}

fn inline_ca(authority: &Authority, more: &str) -> String {
    format!("validation_context: {{ trusted_ca: {{ inline_string: {} }} {more} }}", quoted(&authority.pem))
}

fn ca_secret(authority: &Authority) -> ClientResource {
    let yaml =
        format!("name: ca\nvalidation_context: {{ trusted_ca: {{ inline_string: {} }} }}", quoted(&authority.pem));
    resource(ResourceKind::Secret, "ca", &yaml)
}

const SDS: &str = "sds_config: { ads: {}, resource_api_version: V3 }";

async fn rig(port: u16, cluster: ClientResource) -> Rig {
    let mut rig = Rig::with(crate::EngineOptions { workers: 1, ..crate::EngineOptions::default() }).await;
    rig.set(ResourceKind::Cluster, vec![cluster]).await;
    rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("a", &[port])]).await;
    rig.serve(TO_A).await;
    rig
}

/// What a request says: the body, or the status if it isn't 200.
async fn ask(rig: &Rig) -> Result<String, u16> {
    let reply = rig.client().await.get("client.test", "/").await;
    if reply.status == 200 { Ok(reply.body) } else { Err(reply.status) }
}

#[tokio::test]
async fn endpoints_are_trusted_by_their_ca_and_name() {
    let (ca, other) = (Authority::new(), Authority::new());
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
    let names = || vec![dns("a.test"), dns("*.w.test"), uri("spiffe://x/a"), SanType::IpAddress([10, 1, 2, 3].into())];
    let port = server(&ca.sign(names()), None).await;
    let mut rig = rig(port, cluster("sni: a.test,", &inline_ca(&ca, ""), "")).await;
    assert_eq!(ask(&rig).await, Ok("a.test http/1.1".to_owned()));
    let san = |kind: &str, matcher: &str| {
        inline_ca(&ca, &format!(", match_typed_subject_alt_names: [{{ san_type: {kind}, matcher: {{ {matcher} }} }}]"))
    };
    for (upstream, common, want) in [
        ("sni: a.test,", inline_ca(&other, ""), Err(503)),
        ("sni: b.test,", inline_ca(&ca, ""), Err(503)),
        ("sni: b.test,", inline_ca(&ca, ", trust_chain_verification: ACCEPT_UNTRUSTED"), Ok("b.test")),
        ("", inline_ca(&ca, ""), Ok("-")),
        ("", inline_ca(&other, ""), Err(503)),
        ("sni: b.test,", san("DNS", "exact: a.test"), Ok("b.test")),
        ("sni: b.test,", san("DNS", "exact: c.test"), Err(503)),
        ("sni: b.test,", san("DNS", "exact: one.w.test"), Ok("b.test")),
        ("sni: b.test,", san("DNS", "exact: one.two.w.test"), Err(503)),
        ("sni: b.test,", san("DNS", "suffix: .test"), Ok("b.test")),
        ("sni: b.test,", san("DNS", "prefix: b."), Err(503)),
        ("sni: b.test,", san("URI", "exact: \"spiffe://x/a\""), Ok("b.test")),
        ("sni: b.test,", san("URI", "exact: \"spiffe://x/b\""), Err(503)),
        ("", san("IP_ADDRESS", "exact: 10.1.2.3"), Ok("-")),
        ("", san("IP_ADDRESS", "exact: 10.1.2.4"), Err(503)),
        ("sni: a.test, auto_sni_san_validation: true,", inline_ca(&ca, ""), Ok("a.test")),
        ("sni: b.test, auto_sni_san_validation: true,", san("DNS", "exact: a.test"), Err(503)),
    ] {
        rig.set(ResourceKind::Cluster, vec![cluster(upstream, &common, "")]).await;
        let want = want.map(|name: &str| format!("{name} http/1.1"));
        assert_eq!(ask(&rig).await, want, "{upstream} {}", common.split("trusted_ca").last().unwrap_or_default());
    }
    assert!(rig.metric("foregate_proxy_upstream_tls_failures_total") >= 7.0);
}

#[tokio::test]
async fn a_handshake_may_decide_the_protocol() {
    let ca = Authority::new();
    let port = server(&ca.named("a.test"), None).await;
    let http2 = options("explicit_http_config: { http2_protocol_options: {} }");
    let auto = options("auto_config: { http2_protocol_options: {} }");
    let rig = rig(port, cluster("sni: a.test,", &inline_ca(&ca, ""), &auto)).await;
    assert_eq!(ask(&rig).await, Ok("a.test h2".to_owned()));
    for (more, want) in [(&*http2, "a.test h2"), ("", "a.test http/1.1")] {
        let mut rig = self::rig(port, cluster("sni: a.test,", &inline_ca(&ca, ""), more)).await;
        assert_eq!(ask(&rig).await, Ok(want.to_owned()));
        rig.set(ResourceKind::Cluster, vec![cluster("sni: a.test,", &inline_ca(&ca, ""), &auto)]).await;
        assert_eq!(ask(&rig).await, Ok("a.test h2".to_owned()), "connections of the old kind are no use");
    }
}

#[tokio::test]
async fn trust_comes_as_a_secret_and_may_be_replaced() {
    let (ca, other) = (Authority::new(), Authority::new());
    let port = server(&ca.named("a.test"), None).await;
    let alone = format!("validation_context_sds_secret_config: {{ name: ca, {SDS} }}");
    let together = format!(
        "combined_validation_context: {{ default_validation_context: {{ match_typed_subject_alt_names: [{{ san_type: \
         DNS, matcher: {{ exact: a.test }} }}] }}, {alone} }}"
    );
    for common in [alone, together] {
        let mut rig = rig(port, cluster("sni: a.test,", &common, "")).await;
        assert_eq!(ask(&rig).await, Err(503), "nobody is trusted before the secret is there");
        rig.set(ResourceKind::Secret, vec![ca_secret(&ca)]).await;
        assert_eq!(ask(&rig).await, Ok("a.test http/1.1".to_owned()));
        assert_eq!(ask(&rig).await, Ok("a.test http/1.1 resumed".to_owned()));
        rig.set(ResourceKind::Secret, vec![ca_secret(&other)]).await;
        assert_eq!(ask(&rig).await, Err(503), "and no session gets around it");
        rig.remove(ResourceKind::Secret, &["ca"]).await;
        assert_eq!(ask(&rig).await, Err(503));
    }
}

#[tokio::test]
async fn the_engine_shows_its_certificate() {
    let (ca, clients) = (Authority::new(), Authority::new());
    let port = server(&ca.named("a.test"), Some(&clients)).await;
    let own = clients.named("engine.test");
    let common = format!("tls_certificate_sds_secret_configs: [{{ name: own, {SDS} }}], {}", inline_ca(&ca, ""));
    let mut rig = rig(port, cluster("sni: a.test,", &common, "")).await;
    assert_eq!(ask(&rig).await, Err(503), "there is none yet");
    let yaml = format!(
        "name: own\ntls_certificate: {{ certificate_chain: {{ inline_string: {} }}, private_key: {{ inline_string: {} }} }}",
        quoted(&own.chain),
        quoted(&own.key)
    );
    rig.set(ResourceKind::Secret, vec![resource(ResourceKind::Secret, "own", &yaml)]).await;
    assert_eq!(ask(&rig).await, Ok("a.test http/1.1".to_owned()));
    rig.set(ResourceKind::Cluster, vec![cluster("sni: a.test,", &inline_ca(&ca, ""), "")]).await;
    assert_eq!(ask(&rig).await, Err(503), "the endpoint lets nobody in without one");
}

#[tokio::test]
async fn the_endpoints_name_may_be_the_one_that_is_asked_for() {
    let ca = Authority::new();
    let port = server(&ca.named("own.test"), None).await;
    let mut rig =
        rig(port, cluster("auto_host_sni: true, auto_sni_san_validation: true,", &inline_ca(&ca, ""), "")).await;
    assert_eq!(ask(&rig).await, Err(503), "an endpoint without a name is asked for none");
    let yaml = format!(
        "cluster_name: a\nendpoints:\n- lb_endpoints: [{{ endpoint: {{ hostname: own.test, address: {{ socket_address: {{ \
         address: 127.0.0.1, port_value: {port} }} }} }} }}]"
    );
    let named = resource(ResourceKind::ClusterLoadAssignment, "a", &yaml);
    rig.set(ResourceKind::ClusterLoadAssignment, vec![named]).await;
    assert_eq!(ask(&rig).await, Ok("own.test http/1.1".to_owned()));
}

#[tokio::test]
async fn an_endpoint_may_be_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nunix").await;
        }
    });
    let mut rig = rig(1, eds_cluster("a", "")).await;
    let yaml = format!(
        "cluster_name: a\nendpoints:\n- lb_endpoints: [{{ endpoint: {{ address: {{ pipe: {{ path: {} }} }} }} }}]",
        path.display()
    );
    let piped = resource(ResourceKind::ClusterLoadAssignment, "a", &yaml);
    rig.set(ResourceKind::ClusterLoadAssignment, vec![piped]).await;
    assert_eq!(ask(&rig).await, Ok("unix".to_owned()));
    drop(directory);
    assert_eq!(ask(&rig).await, Err(503));
}

#[tokio::test]
async fn the_scheme_is_the_clients_or_the_endpoints() {
    let ca = Authority::new();
    let port = server(&ca.named("a.test"), None).await;
    let http2 = options("explicit_http_config: { http2_protocol_options: {} }");
    let mut rig = rig(port, cluster("sni: a.test,", &inline_ca(&ca, ""), &http2)).await;
    for (http, want) in [("", "http"), ("scheme_header_transformation: { match_upstream: true }", "https")] {
        rig.serve_with(http, TO_A).await;
        let reply = rig.client().await.get("client.test", "/").await;
        assert_eq!(reply.header("x-scheme"), Some(want), "{http}");
    }
}

#[tokio::test]
async fn bytes_pass_in_tls() {
    let ca = Authority::new();
    let port = server(&ca.named("a.test"), None).await;
    let mut rig = rig(port, cluster("sni: a.test,", &inline_ca(&ca, ""), "")).await;
    let chain = format!("\n- name: plain{}", tcp_proxy("cluster: a"));
    rig.set(ResourceKind::Listener, vec![tcp_listener("tcp-1", &chain)]).await;
    let mut client = TcpStream::connect(rig.address("tcp-1")).await.unwrap();
    client.write_all(b"anything").await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(LIMIT, client.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(text.ends_with("\r\n\r\na.test -"), "no protocol is offered: {text}");
    // An endpoint that isn't trusted gets nothing.
    rig.set(ResourceKind::Cluster, vec![cluster("sni: b.test,", &inline_ca(&ca, ""), "")]).await;
    let mut client = TcpStream::connect(rig.address("tcp-1")).await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(LIMIT, client.read_to_string(&mut text)).await.unwrap().unwrap();
    assert_eq!(text, "");
    super::rig::until("it is counted", || rig.metric("foregate_proxy_upstream_tls_failures_total") == 1.0).await;
}
