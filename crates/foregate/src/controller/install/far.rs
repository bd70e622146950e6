//! A platform elsewhere, for tests: over TLS, with a class that leads to it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::net::{SocketAddr, TcpListener};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use foregate_api::cluster::{CLUSTERS_GROUP, user};
use foregate_api::gateway::GatewayClass;
use foregate_api::{DEFAULT_TENANT_NAMESPACE, GatewayTemplate, WorkloadCluster, credential};
use foregate_apiserver::{Caller, Server};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::rights::{NAMESPACE, USER, install, run, server};
use super::{CREDENTIAL, apply};

const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

/// A platform that is reached over TLS, and knows this cluster.
pub struct Far {
    pub server: Server,
    pub address: SocketAddr,
    cluster: WorkloadCluster,
    dir: tempfile::TempDir,
    _stop: DropGuard,
}

impl Far {
    pub async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (server, dir) = server(DEFAULT_TENANT_NAMESPACE);
        let admin = server.client();
        crate::up::seed::kinds(&admin).await.unwrap();
        crate::cluster::write_policy(&admin, false).await.unwrap();
        crate::certificates::mount(&server);
        let stop = CancellationToken::new();
        tokio::spawn(crate::cluster::keep(admin.clone(), stop.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (serving, ending) = (server.clone(), stop.clone());
        tokio::spawn(async move { serving.serve(listener, ending).await });
        let templates: Api<GatewayTemplate> = Api::namespaced(admin.clone(), DEFAULT_TENANT_NAMESPACE);
        let template = serde_json::from_value(
            json!({ "metadata": { "name": "default" }, "spec": { "envoy": { "listener": "{}" } } }),
        )
        .unwrap();
        templates.create(&PostParams::default(), &template).await.unwrap();
        let clusters: Api<WorkloadCluster> = Api::namespaced(admin, DEFAULT_TENANT_NAMESPACE);
        let cluster = WorkloadCluster::new("far", Default::default());
        let cluster = clusters.create(&PostParams::default(), &cluster).await.unwrap();
        Self { server, address, cluster, dir, _stop: stop.drop_guard() }
    }

    /// The workload clusters that it knows.
    pub fn clusters(&self) -> Api<WorkloadCluster> {
        Api::namespaced(self.server.client(), DEFAULT_TENANT_NAMESPACE)
    }

    /// A credential of which a tenth of the validity is left: certificate and key.
    fn old(&self) -> (String, String) {
        let key = std::fs::read_to_string(self.dir.path().join("pki/ca.key")).unwrap();
        let mut authority = rcgen::CertificateParams::default();
        authority.distinguished_name = rcgen::DistinguishedName::new();
        authority.distinguished_name.push(rcgen::DnType::CommonName, "foregate-ca");
        let authority = rcgen::Issuer::new(authority, rcgen::KeyPair::from_pem(&key).unwrap());
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let uid = rcgen::DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 57683, 2]);
        for (field, value) in [
            (rcgen::DnType::CommonName, user("default", "far")),
            (rcgen::DnType::OrganizationName, CLUSTERS_GROUP.to_owned()),
            (uid, credential::uid(&self.cluster.uid().unwrap(), 0)),
        ] {
            params.distinguished_name.push(field, value);
        }
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let now = std::time::SystemTime::now();
        (params.not_before, params.not_after) = ((now - 9 * DAY).into(), (now + DAY).into());
        let key = rcgen::KeyPair::generate().unwrap();
        (params.signed_by(&key, &authority).unwrap().pem(), key.serialize_pem())
    }

    /// Makes a class `far` that leads here, and returns its certificate.
    pub async fn join(&self, workload: &Client) -> String {
        self.join_as(workload, self.server.ca_certificate()).await
    }

    /// The same for a class that takes another authority for the platform's.
    pub async fn join_as(&self, workload: &Client, authority: &str) -> String {
        let (certificate, key) = self.old();
        let of = |name: &str| json!({ "name": name, "namespace": NAMESPACE });
        for object in [
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": of(CREDENTIAL), "type": "kubernetes.io/tls",
                "data": { "tls.crt": STANDARD.encode(&certificate), "tls.key": STANDARD.encode(key) },
            }),
            json!({
                "apiVersion": "foregate.dev/v1alpha1", "kind": "GatewayClassParameters", "metadata": of("far"),
                "spec": {
                    "platform": {
                        "url": format!("https://{}", self.address), "caCertificates": authority,
                    },
                    "credentialsRef": { "name": CREDENTIAL },
                    "tenant": "default", "cluster": "far",
                },
            }),
            json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": { "name": "far" },
                "spec": {
                    "controllerName": foregate_api::CONTROLLER_NAME,
                    "parametersRef": {
                        "group": "foregate.dev", "kind": "GatewayClassParameters", "name": "far",
                        "namespace": NAMESPACE,
                    },
                },
            }),
        ] {
            apply(workload, object).await.unwrap();
        }
        certificate
    }
}

/// A workload API with a controller that has what is installed for a credential, and what it was given.
pub async fn workload(credential: &str, far: &Far) -> (Client, String, impl Sized) {
    let ((api, dir), (near, near_dir)) = (server(NAMESPACE), server(DEFAULT_TENANT_NAMESPACE));
    let admin = api.client();
    for client in [admin.clone(), near.client()] {
        crate::up::seed::kinds(&client).await.unwrap();
    }
    install(&admin, credential).await;
    let before = far.join(&admin).await;
    let account = api.client_as(Caller::new(USER, vec!["system:serviceaccounts".to_owned()]));
    let running = run(account, near.client());
    (admin, before, (running, api, near, dir, near_dir))
}

/// Status and message of the class's condition Accepted.
pub async fn said(classes: &Api<GatewayClass>) -> Option<(String, String)> {
    let status: Value = serde_json::to_value(classes.get("far").await.unwrap().status?).unwrap();
    let accepted = status["conditions"].as_array()?.iter().find(|it| it["type"] == "Accepted")?.clone();
    Some((accepted["status"].as_str()?.to_owned(), accepted["message"].as_str()?.to_owned()))
}
