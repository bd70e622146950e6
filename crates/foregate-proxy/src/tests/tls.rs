//! HTTPS: names choose filter chains, certificates are replaced under running connections.

use std::net::SocketAddr;
use std::sync::Arc;

use foregate_envoy::ResourceKind;
use foregate_xds::client::ClientResource;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::Client;
use super::client2::Client2;
use super::resources::{resource, response, shell};
use super::rig::Rig;

pub(super) struct Certificate {
    pub(super) chain: String,
    pub(super) key: String,
}

pub(super) fn certificate(names: &[&str]) -> Certificate {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    Certificate { chain: made.cert.pem(), key: made.signing_key.serialize_pem() }
}

pub(super) fn secret(name: &str, certificate: &Certificate) -> ClientResource {
    let indent = |text: &str| text.lines().map(|line| format!("      {line}\n")).collect::<String>();
    let yaml = format!(
        "name: {name}\ntls_certificate:\n  certificate_chain:\n    inline_string: |\n{}  private_key:\n    inline_string: |\n{}",
        indent(&certificate.chain),
        indent(&certificate.key)
    );
    resource(ResourceKind::Secret, name, &yaml)
}

pub(super) fn chain(name: &str, names: &str, secret: &str) -> String {
    format!(
        r#"
- name: {name}
  filter_chain_match: {{ server_names: {names} }}
  transport_socket:
    name: envoy.transport_sockets.tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
      common_tls_context:
        alpn_protocols: [http/1.1]
        tls_certificate_sds_secret_configs: [{{ name: {secret}, sds_config: {{ ads: {{}}, resource_api_version: V3 }} }}]
  filters:
  - name: envoy.filters.network.http_connection_manager
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: x
      rds: {{ config_source: {{ ads: {{}}, resource_api_version: V3 }}, route_config_name: {name} }}
      http_filters:
      - name: envoy.filters.http.router
        typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
"#
    )
}

pub(super) fn listener(chains: &str) -> ClientResource {
    let yaml = format!(
        "name: http-1\naddress: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}\n\
         listener_filters:\n- name: envoy.filters.listener.tls_inspector\n  typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }}\nfilter_chains:{chains}"
    );
    resource(ResourceKind::Listener, "http-1", &yaml)
}

/// Says who answers: the route configuration's name as a header.
pub(super) fn routes(name: &str) -> ClientResource {
    let yaml = format!(
        "name: {name}/*\ndomains: [\"*\"]\nroutes:\n- match: {{ prefix: / }}\n  direct_response: {{ status: 200, body: {{ inline_string: {name} }} }}"
    );
    resource(ResourceKind::VirtualHost, &format!("{name}/*"), &yaml)
}

pub(super) async fn connect(address: SocketAddr, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
    connect_as(address, name, &["http/1.1"], None).await
}

