//! Listeners from the objects to the answers: a ListenerSet of another namespace, a Gateway that asks its clients for
//! certificates, one with all kinds of conflicts; and what stands for a Gateway in the workload cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::net::SocketAddr;
use std::sync::Arc;

use foregate_api::gateway::ListenerSet;
use harness::{Foregate, apply, backend, condition, eventually, gateway_address, http, service};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const GATEWAY: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: team, labels: {listeners: allowed}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: foregate
  allowedListeners: {namespaces: {from: Selector, selector: {matchLabels: {listeners: allowed}}}}
  infrastructure: {labels: {team: a}, annotations: {example.com/cost: '1'}}
  listeners: [{name: http, port: 8080, protocol: HTTP, hostname: own.test}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: more, namespace: team}
spec:
  parentRef: {name: web, namespace: default}
  listeners:
  - {name: http, port: 8080, protocol: HTTP, hostname: set.test, allowedRoutes: {namespaces: {from: All}}}
  - {name: other-port, port: 8081, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all}
spec:
  parentRefs: [{name: web}, {group: gateway.networking.k8s.io, kind: ListenerSet, name: more, namespace: team}]
  rules: [{backendRefs: [{name: s, port: 80}]}]
";

/// Whether the ListenerSet has this status of a condition, for this reason.
async fn says(sets: &Api<ListenerSet>, kind: &str, status: &str, reason: &str) -> Option<()> {
    let set = serde_json::to_value(sets.get("more").await.ok()?).ok()?;
    let (is, why, _) = condition(&set, "/status/conditions", kind)?;
    (is == status && why == reason).then_some(())
}

