//! Clients of APIs elsewhere.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use foregate_attach::Connection;
use http::Request;
use k8s_openapi::ByteString;
use kube::Client;
use kube::client::{Body, ClientBuilder, retry::RetryPolicy};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tokio::sync::Notify;
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;

const CONNECT: Duration = Duration::from_secs(5);
/// The longest pause between two attempts of one request; the server's own wish goes before.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// More attempts are of the newest state, not of this request.
const ATTEMPTS: u32 = 4;
const WAITING: usize = 1024;

/// A client that waits as long as a busy server asks for (`Retry-After`).
///
/// # Errors
/// When the configuration's certificates can't be used.
pub fn connect(mut config: kube::Config) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    let policy = RetryPolicy::new(Duration::from_millis(50), LONGEST_PAUSE, ATTEMPTS, true)?;
    let builder = ClientBuilder::try_from(config)?;
    Ok(builder.with_layer(&BufferLayer::new(WAITING)).with_layer(&RetryLayer::new(policy)).build())
}

/// A client of a platform, with the cluster's credential.
///
/// # Errors
/// When URL or certificates can't be used.
pub async fn of_platform(to: &Connection) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let data = |bytes: &[u8]| json!(ByteString(bytes.to_vec()));
    let kubeconfig: Kubeconfig = serde_json::from_value(json!({
        "current-context": "platform",
        "contexts": [{ "name": "platform", "context": { "cluster": "platform", "user": "cluster" } }],
        "clusters": [{ "name": "platform", "cluster": {
            "server": to.url, "certificate-authority-data": data(to.ca_certificates.as_bytes()),
        } }],
        "users": [{ "name": "cluster", "user": {
            "client-certificate-data": data(&to.certificate), "client-key-data": data(&to.key),
        } }],
    }))?;
    connect(kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}

/// A client that tells of answers by which the API may be away, or not let it in any more.
pub fn doubting(client: Client, doubt: Arc<Notify>) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, doubt) = (client.clone(), doubt.clone());
        async move {
            let answer = client.send(request).await;
            let is_doubtful =
                answer.as_ref().map_or(true, |answer| matches!(answer.status().as_u16(), 401 | 403 | 500..));
            if is_doubtful {
                doubt.notify_one();
            }
            answer
        }
    });
    Client::new::<_, Body, _>(service, namespace)
}

/// A client that can be exchanged for another under those who use it: watches go on, and come to the new one with their
/// next request.
#[derive(Clone)]
pub struct Exchangeable(Arc<RwLock<Option<Client>>>);

impl Exchangeable {
    /// One that fails every request until there is something to exchange it for.
    pub fn new() -> Self {
        Self(Arc::new(RwLock::new(None)))
    }

    /// From now on requests go there.
    pub fn set(&self, client: Client) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(client);
    }

    /// A client that follows.
    pub fn client(&self, namespace: &str) -> Client {
        let current = self.0.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let client = current.read().unwrap_or_else(PoisonError::into_inner).clone();
            async move {
                match client {
                    Some(client) => client.send(request).await,
                    None => Err(kube::Error::Service("not connected yet".into())),
                }
            }
        });
        Client::new::<_, Body, _>(service, namespace)
    }
}
