//! HTTPS listeners of one port: a request for the host name of another listener is on the wrong connection (GEP-3567).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::net::SocketAddr;
use std::sync::Arc;

use harness::envoy::{self, DataDir, NEW};
use harness::{Foregate, apply, backend, eventually, gateway_address, route, service};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

type Sender = SendRequest<Empty<Bytes>>;

/// An HTTP/2 connection for one name.
async fn connect(address: SocketAddr, tls: &TlsConnector, name: &'static str) -> Option<Sender> {
    let stream = TcpStream::connect(address).await.ok()?;
    let stream = tls.connect(ServerName::try_from(name).unwrap(), stream).await.ok()?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}

async fn status(sender: &Sender, host: &str) -> StatusCode {
    let request = Request::get(format!("https://{host}/")).body(Empty::new()).unwrap();
    sender.clone().send_request(request).await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_another_listeners_host_is_misdirected() {
    misdirected("127.122.0.0/25", "builtin").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_on_envoy() {
    misdirected("127.122.0.128/25", NEW).await;
}

async fn misdirected(pool: &str, engine: &str) {
    let dir = DataDir::new();
    envoy::install_all(dir.path());
    let foregate = Foregate::start(dir.path(), pool, &[]);
    let client = foregate.client().await;
    envoy::set_template(&client, engine).await;
    // One certificate is good for all names: a client may use a connection for any of them.
    let names = ["one.test", "*.wild.test", "two.wild.test", "three.wild.test", "other.test"];
    let made = rcgen::generate_simple_self_signed(names.map(str::to_owned)).unwrap();
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "all" }, "type": "kubernetes.io/tls",
        "stringData": { "tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem() },
    });
    let listener = |(name, hostname): (&str, &str)| {
        format!(
            "  - {{name: {name}, port: 8443, protocol: HTTPS, hostname: '{hostname}', \
             tls: {{certificateRefs: [{{name: all}}]}}}}\n"
        )
    };
    let listeners: String =
        [("one", "one.test"), ("wild", "*.wild.test"), ("two", "two.wild.test")].map(listener).concat();
    let gateway = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: web}}\n\
         spec:\n  gatewayClassName: foregate\n  listeners:\n{listeners}"
    );
    let yaml = [secret.to_string(), service("s", &[backend::start("s").await]), gateway, route("r", "web", "/", "s")];
    for yaml in yaml {
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8443);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let tls = TlsConnector::from(Arc::new(tls));
    eventually("HTTPS serves", || async {
        let sender = connect(address, &tls, "one.test").await?;
        (status(&sender, "one.test").await == 200).then_some(())
    })
    .await;
    // SNI, host, status
    for (name, host, expected) in [
        ("one.test", "one.test", 200),
        ("one.test", "two.wild.test", 421),
        ("one.test", "three.wild.test", 421),
        ("one.test", "other.test", 404),
        ("three.wild.test", "three.wild.test", 200),
        ("three.wild.test", "four.wild.test", 200),
        ("three.wild.test", "two.wild.test", 421),
        ("three.wild.test", "one.test", 421),
        ("two.wild.test", "two.wild.test", 200),
        ("two.wild.test", "three.wild.test", 421),
    ] {
        let sender = connect(address, &tls, name).await.unwrap();
        assert_eq!(status(&sender, host).await, expected, "{host} on a connection for {name}");
    }
}