async fn answers(address: SocketAddr, host: &str, expected: u16) {
    eventually(&format!("{host} is answered {expected}"), || async {
        (http::get(address, host, "/").await.ok()?.status() == expected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_serves_at_its_gateways_address_while_it_is_let_in() {
    let dir = tempfile::tempdir().unwrap();
    let foregate = Foregate::start(dir.path(), "127.123.0.0/24", &[]);
    let client = foregate.client().await;
    apply(&client, &service("s", &[backend::start("s").await])).await;
    apply(&client, GATEWAY).await;
    let ip = gateway_address(&client, "web").await;
    let (own, other) = (SocketAddr::new(ip, 8080), SocketAddr::new(ip, 8081));
    let sets: Api<ListenerSet> = Api::namespaced(client.clone(), "team");
    eventually("the set is Programmed", || says(&sets, "Programmed", "True", "Programmed")).await;
    for (address, host, expected) in
        [(own, "own.test", 200), (own, "set.test", 200), (own, "nobody.test", 404), (other, "any.test", 200)]
    {
        answers(address, host, expected).await;
    }
    let status = std::process::Command::new(harness::binary()).args(["status", "--data-dir"]).arg(dir.path()).output();
    let status = String::from_utf8(status.unwrap().stdout).unwrap();
    assert!(status.contains("ListenerSet team/more") && !status.contains("Gateway team/more"), "{status}");

    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    let label = |value| Patch::Merge(json!({ "metadata": { "labels": { "listeners": value } } }));
    namespaces.patch("team", &PatchParams::default(), &label("refused")).await.unwrap();
    eventually("it isn't let in", || says(&sets, "Accepted", "False", "NotAllowed")).await;
    answers(own, "set.test", 404).await;
    answers(own, "own.test", 200).await;
    namespaces.patch("team", &PatchParams::default(), &label("allowed")).await.unwrap();
    eventually("it is let in again", || says(&sets, "Programmed", "True", "Programmed")).await;
    answers(own, "set.test", 200).await;
    stands_for_it(&client).await;
}

/// The Service that stands for the Gateway comes back when it is deleted, and goes when nothing is handed on.
async fn stands_for_it(client: &kube::Client) {
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let of_web = ListParams::default().labels("gateway.networking.k8s.io/gateway-name=web,team=a");
    let found = || async { services.list(&of_web).await.ok()?.items.into_iter().next() };
    let first = eventually("a Service stands for it", found).await;
    assert_eq!(first.metadata.annotations.unwrap()["example.com/cost"], "1");
    assert_eq!(first.metadata.owner_references.unwrap()[0].kind, "Gateway");
    services.delete(first.metadata.name.as_deref().unwrap(), &DeleteParams::default()).await.unwrap();
    eventually("it comes back", || async { (found().await?.metadata.uid != first.metadata.uid).then_some(()) }).await;
    let gateways: Api<foregate_api::gateway::Gateway> = Api::default_namespaced(client.clone());
    let without = Patch::Merge(json!({ "spec": { "infrastructure": null } }));
    gateways.patch("web", &PatchParams::default(), &without).await.unwrap();
    eventually("it goes", || async { found().await.is_none().then_some(()) }).await;
}

/// A CA, and certificates of it by name.
struct Ca(Issuer<'static, KeyPair>, String);

impl Ca {
    fn new() -> Self {
        let (mut params, key) = (CertificateParams::default(), KeyPair::generate().unwrap());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), pem)
    }

    /// Chain and key, as PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// A client that trusts it, and that shows something if it has it.
    fn client(&self, shows: Option<&(String, String)>) -> TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.1.as_bytes()).unwrap()).unwrap();
        let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
        let config = match shows {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

/// The answer to a request over TLS; none: the connection was refused.
async fn ask(address: SocketAddr, tls: &TlsConnector) -> Option<StatusCode> {
    let stream = TcpStream::connect(address).await.ok()?;
    let stream = tls.connect(ServerName::try_from("web.test").unwrap(), stream).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request = Request::get("/").header("host", "web.test").body(Empty::<Bytes>::new()).unwrap();
    Some(sender.send_request(request).await.ok()?.status())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_show_certificates_where_they_must() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let foregate = Foregate::start(dir.path(), "127.123.1.0/24", &[]);
    let client = foregate.client().await;
    let (ca, stranger) = (Ca::new(), Ca::new());
    let (chain, key) = ca.issue("web.test");
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "web" }, "type": "kubernetes.io/tls",
        "stringData": { "tls.crt": chain, "tls.key": key },
    });
    let gateway = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: foregate
  tls:
    frontend:
      default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}}
      perPort:
      - port: 8444
        tls: {validation: {mode: AllowInsecureFallback, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}}
  listeners:
  - {name: strict, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: web}]}}
  - {name: lenient, port: 8444, protocol: HTTPS, tls: {certificateRefs: [{name: web}]}}
  - {name: http, port: 8080, protocol: HTTP}
";
    let yaml = [secret.to_string(), service("s", &[backend::start("s").await]), gateway.to_owned()];
    for yaml in yaml.iter().map(String::as_str).chain([harness::route("r", "web", "/", "s").as_str()]) {
        apply(&client, yaml).await;
    }
    // Without what to trust, no listener for TLS serves; it heals.
    let ip = gateway_address(&client, "web").await;
    answers(SocketAddr::new(ip, 8080), "web.test", 200).await;
    assert_eq!(ask(SocketAddr::new(ip, 8443), &ca.client(None)).await, None);
    let trusted =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "ca" }, "data": { "ca.crt": ca.1 } });
    apply(&client, &trusted.to_string()).await;
    let (known, unknown) = (ca.issue("client"), stranger.issue("client"));
    let tls = ca.client(Some(&known));
    eventually("TLS serves", || ask(SocketAddr::new(ip, 8443), &tls)).await;
    for (port, shown, expected) in [
        (8443, Some(&known), Some(200)),
        (8443, Some(&unknown), None),
        (8443, None, None),
        (8444, Some(&known), Some(200)),
        (8444, Some(&unknown), Some(200)),
        (8444, None, Some(200)),
    ] {
        let tls = ca.client(shown);
        let what = format!("{port}, a certificate: {}", shown.is_some());
        let is =
            || async { (ask(SocketAddr::new(ip, port), &tls).await.map(|s| s.as_u16()) == expected).then_some(()) };
        eventually(&what, is).await;
    }
}