/// Offers these protocols, and shows this certificate when it is asked for one.
pub(super) async fn connect_as(
    address: SocketAddr,
    name: &str,
    alpn: &[&str],
    shown: Option<&Certificate>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything));
    let mut config = match shown {
        Some(shown) => {
            use rustls_pki_types::pem::PemObject;
            let chain = rustls_pki_types::CertificateDer::pem_slice_iter(shown.chain.as_bytes());
            let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain.collect::<Result<_, _>>().unwrap(), key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
}

/// A handshake over some other stream.
pub(super) async fn connect_over<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    name: &str,
) -> std::io::Result<TlsStream<S>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// The certificate that a connection was made with.
fn peer(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn der(certificate: &Certificate) -> Vec<u8> {
    use rustls_pki_types::pem::PemObject;
    rustls_pki_types::CertificateDer::from_pem_slice(certificate.chain.as_bytes()).unwrap().to_vec()
}

#[derive(Debug)]
struct Anything;

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

async fn rig(chains: &[(&str, &str, &str)]) -> Rig {
    let mut rig = Rig::new().await;
    let text: String = chains.iter().map(|(name, names, secret)| chain(name, names, secret)).collect();
    rig.set(ResourceKind::Listener, vec![listener(&text)]).await;
    for (name, _, _) in chains {
        rig.set(ResourceKind::RouteConfiguration, vec![shell(name)]).await;
        rig.set(ResourceKind::VirtualHost, vec![routes(name)]).await;
    }
    rig
}

#[tokio::test]
async fn names_choose_the_chain_and_its_certificate() {
    let (one, two, three) = (certificate(&["a.example.com"]), certificate(&["*.example.com"]), certificate(&["x"]));
    let mut rig =
        rig(&[("exact", "[a.example.com]", "s1"), ("wild", "[\"*.example.com\"]", "s2"), ("rest", "[]", "s3")]).await;
    rig.set(ResourceKind::Secret, vec![secret("s1", &one), secret("s2", &two), secret("s3", &three)]).await;
    let address = rig.address("http-1");
    for (name, want, certificate) in [
        ("a.example.com", "exact", &one),
        ("A.example.com", "exact", &one),
        ("b.example.com", "wild", &two),
        ("c.b.example.com", "wild", &two),
        ("example.com", "rest", &three),
        ("other", "rest", &three),
    ] {
        let stream = connect(address, name).await.unwrap();
        assert_eq!(peer(&stream), der(certificate), "{name}");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(Client::over(stream).get(name, "/").await.body, want, "{name}");
    }
}

#[tokio::test]
async fn a_replaced_certificate_counts_from_the_next_handshake_on() {
    let (old, new) = (certificate(&["a"]), certificate(&["a"]));
    let mut rig = rig(&[("rc", "[]", "s")]).await;
    rig.set(ResourceKind::Secret, vec![secret("s", &old)]).await;
    let address = rig.address("http-1");
    let stream = connect(address, "a").await.unwrap();
    assert_eq!(peer(&stream), der(&old));
    let mut client = Client::over(stream);
    assert_eq!(client.get("a", "/").await.status, 200);
    rig.set(ResourceKind::Secret, vec![secret("s", &new)]).await;
    assert_eq!(client.get("a", "/").await.status, 200, "the old connection goes on");
    assert_eq!(peer(&connect(address, "a").await.unwrap()), der(&new));
}

#[tokio::test]
async fn bad_certificates_are_refused_without_a_word_of_the_key() {
    let (one, two) = (certificate(&["a"]), certificate(&["b"]));
    let mut rig = rig(&[("rc", "[]", "s")]).await;
    rig.set(ResourceKind::Secret, vec![secret("s", &one)]).await;
    let mixed = Certificate { chain: one.chain.clone(), key: two.key.clone() };
    let no_key = Certificate { chain: one.chain.clone(), key: "nothing".into() };
    let no_chain = Certificate { chain: "nothing".into(), key: one.key.clone() };
    for (bad, want) in [
        (&mixed, "s: tls_certificate: the private key doesn't belong to the certificate"),
        (&no_key, "s: tls_certificate: private_key: holds no PEM private key"),
        (&no_chain, "s: tls_certificate: certificate_chain: holds no PEM certificate"),
    ] {
        let refused = rig.send(response(ResourceKind::Secret, vec![secret("s", bad)], &[])).await.unwrap_err();
        assert_eq!(refused, want);
    }
    let stream = connect(rig.address("http-1"), "a").await.unwrap();
    assert_eq!(peer(&stream), der(&one), "the last good one serves on");
}

#[tokio::test]
async fn a_name_without_a_chain_gets_no_connection() {
    let one = certificate(&["a"]);
    let mut rig = rig(&[("rc", "[a]", "s")]).await;
    rig.set(ResourceKind::Secret, vec![secret("s", &one)]).await;
    let address = rig.address("http-1");
    assert!(connect(address, "b").await.is_err());
    assert!(connect(address, "a").await.is_ok());
    super::rig::until("it is counted", || rig.metric("foregate_proxy_tls_handshake_failures_total") == 1.0).await;
    let mut plain = Client::to(address).await;
    plain.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(plain.reply(false).await.is_none(), "HTTP on an HTTPS port gets no HTTP");
}

#[tokio::test]
async fn the_handshake_agrees_on_a_protocol() {
    let one = certificate(&["a"]);
    let mut rig = Rig::new().await;
    let text = chain("rc", "[]", "s").replace("[http/1.1]", "[h2, http/1.1]");
    rig.set(ResourceKind::Listener, vec![listener(&text)]).await;
    rig.set(ResourceKind::RouteConfiguration, vec![shell("rc")]).await;
    rig.set(ResourceKind::VirtualHost, vec![routes("rc")]).await;
    rig.set(ResourceKind::Secret, vec![secret("s", &one)]).await;
    let address = rig.address("http-1");
    for (offer, agreed) in [
        (&["h2", "http/1.1"] as &[&str], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let stream = connect_as(address, "a", offer, None).await.unwrap();
        let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(alpn.as_deref(), agreed.map(str::as_bytes), "{offer:?}");
        if agreed == Some("h2") {
            assert_eq!(Client2::over(stream).await.get("a", "/").await.text(), "rc");
        } else {
            assert_eq!(Client::over(stream).get("a", "/").await.body, "rc", "{offer:?}");
        }
    }
    // Who offers nothing may speak HTTP/2 all the same.
    let stream = connect_as(address, "a", &[], None).await.unwrap();
    assert_eq!(Client2::over(stream).await.get("a", "/").await.text(), "rc");
    assert!(connect_as(address, "a", &["h3"], None).await.is_err(), "nothing in common");
}
