//! Clients of APIs elsewhere.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use foregate_attach::Connection;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use k8s_openapi::ByteString;
use kube::Client;
use kube::client::{Body, ConfigExt, retry::RetryPolicy};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tokio::sync::Notify;
use tower::retry::RetryLayer;
use tower::timeout::Timeout;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder, ServiceExt};

const CONNECT: Duration = Duration::from_secs(5);
/// The longest pause between two attempts of one request; the server's own wish goes before.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// More attempts are of the newest state, not of this request.
const ATTEMPTS: u32 = 4;
/// How long a connection is kept that nothing is asked on.
const IDLE: Duration = Duration::from_secs(30);

/// Requests of one API. Clones share its connections. A request goes from who makes it to its connection without a task
/// in between.
type Stack = BoxCloneSyncService<Request<Body>, Response<Incoming>, BoxError>;

/// A client that waits as long as a busy server asks for (`Retry-After`).
///
/// # Errors
/// When the configuration's certificates can't be used.
pub fn connect(config: kube::Config) -> Result<Client, BoxError> {
    let namespace = config.default_namespace.clone();
    Ok(Client::new(stack(config)?, namespace))
}

fn stack(config: kube::Config) -> Result<Stack, BoxError> {
    if let Some(proxy) = &config.proxy_url {
        return Err(
            format!("the API is behind the proxy {proxy}, which isn't supported: NO_PROXY leaves it out").into()
        );
    }
    let policy = RetryPolicy::new(Duration::from_millis(50), LONGEST_PAUSE, ATTEMPTS, true)?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    // A request is written whole: nothing is to be gained by waiting for more.
    tcp.set_nodelay(true);
    let connector = BoxCloneSyncService::new(Timeout::new(config.rustls_https_connector_with_connector(tcp)?, CONNECT));
    let client: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .build(connector);
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(policy))
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(BoxCloneSyncService::new(stack))
}

/// What a platform is asked through, with the cluster's credential.
///
/// # Errors
/// When URL or certificates can't be used.
pub async fn of_platform(to: &Connection) -> Result<Stack, BoxError> {
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
    stack(kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}

/// A client that tells of answers by which the API may be away, or not let it in any more.
pub fn doubting(client: Client, doubt: Arc<Notify>) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, doubt) = (client.clone(), doubt.clone());
        async move { judged(client.send(request).await, &doubt) }
    });
    Client::new::<_, Body, _>(service, namespace)
}

/// A client that can be exchanged for another under those who use it: watches go on, and come to the new one with their
/// next request.
#[derive(Clone)]
pub struct Exchangeable(Arc<RwLock<Option<Stack>>>);

impl Exchangeable {
    /// One that fails every request until there is something to exchange it for.
    pub fn new() -> Self {
        Self(Arc::new(RwLock::new(None)))
    }

    /// From now on requests go there.
    pub fn set(&self, stack: Stack) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(stack);
    }

    /// A client that follows.
    pub fn client(&self, namespace: &str) -> Client {
        let current = self.0.clone();
        let service = tower::service_fn(move |request| ask(&current, request));
        Client::new(service, namespace)
    }

    /// The same as [`doubting`].
    pub fn doubting(&self, namespace: &str, doubt: Arc<Notify>) -> Client {
        let current = self.0.clone();
        let service = tower::service_fn(move |request| {
            let (answer, doubt) = (ask(&current, request), doubt.clone());
            async move { judged(answer.await, &doubt) }
        });
        Client::new(service, namespace)
    }
}

fn ask(
    current: &RwLock<Option<Stack>>,
    request: Request<Body>,
) -> impl Future<Output = Result<Response<Incoming>, BoxError>> + use<> {
    let stack = current.read().unwrap_or_else(PoisonError::into_inner).clone();
    async move {
        match stack {
            Some(stack) => stack.oneshot(request).await,
            None => Err("not connected yet".into()),
        }
    }
}

/// Passes an answer on, and raises doubt where it is one that does.
fn judged<B, E>(answer: Result<Response<B>, E>, doubt: &Notify) -> Result<Response<B>, E> {
    if answer.as_ref().map_or(true, |answer| matches!(answer.status().as_u16(), 401 | 403 | 500..)) {
        doubt.notify_one();
    }
    answer
}
