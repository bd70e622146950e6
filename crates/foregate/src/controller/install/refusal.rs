//! Platforms that refuse a controller, or that it refuses: what a class says, and whether it may go.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use foregate_api::gateway::{Gateway, GatewayClass};
use foregate_api::{DEFAULT_TENANT_NAMESPACE, GatewayClaim};
use kube::api::{Api, DeleteParams, ListParams, Patch};
use serde_json::json;

use super::far::{Far, said, workload};
use super::rights::until;
use super::{CREDENTIAL, apply};

/// Waits until the class says something.
async fn until_said(classes: &Api<GatewayClass>, status: &str, part: &str) {
    let said = until(async || match said(classes).await {
        Some((is, message)) if is == status && message.contains(part) => Ok(()),
        other => Err(other),
    });
    said.await.unwrap_or_else(|last| panic!("never {status} with {part:?}: {last:?}"));
}

#[tokio::test]
async fn a_class_stays_while_its_credential_is_revoked_and_goes_when_its_cluster_was_removed() {
    let far = Far::start().await;
    let (admin, _, _running) = workload(CREDENTIAL, &far).await;
    let (classes, gateways) =
        (Api::<GatewayClass>::all(admin.clone()), Api::<Gateway>::default_namespaced(admin.clone()));
    until_said(&classes, "True", "serves").await;
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": { "name": "web", "namespace": "default" },
        "spec": { "gatewayClassName": "far", "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] },
    });
    apply(&admin, gateway).await.unwrap();
    let claims: Api<GatewayClaim> = Api::namespaced(far.server.client(), DEFAULT_TENANT_NAMESPACE);
    let count = async || claims.list(&ListParams::default()).await.unwrap().items.len();
    until(async || if count().await == 1 { Ok(()) } else { Err(()) }).await.expect("a claim");

    let raise = Patch::Merge(json!({ "spec": { "credentialGeneration": 1 } }));
    far.clusters().patch("far", &Default::default(), &raise).await.unwrap();
    until_said(&classes, "False", "was revoked").await;
    gateways.delete("web", &DeleteParams::default()).await.unwrap();
    classes.delete("far", &DeleteParams::default()).await.unwrap();
    until_said(&classes, "False", "1 object on the platform is still to be deleted").await;
    assert_eq!(count().await, 1);

    far.clusters().delete("far", &DeleteParams::default()).await.unwrap();
    let gone = until(async || if classes.get_opt("far").await.unwrap().is_none() { Ok(()) } else { Err(()) });
    gone.await.expect("the class goes");
    until(async || if count().await == 0 { Ok(()) } else { Err(()) }).await.expect("the cluster's claims go");
}

#[tokio::test]
async fn another_platforms_certificate_is_not_trusted_and_its_credential_not_taken() {
    let (far, other) = (Far::start().await, Far::start().await);
    let (admin, _, _running) = workload(CREDENTIAL, &far).await;
    let classes: Api<GatewayClass> = Api::all(admin.clone());
    until_said(&classes, "True", "serves").await;
    // Its authority isn't the one that the parameters name.
    far.join_as(&admin, other.server.ca_certificate()).await;
    until_said(&classes, "False", "caCertificates of the GatewayClassParameters").await;
    far.join(&admin).await;
    until_said(&classes, "True", "serves").await;
}