/// Listeners of one port, of 16, by the port's turn. Names of those that serve begin with `ok`.
fn listeners_of(port: u16) -> [String; 4] {
    let https = "protocol: HTTPS, tls: {certificateRefs: [{name: web}]}";
    let pass = "protocol: TLS, tls: {mode: Passthrough}";
    let entries: [(&str, String); 4] = match port % 4 {
        0 => [
            ("ok-a", "protocol: HTTP, hostname: a.test".into()),
            ("ok-b", "protocol: HTTP, hostname: b.test".into()),
            ("ok-any", "protocol: HTTP".into()),
            ("ok-udp", "protocol: UDP".into()),
        ],
        1 => [
            ("same-host", format!("{https}, hostname: a.test")),
            ("same-host-passed-on", format!("{pass}, hostname: a.test")),
            ("ok-tls", format!("{pass}, hostname: b.test")),
            ("ok-any", https.into()),
        ],
        2 => [
            ("http", "protocol: HTTP".into()),
            ("https", https.into()),
            ("tcp", "protocol: TCP".into()),
            ("ok-udp", "protocol: UDP".into()),
        ],
        _ => [
            ("no-certificate", "protocol: HTTPS, hostname: a.test, tls: {certificateRefs: [{name: missing}]}".into()),
            ("ok-https", https.into()),
            ("unheard-of", "protocol: example.com/odd".into()),
            ("ok-udp", "protocol: UDP".into()),
        ],
    };
    entries.map(|(name, rest)| format!("  - {{name: {name}-{port}, port: {port}, {rest}}}\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_listeners_those_in_conflict_are_named_and_the_others_serve() {
    let dir = tempfile::tempdir().unwrap();
    let foregate = Foregate::start(dir.path(), "127.123.2.0/24", &[]);
    let client = foregate.client().await;
    let (chain, key) = Ca::new().issue("web.test");
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "web" }, "type": "kubernetes.io/tls",
        "stringData": { "tls.crt": chain, "tls.key": key },
    });
    let listeners: String = (9000..9016).flat_map(listeners_of).collect();
    let gateway = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: web}}\n\
         spec:\n  gatewayClassName: foregate\n  listeners:\n{listeners}"
    );
    let service = service("s", &[backend::start("s").await]);
    for yaml in [secret.to_string(), service, gateway, harness::route("r", "web", "/", "s")] {
        apply(&client, &yaml).await;
    }
    let ip = gateway_address(&client, "web").await;
    for port in (9000..9016).filter(|port| port % 4 == 0) {
        answers(SocketAddr::new(ip, port), "a.test", 200).await;
        answers(SocketAddr::new(ip, port), "any.test", 200).await;
    }
    for port in (9000..9016).filter(|port| port % 4 == 2) {
        assert!(TcpStream::connect((ip, port)).await.is_err(), "port {port} is nobody's");
    }
    let gateways: Api<foregate_api::gateway::Gateway> = Api::default_namespaced(client.clone());
    let object = serde_json::to_value(gateways.get("web").await.unwrap()).unwrap();
    let accepted = condition(&object, "/status/conditions", "Accepted").unwrap();
    assert_eq!((accepted.0.as_str(), accepted.1.as_str()), ("True", "ListenersNotValid"));
    let statuses = object["status"]["listeners"].as_array().unwrap();
    assert_eq!(statuses.len(), 64);
    for status in statuses {
        let name = status["name"].as_str().unwrap();
        let (programmed, _, _) = condition(status, "/conditions", "Programmed").unwrap();
        assert_eq!(programmed == "True", name.starts_with("ok"), "{status:#}");
    }
}
