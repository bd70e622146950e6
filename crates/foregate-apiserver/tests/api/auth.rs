//! Over TLS: who is let in, and what they may do.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use http::Method;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::bench::{Bench, MAPS, bench, config_map, send};

struct Served {
    bench: Bench,
    address: SocketAddr,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// Serves on a free port of the loopback address.
fn serve(bench: Bench) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server = bench.server.clone();
    let stop = shutdown.clone();
    let task = tokio::spawn(async move { server.serve(listener, stop).await.unwrap() });
    Served { bench, address, shutdown, task }
}

impl Served {
    async fn config(&self) -> Config {
        let text = self.bench.server.admin_kubeconfig(self.address).unwrap();
        let kubeconfig = Kubeconfig::from_yaml(&text).unwrap();
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
    }

    async fn admin(&self) -> Client {
        Client::try_from(self.config().await).unwrap()
    }

    /// A client without a certificate, and with a token if there is one.
    async fn with_token(&self, token: Option<&str>) -> Client {
        let mut config = self.config().await;
        config.auth_info = kube::config::AuthInfo::default();
        config.auth_info.token = token.map(|t| t.to_owned().into());
        Client::try_from(config).unwrap()
    }
}

async fn get(client: &Client, path: &str) -> (u16, Value) {
    send(client, Method::GET, path, &[], Vec::new()).await
}

fn provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

#[tokio::test]
async fn the_kubeconfig_lets_an_administrator_in() {
    provider();
    let served = serve(bench());
    let admin = served.admin().await;
    let body = config_map("a", json!({})).to_string().into_bytes();
    let (code, _) = send(&admin, Method::POST, MAPS, &[("content-type", "application/json")], body).await;
    assert_eq!(code, 201);
    assert_eq!(admin.apiserver_version().await.unwrap().major, "1");
    let (code, _) = get(&admin, "/metrics").await;
    assert_eq!(code, 200);
    let (_, list) = get(&admin, MAPS).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    served.shutdown.cancel();
    served.task.await.unwrap();
}

/// What doesn't end by itself is cut off after 5 s. On a busy machine a turn may take as long without that, but not
/// each of them.
#[tokio::test]
async fn an_open_watch_does_not_hold_the_end_up() {
    provider();
    let mut took = Vec::new();
    while took.len() < 10 {
        let served = serve(bench());
        let admin = served.admin().await;
        let (_, list) = get(&admin, MAPS).await;
        let version = list["metadata"]["resourceVersion"].as_str().unwrap();
        let watch = http::Request::get(format!("{MAPS}?watch=true&resourceVersion={version}"));
        let watch = admin.send(watch.body(kube::client::Body::empty()).unwrap()).await.unwrap();
        let began = std::time::Instant::now();
        served.shutdown.cancel();
        served.task.await.unwrap();
        took.push(began.elapsed());
        drop(watch);
        if took.last().is_some_and(|took| *took < Duration::from_secs(4)) {
            return;
        }
    }
    panic!("it is held up each time: {took:?}");
}

#[tokio::test]
async fn strangers_learn_only_that_the_server_is_well() {
    provider();
    let served = serve(bench());
    let stranger = served.with_token(None).await;
    for path in ["/readyz", "/livez", "/healthz"] {
        assert_eq!(get(&stranger, path).await.0, 200, "{path}");
    }
    for path in ["/api", "/apis", "/version", "/metrics", "/openapi/v3", MAPS, "/none"] {
        let (code, answer) = get(&stranger, path).await;
        assert_eq!((code, answer["reason"].as_str()), (401, Some("Unauthorized")), "{path}");
    }
    let forged = served.with_token(Some("fg1.e30.e30")).await;
    assert_eq!(get(&forged, MAPS).await.0, 401);
    // A certificate of another authority doesn't even get a connection.
    let other = bench();
    let credential = other.server.credential("admin", "system:masters", Duration::from_secs(60)).unwrap();
    let mut config = served.config().await;
    config.auth_info.client_certificate_data = Some(encode(&credential.certificate));
    config.auth_info.client_key_data = Some(encode(&credential.key).into());
    let impostor = Client::try_from(config).unwrap();
    let request = http::Request::get(MAPS).body(kube::client::Body::empty()).unwrap();
    assert!(impostor.send(request).await.is_err());
}

fn encode(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test]
async fn roles_say_what_a_token_may_do() {
    provider();
    let served = serve(bench());
    let group = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({"metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}]});
    let binding = json!({"metadata": {"name": "ops"}, "subjects": [{"kind": "Group", "name": "ops"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}});
    let token = served.bench.server.token("ann", &["ops"], Duration::from_secs(60));
    let ann = served.with_token(Some(&token)).await;

    let (code, answer) = get(&ann, MAPS).await;
    assert_eq!((code, answer["reason"].as_str()), (403, Some("Forbidden")));
    assert!(
        answer["message"].as_str().unwrap().contains("User \"ann\" cannot list resource \"configmaps\""),
        "{answer}"
    );
    assert_eq!(served.bench.post(&format!("{group}/roles"), &role).await.0, 201);
    assert_eq!(served.bench.post(&format!("{group}/rolebindings"), &binding).await.0, 201);
    assert_eq!(get(&ann, MAPS).await.0, 200);
    assert_eq!(get(&ann, "/api/v1/configmaps").await.0, 403, "not in all namespaces");
    assert_eq!(get(&ann, "/api/v1/namespaces/default/secrets").await.0, 403);
    assert_eq!(send(&ann, Method::DELETE, &format!("{MAPS}/a"), &[], Vec::new()).await.0, 403);
    assert_eq!(get(&ann, "/apis").await.0, 200, "discovery is for everyone who is known");
    assert_eq!(get(&ann, "/metrics").await.0, 403);

    let review = |verb: &str| json!({"spec": {"resourceAttributes": {"verb": verb, "resource": "configmaps", "namespace": "default"}}});
    for (verb, allowed) in [("list", true), ("delete", false)] {
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let headers = [("content-type", "application/json")];
        let (code, answer) = send(&ann, Method::POST, path, &headers, review(verb).to_string().into_bytes()).await;
        assert_eq!((code, &answer["status"]["allowed"]), (201, &json!(allowed)), "{verb}");
    }
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let body = json!({"spec": {"namespace": "default"}}).to_string().into_bytes();
    let (_, answer) = send(&ann, Method::POST, path, &[("content-type", "application/json")], body).await;
    assert_eq!(answer["status"]["resourceRules"][0]["resources"], json!(["configmaps"]));
    let as_admin = send(&ann, Method::GET, MAPS, &[("impersonate-user", "root")], Vec::new()).await;
    assert_eq!(as_admin.0, 403);
    served.bench.delete(&format!("{group}/rolebindings/ops"), json!({})).await;
    assert_eq!(get(&ann, MAPS).await.0, 403, "at once");
}

#[tokio::test]
async fn an_administrator_can_be_someone_else() {
    let bench = bench();
    let (code, _) = send(&bench.client, Method::GET, MAPS, &[("impersonate-user", "ann")], Vec::new()).await;
    assert_eq!(code, 403);
    let who = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let headers = [("impersonate-user", "ann"), ("impersonate-group", "ops"), ("content-type", "application/json")];
    let (_, answer) = send(&bench.client, Method::POST, who, &headers, b"{}".to_vec()).await;
    assert_eq!(answer["status"]["userInfo"], json!({"username": "ann", "groups": ["ops", "system:authenticated"]}));
}
