//! What a gateway's engines are configured with, as the API tells it.

use std::sync::Arc;

use foregate_api::address::ProxyRef;
use foregate_envoy::{Resource, ResourceId, ResourceKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::api::ApiServer;
use super::error::CliError;

/// What a gateway's engines are configured with.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// `NAMESPACE/NAME` of its GatewayProxy.
    pub gateway: String,
    /// Its resources, by kind and name.
    pub resources: Vec<PublishedResource>,
}

/// One of its resources.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedResource {
    /// Type URL.
    pub type_url: String,
    /// Name.
    pub name: String,
    /// Hash of its content.
    pub version: String,
    /// The message, without what Envoy marks as sensitive.
    pub resource: Value,
}

impl PublishedResource {
    /// The message's short name, e.g. `Listener`.
    pub fn kind(&self) -> &str {
        self.type_url.rsplit('.').next().unwrap_or(&self.type_url)
    }

    /// As an engine gets it; none: it has something secret in it, or is of a kind that this version doesn't know.
    fn encoded(&self) -> Option<Resource> {
        let kind = ResourceKind::from_type_url(&self.type_url)?;
        let message = foregate_envoy::from_json(&self.type_url, &self.resource).ok()?;
        Some(Resource {
            id: ResourceId::new(kind, self.name.as_str()),
            version: self.version.as_str().into(),
            body: foregate_envoy::canonical::encode(&message).into(),
            needs: Arc::default(),
            owners: Arc::default(),
        })
    }
}

impl Published {
    /// Its resources as an engine gets them, but for secrets.
    pub fn encoded(&self) -> Vec<Resource> {
        self.resources.iter().filter_map(PublishedResource::encoded).collect()
    }
}

/// Reads what a gateway's engines are configured with.
///
/// # Errors
/// When the API can't be read. A gateway that has nothing yet is an empty one.
pub async fn read(api: &ApiServer, proxy: &ProxyRef) -> Result<Published, CliError> {
    let gateway = format!("{}/{}", proxy.namespace, proxy.name);
    match ask(api, &gateway).await {
        Ok(published) => Ok(published),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Published { gateway, resources: Vec::new() }),
        Err(error) => Err(api.explain(error, "reading the configuration")),
    }
}

/// The same; none: the API doesn't tell, or doesn't tell this user.
///
/// # Errors
/// When the API can't be read.
pub async fn read_if_told(api: &ApiServer, proxy: &ProxyRef) -> Result<Option<Published>, CliError> {
    let gateway = format!("{}/{}", proxy.namespace, proxy.name);
    match ask(api, &gateway).await {
        Ok(published) => Ok(Some(published)),
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(None),
        Err(error) => Err(api.explain(error, "reading the configuration")),
    }
}

async fn ask(api: &ApiServer, gateway: &str) -> Result<Published, kube::Error> {
    let path = format!("/foregate/gateways/{gateway}/config");
    let request = http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    api.client.request::<Published>(request).await
}
