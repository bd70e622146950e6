//! The controller renews the credential of a platform, with the right to that and without it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use foregate_api::gateway::GatewayClass;
use foregate_api::{DEFAULT_TENANT_NAMESPACE, WorkloadCluster};
use foregate_apiserver::auth::ca;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use super::CREDENTIAL;
use super::far::{Far, said, workload};
use super::rights::{NAMESPACE, until};

fn validity(pem: &str) -> std::ops::Range<i64> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    ca::validity(&der).unwrap()
}

#[tokio::test]
async fn a_credential_is_renewed_in_the_secret_that_it_is_in() {
    let far = Far::start().await;
    let (admin, before, _running) = workload(CREDENTIAL, &far).await;
    let secrets: Api<Secret> = Api::namespaced(admin.clone(), NAMESPACE);
    let stored = async || {
        let data = secrets.get(CREDENTIAL).await.unwrap().data.unwrap();
        ["tls.crt", "tls.key"].map(|field| String::from_utf8(data[field].0.clone()).unwrap())
    };
    let classes: Api<GatewayClass> = Api::all(admin);
    let renewed = until(async || match stored().await[0] == before {
        true => Err(said(&classes).await),
        false => Ok(()),
    });
    renewed.await.expect("a new certificate");
    let [certificate, key] = stored().await;
    let left = validity(&certificate).end - jiff::Timestamp::now().as_second();
    assert!((7_775_000..=7_776_000).contains(&left), "{left}");
    // It is that of the key, and good.
    let config = kube::config::Kubeconfig {
        current_context: Some("p".to_owned()),
        ..serde_json::from_value(json!({
            "contexts": [{ "name": "p", "context": { "cluster": "p", "user": "p" } }],
            "clusters": [{ "name": "p", "cluster": { "server": format!("https://{}", far.address),
                "certificate-authority-data": STANDARD.encode(far.server.ca_certificate()) } }],
            "users": [{ "name": "p", "user": { "client-certificate-data": STANDARD.encode(&certificate),
                "client-key-data": STANDARD.encode(&key) } }],
        }))
        .unwrap()
    };
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
    let own: Api<WorkloadCluster> = Api::namespaced(Client::try_from(config).unwrap(), DEFAULT_TENANT_NAMESPACE);
    assert!(own.get("far").await.unwrap().status.unwrap().credential_issued.is_some());
    // Once is enough.
    until(async || said(&classes).await.filter(|it| it.0 == "True").map(drop).ok_or(())).await.expect("Accepted");
    assert!(!said(&classes).await.unwrap().1.contains("renewed"));
    assert_eq!(stored().await, [certificate, key]);
}

#[tokio::test]
async fn what_may_not_be_written_is_said_and_the_old_one_serves_on() {
    let far = Far::start().await;
    let (admin, before, _running) = workload("another-credential", &far).await;
    let classes: Api<GatewayClass> = Api::all(admin.clone());
    let until_said = until(async || match said(&classes).await {
        Some((status, message)) if message.contains("can't be renewed") => {
            assert_eq!(status, "True");
            for part in ["its credential expires at 20", "--credential foregate-credential", "cannot patch resource"] {
                assert!(message.contains(part), "{message}");
            }
            Ok(())
        }
        other => Err(other),
    });
    until_said.await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(admin, NAMESPACE);
    assert_eq!(secrets.get(CREDENTIAL).await.unwrap().data.unwrap()["tls.crt"].0, before.as_bytes());
}
