//! Certificates of workload clusters and gateway nodes, on the embedded API: the subresource `certificate` of
//! WorkloadClusters and GatewayNodes ([`foregate_api::credential`]).
//!
//! Administrators ask for the first one; who has one asks for the next itself. RBAC's `create` of the subresource is all
//! that it takes.

use std::time::Duration;

use foregate_api::cluster::{CLUSTERS_GROUP, TENANT_NAMESPACE_PREFIX, user};
use foregate_api::credential::{self, CertificateRequest, CertificateRequestStatus, SUBRESOURCE};
use foregate_api::node::{NODE_USER, NODES_GROUP};
use foregate_api::{GatewayNode, WorkloadCluster};
use foregate_apiserver::auth::ca::{self, Authority, CaError};
use foregate_apiserver::{Posted, Refusal, Server};
use http::Request;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Field manager of what is noted of certificates.
const MANAGER: &str = "foregate-platform";

/// What a certificate of an object says.
struct Terms {
    user: String,
    group: &'static str,
    generation: i64,
    seconds: u32,
}

/// Objects that have certificates.
trait Owner: Resource<DynamicType = ()> + DeserializeOwned + Send + Sync + 'static {
    /// None: it can have none.
    fn terms(&self) -> Option<Terms>;
}

impl Owner for WorkloadCluster {
    fn terms(&self) -> Option<Terms> {
        let namespace = self.namespace()?;
        Some(Terms {
            user: user(namespace.strip_prefix(TENANT_NAMESPACE_PREFIX)?, &self.name_any()),
            group: CLUSTERS_GROUP,
            generation: self.spec.credential_generation,
            seconds: credential::seconds(self.spec.credential_seconds),
        })
    }
}

impl Owner for GatewayNode {
    fn terms(&self) -> Option<Terms> {
        Some(Terms {
            user: format!("{NODE_USER}{}", self.name_any()),
            group: NODES_GROUP,
            generation: self.spec.credential_generation,
            seconds: credential::seconds(self.spec.credential_seconds),
        })
    }
}

/// Lets a server sign the certificates of workload clusters and gateway nodes.
pub fn mount(server: &Server) {
    mount_kind::<WorkloadCluster>(server);
    mount_kind::<GatewayNode>(server);
}

fn mount_kind<K: Owner>(server: &Server) {
    // A handler that held the server would keep it alive for ever.
    let (client, authority) = (server.client(), server.authority());
    server.mount_subresource((&K::group(&()), &K::plural(&()), SUBRESOURCE), move |posted| {
        let (client, authority) = (client.clone(), authority.clone());
        async move { sign::<K>(&client, &authority, posted).await }
    });
}

fn refuse(code: u16, why: impl std::fmt::Display) -> Refusal {
    Refusal { code, message: why.to_string() }
}

async fn sign<K: Owner>(client: &Client, authority: &Authority, posted: Posted) -> Result<Value, Refusal> {
    let mut asked: CertificateRequest = serde_json::from_value(posted.body).map_err(|error| refuse(400, error))?;
    let path = format!("{}/{}", K::url_path(&(), posted.namespace.as_deref()), posted.name);
    let gone = || refuse(404, format!("there is no {} {}", K::kind(&()), posted.name));
    let request = Request::get(&path).body(Vec::new()).map_err(|_| gone())?;
    let object: K = client.request(request).await.map_err(|error| match error {
        kube::Error::Api(status) if status.code == 404 => gone(),
        error => refuse(500, error),
    })?;
    let terms = object.terms().filter(|_| object.meta().deletion_timestamp.is_none()).ok_or_else(gone)?;
    let uid = credential::uid(&object.uid().unwrap_or_default(), terms.generation);
    let life = Duration::from_secs(terms.seconds.into());
    let issued = jiff::Timestamp::now();
    let certificate = authority.certify(&asked.spec.public_key, (&terms.user, terms.group, &uid), life);
    let certificate = certificate.map_err(|error| match error {
        CaError::PublicKey => refuse(400, error),
        error => refuse(500, error),
    })?;
    let expires = Time(issued + life);
    // Only told: a certificate that is made is given out.
    let note = json!({ "status": { "credentialIssued": Time(issued), "credentialExpires": expires } });
    if let Err(error) = tell(client, &path, &note).await {
        tracing::warn!(kind = %K::kind(&()), name = posted.name, %error, "when its credential expires can't be noted");
    }
    asked.status = Some(CertificateRequestStatus {
        certificate,
        certificate_authority: authority.certificate.clone(),
        expiration_timestamp: expires,
    });
    serde_json::to_value(asked).map_err(|error| refuse(500, error))
}

async fn tell(client: &Client, path: &str, status: &Value) -> kube::Result<()> {
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let request = kube::core::Request::new(path.rsplit_once('/').map_or(path, |(collection, _)| collection));
    let name = path.rsplit('/').next().unwrap_or_default();
    let request = request.patch_subresource("status", name, &params, &Patch::Merge(status));
    client.request_text(request.map_err(kube::Error::BuildRequest)?).await.map(drop)
}

/// A certificate, and the key that it is for.
pub struct Credential {
    /// What the platform has answered.
    pub signed: CertificateRequestStatus,
    /// The private key, PEM.
    pub key: String,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// No key can be made, or no request of it.
    #[error("no credential could be made")]
    Make {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The platform's API.
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// Makes a key, and has it certified for an object.
///
/// # Errors
/// [`CertificateError`]
pub async fn ask<K: Resource<DynamicType = ()>>(
    client: &Client,
    namespace: Option<&str>,
    name: &str,
) -> Result<Credential, CertificateError> {
    let made = |source: Box<dyn std::error::Error + Send + Sync>| CertificateError::Make { source };
    let (key, public_key) = ca::key_pair().map_err(|error| made(error.into()))?;
    let body = serde_json::to_vec(&CertificateRequest::new(public_key)).map_err(|error| made(error.into()))?;
    let path = format!("{}/{name}/{SUBRESOURCE}", K::url_path(&(), namespace));
    let request = Request::post(path).header("content-type", "application/json").body(body);
    let answer: CertificateRequest = client.request(request.map_err(|error| made(error.into()))?).await?;
    let signed = answer.status.ok_or_else(|| made("the platform has answered without a certificate".into()))?;
    Ok(Credential { signed, key })
}
