//! `foregate cluster` against a running platform: what is printed opens what it should, as long as it should.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::path::Path;
use std::process::{Command, Output};

use foregate_api::gateway::GatewayClass;
use foregate_api::{GatewayClassParameters, GatewayTemplate};
use harness::{Foregate, eventually};
use k8s_openapi::api::core::v1::Secret;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

fn cluster(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(harness::binary());
    command.arg("cluster").args(args).env_remove("KUBECONFIG").env("FOREGATE_DATA_DIR", dir);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn documents(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_saphyr::from_multiple(&text(&output.stdout)).unwrap()
}

/// A client as the manifests would have a controller make one.
async fn client(secret: &Value, parameters: &Value) -> Client {
    use base64::Engine;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let parameters: GatewayClassParameters = serde_json::from_value(parameters.clone()).unwrap();
    let secret: Secret = serde_json::from_value(secret.clone()).unwrap();
    let (platform, credentials) = (parameters.spec.platform.unwrap(), parameters.spec.credentials_ref.unwrap());
    assert_eq!(secret.metadata.name.as_ref(), Some(&credentials.name));
    let data = secret.data.unwrap();
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let kubeconfig = json!({
        "current-context": "p", "contexts": [{ "name": "p", "context": { "cluster": "p", "user": "p" } }],
        "clusters": [{ "name": "p", "cluster": { "server": platform.url,
            "certificate-authority-data": encode(platform.ca_certificates.as_bytes()) } }],
        "users": [{ "name": "p", "user": { "client-certificate-data": encode(&data["tls.crt"].0),
            "client-key-data": encode(&data["tls.key"].0) } }],
    });
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// What a credential is answered with, when it asks for what every cluster may read.
async fn asks(client: &Client) -> u16 {
    let templates: Api<GatewayTemplate> = Api::namespaced(client.clone(), "tenant-default");
    match templates.get("default").await {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_cluster_comes_is_renewed_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let up = Foregate::start(dir.path(), "127.114.1.0/24", &[]);
    let added = cluster(dir.path(), &["add", "default/edge", "--class", "fast", "--namespace", "gw"]);
    let manifests = documents(&added);
    let [namespace, secret, parameters, class] = manifests.as_slice() else { panic!("{manifests:?}") };
    assert_eq!((namespace["kind"].as_str(), namespace["metadata"]["name"].as_str()), (Some("Namespace"), Some("gw")));
    let class: GatewayClass = serde_json::from_value(class.clone()).unwrap();
    assert_eq!(class.spec.parameters_ref.unwrap().name, parameters["metadata"]["name"]);
    assert!(text(&added.stderr).contains("--platform-url"), "an address of this machine alone is pointed out");
    let first = client(secret, parameters).await;
    // The rights come with the object, a moment later.
    eventually("its rights", || async { (asks(&first).await == 200).then_some(()) }).await;

    let again = cluster(dir.path(), &["add", "default/edge"]);
    assert!(text(&again.stderr).contains("there already") && again.stdout.is_empty(), "{again:?}");
    let list = text(&cluster(dir.path(), &["list"]).stdout);
    assert!(
        list.lines().nth(1).is_some_and(|row| row.starts_with("default  edge  Unknown") && row.contains("90d left")),
        "{list}"
    );

    let renewed = documents(&cluster(dir.path(), &["renew", "default/edge", "--class", "fast", "--namespace", "gw"]));
    let second = client(&renewed[0], parameters).await;
    assert_eq!((asks(&first).await, asks(&second).await), (200, 200));
    let revoked = ["renew", "default/edge", "--class", "fast", "--namespace", "gw", "--revoke"];
    let third = client(&documents(&cluster(dir.path(), &revoked))[0], parameters).await;
    assert_eq!((asks(&first).await, asks(&second).await, asks(&third).await), (401, 401, 200));

    let removed = cluster(dir.path(), &["forget", "default/edge"]);
    assert!(removed.status.success(), "{}", text(&removed.stderr));
    assert_eq!(asks(&third).await, 401);
    assert!(text(&cluster(dir.path(), &["list"]).stdout).contains("no workload clusters"));
    drop(up);
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let up = Foregate::start(dir.path(), "127.114.2.0/24", &[]);
    for (args, code, expected) in [
        (vec!["add", "shop/edge"], 1, "no tenant shop"),
        (vec!["add", "default/edge", "--template", "none"], 1, "no GatewayTemplate none"),
        (vec!["add", "default/edge", "--platform-url", "platform:7443"], 2, "https://platform.example.com:7443"),
        (vec!["add", "edge"], 2, "TENANT/NAME"),
        (vec!["add", "default/local"], 2, "the platform itself"),
        (vec!["renew", "default/edge"], 1, "there is no workload cluster default/edge"),
        (vec!["remove", "default/edge"], 1, "there is no workload cluster default/edge"),
    ] {
        let output = cluster(dir.path(), &args);
        assert_eq!(output.status.code(), Some(code), "{args:?} {output:?}");
        assert!(text(&output.stderr).contains(expected), "{args:?} {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{args:?}: a manifest that is no good");
    }
    assert!(text(&cluster(dir.path(), &["list"]).stdout).contains("no workload clusters"), "nothing is left behind");
    // A platform isn't a place where a controller could be installed.
    let mut install = Command::new(harness::binary());
    install.args(["controller", "install", "--kubeconfig"]).arg(dir.path().join("admin.kubeconfig"));
    let output = install.output().unwrap();
    let said = text(&output.stderr);
    assert!(said.contains("doesn't serve Deployment (apps/v1), PodDisruptionBudget (policy/v1); nothing"), "{said}");
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
    drop(up);
}
