//! Certificates of workload clusters: an administrator posts a public key, the platform signs.
//!
//! `POST /foregate/clusters/TENANT/NAME` with [`Wish`] is answered with [`Signed`]. The private key stays where it was
//! made, and whoever may `post` to that path (RBAC `nonResourceURLs`) needs no other right.

use std::time::Duration;

use bytes::Bytes;
use foregate_api::WorkloadCluster;
use foregate_api::cluster::{CLUSTERS_GROUP, credential_uid, user};
use foregate_apiserver::auth::ca::CaError;
use foregate_apiserver::{Extra, Refusal, Server};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::ClusterName;

/// Below `/foregate/`.
const PREFIX: &str = "clusters";
/// How long a certificate is valid.
pub const LIFE: Duration = Duration::from_secs(365 * 86_400);

/// What is posted.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wish {
    /// A public key on the curve P-256, PEM.
    pub public_key: String,
}

/// What is answered.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signed {
    /// The client certificate, PEM.
    pub certificate: String,
    /// The certificate that the platform's own is verified by, PEM.
    pub certificate_authority: String,
}

/// The path of a cluster's certificates.
pub fn path(cluster: &ClusterName) -> String {
    format!("/foregate/{PREFIX}/{cluster}")
}

/// Lets a server sign clusters' certificates.
pub fn mount(server: &Server) {
    // A handler that held the server would keep it alive for ever.
    let (client, authority) = (server.client(), server.authority());
    server.mount_post(PREFIX, move |path, body| {
        let (client, authority) = (client.clone(), authority.clone());
        async move { sign(&client, &authority, &path, &body).await }
    });
}

async fn sign(
    client: &kube::Client,
    authority: &foregate_apiserver::auth::ca::Authority,
    path: &str,
    body: &Bytes,
) -> Result<Extra, Refusal> {
    let refuse = |code, message: String| Refusal { code, message };
    let cluster: ClusterName = path.parse().map_err(|why| refuse(404, why))?;
    let wish: Wish = serde_json::from_slice(body).map_err(|error| refuse(400, error.to_string()))?;
    let api: Api<WorkloadCluster> = Api::namespaced(client.clone(), &cluster.namespace());
    let object = api.get_opt(&cluster.name).await.map_err(|error| refuse(500, error.to_string()))?;
    let gone = || refuse(404, format!("there is no workload cluster {cluster}"));
    let object = object.filter(|object| object.metadata.deletion_timestamp.is_none()).ok_or_else(gone)?;
    let uid = credential_uid(&object.uid().unwrap_or_default(), object.spec.credential_generation);
    let name = user(&cluster.tenant, &cluster.name);
    let expires = jiff::Timestamp::now() + LIFE;
    let certificate = authority.certify(&wish.public_key, (&name, CLUSTERS_GROUP, &uid), LIFE);
    let certificate = certificate.map_err(|error| match error {
        CaError::PublicKey => refuse(400, error.to_string()),
        error => refuse(500, error.to_string()),
    })?;
    // Only told: a certificate that is made is given out.
    let patch = Patch::Merge(json!({ "status": { "credentialExpires": expires } }));
    if let Err(error) = api.patch_status(&cluster.name, &PatchParams::default(), &patch).await {
        tracing::warn!(%cluster, %error, "when its credential expires can't be noted");
    }
    let signed = Signed { certificate, certificate_authority: authority.certificate.clone() };
    let body = serde_json::to_vec(&signed).map_err(|error| refuse(500, error.to_string()))?;
    Ok(Extra { content_type: "application/json", body: body.into() })
}
