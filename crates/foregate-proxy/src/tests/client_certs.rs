//! Clients that must, or may, show a certificate.

use std::net::SocketAddr;

use foregate_envoy::ResourceKind;
use foregate_xds::client::ClientResource;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::client::Client;
use super::resources::{resource, shell};
use super::rig::{Rig, until};
use super::tls::{Certificate, certificate, chain, connect_as, listener, routes, secret};

/// Who signs certificates.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, name: &str) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        Certificate { chain: signed.pem(), key: key.serialize_pem() }
    }
}

fn trust(name: &str, ca: &Ca) -> ClientResource {
    let pem: String = ca.pem.lines().map(|line| format!("      {line}\n")).collect();
    let yaml = format!("name: {name}\nvalidation_context:\n  trusted_ca:\n    inline_string: |\n{pem}");
    resource(ResourceKind::Secret, name, &yaml)
}

const BY_SECRET: &str =
    "validation_context_sds_secret_config: { name: ca, sds_config: { ads: {}, resource_api_version: V3 } }";

/// A rig whose chain asks for certificates like this.
async fn rig(required: bool, validation: &str) -> Rig {
    let mut rig = Rig::new().await;
    let text = chain("rc", "[]", "s").replace(
        "      common_tls_context:\n",
        &format!("      require_client_certificate: {required}\n      common_tls_context:\n        {validation}\n"),
    );
    rig.set(ResourceKind::Listener, vec![listener(&text)]).await;
    rig.set(ResourceKind::RouteConfiguration, vec![shell("rc")]).await;
    rig.set(ResourceKind::VirtualHost, vec![routes("rc")]).await;
    rig.set(ResourceKind::Secret, vec![secret("s", &certificate(&["a"]))]).await;
    rig
}

/// Whether a client with this certificate gets an answer. In TLS 1.3 it learns only later that it isn't let in.
async fn is_served(address: SocketAddr, shown: Option<&Certificate>) -> bool {
    let Ok(mut stream) = connect_as(address, "a", &["http/1.1"], shown).await else { return false };
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(super::client::LIMIT, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("an answer, or an end");
    answer.starts_with(b"HTTP/1.1 200")
}

#[tokio::test]
async fn only_whom_the_ca_has_signed_is_let_in() {
    let (ca, other) = (Ca::new(), Ca::new());
    let mut rig = rig(true, BY_SECRET).await;
    rig.set(ResourceKind::Secret, vec![trust("ca", &ca)]).await;
    let address = rig.address("http-1");
    assert!(is_served(address, Some(&ca.sign("client"))).await);
    assert!(!is_served(address, None).await, "without a certificate");
    assert!(!is_served(address, Some(&other.sign("client"))).await, "of another CA");
    assert!(!is_served(address, Some(&certificate(&["client"]))).await, "of nobody");
    until("they are counted", || rig.metric("foregate_proxy_tls_handshake_failures_total") == 3.0).await;
    // A replaced CA counts from the next handshake on.
    rig.set(ResourceKind::Secret, vec![trust("ca", &other)]).await;
    assert!(!is_served(address, Some(&ca.sign("client"))).await, "the CA has been replaced");
    assert!(is_served(address, Some(&other.sign("client"))).await);
    rig.remove(ResourceKind::Secret, &["ca"]).await;
    assert!(!is_served(address, Some(&other.sign("client"))).await, "nobody is trusted");
}

#[tokio::test]
async fn sessions_are_no_way_around_it() {
    let ca = Ca::new();
    let mut rig = rig(true, BY_SECRET).await;
    rig.set(ResourceKind::Secret, vec![trust("ca", &ca)]).await;
    let stream = connect_as(rig.address("http-1"), "a", &["http/1.1"], Some(&ca.sign("client"))).await.unwrap();
    let mut client = Client::over(stream);
    assert_eq!(client.get("a", "/").await.status, 200);
    assert_eq!(client.stream.get_ref().1.tls13_tickets_received(), 0);
}

#[tokio::test]
async fn who_may_show_one_must_show_a_good_one() {
    let ca = Ca::new();
    let mut rig = rig(false, BY_SECRET).await;
    rig.set(ResourceKind::Secret, vec![trust("ca", &ca)]).await;
    let address = rig.address("http-1");
    assert!(is_served(address, None).await);
    assert!(is_served(address, Some(&ca.sign("client"))).await);
    assert!(!is_served(address, Some(&certificate(&["client"]))).await);
}

#[tokio::test]
async fn anybody_may_be_trusted_and_names_may_count() {
    let open = rig(true, "validation_context: { trust_chain_verification: ACCEPT_UNTRUSTED }").await;
    assert!(is_served(open.address("http-1"), Some(&certificate(&["client"]))).await);
    assert!(!is_served(open.address("http-1"), None).await);
    let ca = Ca::new();
    let pem = ca.pem.replace('\n', "\\n");
    let named = rig(
        true,
        &format!(
            "validation_context: {{ trusted_ca: {{ inline_string: \"{pem}\" }}, match_typed_subject_alt_names: [{{ \
             san_type: DNS, matcher: {{ exact: good.example.com }} }}] }}"
        ),
    )
    .await;
    assert!(is_served(named.address("http-1"), Some(&ca.sign("good.example.com"))).await);
    assert!(!is_served(named.address("http-1"), Some(&ca.sign("bad.example.com"))).await);
}

#[tokio::test]
async fn a_requirement_without_trust_is_refused() {
    let mut rig = Rig::new().await;
    let text = chain("rc", "[]", "s")
        .replace("      common_tls_context:\n", "      require_client_certificate: true\n      common_tls_context:\n");
    let response = super::resources::response(ResourceKind::Listener, vec![listener(&text)], &[]);
    let refused = rig.send(response).await.unwrap_err();
    assert!(refused.ends_with("require_client_certificate: needs a validation context: whom to trust"), "{refused}");
}
