//! API server, platform and cache in one process.

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use foregate_api::address::{Address, AddressPool};
use foregate_api::claim::{ClaimListener, GatewayClaimSpec, ListenerProtocol};
use foregate_api::origin::Origin;
use foregate_api::route::{Attachment, GatewayRouteSpec, RouteHostname, RouteMatch, RouteRule};
use foregate_api::{GatewayClaim, GatewayInstance, GatewayProxy, GatewayRoute};
use foregate_apiserver::{Server, ServerOptions};
use foregate_platform::{PlatformError, PlatformOptions};
use foregate_xds::Cache;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use kube::runtime::wait::await_condition;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const TENANT: &str = "tenant-default";
/// Nothing here takes longer, unless it never happens.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub struct World {
    pub client: Client,
    pub cache: Cache,
    pub dir: tempfile::TempDir,
    _server: Server,
    stop: CancellationToken,
    platform: Option<JoinHandle<Result<(), PlatformError>>>,
}

impl World {
    /// A platform with a pool and the stock template.
    pub async fn new(pool: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = ServerOptions::new(dir.path().join("api"));
        options.namespaces.push(TENANT.to_owned());
        let server = Server::open(options).unwrap();
        let client = server.client();
        install(&client).await;
        create(&Api::all(client.clone()), &pool_of(pool)).await;
        let mut template = foregate_translate::default_template();
        template.metadata.namespace = Some(TENANT.to_owned());
        create(&Api::namespaced(client.clone(), TENANT), &template).await;
        let (cache, _) = Cache::new(foregate_xds::Options::default());
        let stop = CancellationToken::new();
        let mut world = Self { client, cache, dir, _server: server, stop, platform: None };
        world.start();
        world
    }

    /// Starts the platform with an empty cache, as a new process would.
    pub fn start(&mut self) {
        let (cache, events) = Cache::new(foregate_xds::Options { started: false, ..Default::default() });
        self.cache = cache.clone();
        self.stop = CancellationToken::new();
        let options = PlatformOptions {
            namespace: Some(TENANT.to_owned()),
            revision_text: Some(|type_url, body| {
                let kind = foregate_envoy::ResourceKind::from_type_url(type_url)?;
                foregate_envoy::to_json(kind, body).ok().map(|json| json.to_string())
            }),
            revision_body: Some(|type_url, text| {
                let json = serde_json::from_str(text).ok()?;
                foregate_envoy::from_json(type_url, &json).ok().map(|it| foregate_envoy::canonical::encode(&it))
            }),
            ..Default::default()
        };
        let run = foregate_platform::run(self.client.clone(), options, cache, events, self.stop.clone());
        self.platform = Some(tokio::spawn(run));
    }

    pub async fn stop(&mut self) {
        self.stop.cancel();
        self.platform.take().unwrap().await.unwrap().unwrap();
    }

    pub fn tenant<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), TENANT)
    }

    pub fn global<K: Resource<Scope = ClusterResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    pub async fn claim(&self, claim: &GatewayClaim) {
        create(&self.tenant(), claim).await;
    }

    pub async fn route(&self, route: &GatewayRoute) {
        create(&self.tenant(), route).await;
    }

    /// Waits until a claim's condition has this status and reason.
    pub async fn until(&self, claim: &str, kind: &str, expected: &str) -> GatewayClaim {
        let seen = |claim: &GatewayClaim| condition(claim, kind) == expected;
        until(&self.tenant(), claim, seen).await
    }

    pub fn socket(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.sock"))
    }

    /// Names and resource versions of all that the platform writes.
    pub async fn versions(&self) -> Vec<String> {
        let mut all = versions(&self.tenant::<GatewayClaim>()).await;
        all.extend(versions(&self.tenant::<GatewayProxy>()).await);
        all.extend(versions(&self.tenant::<GatewayRoute>()).await);
        all.extend(versions(&self.tenant::<foregate_api::ConfigRevision>()).await);
        all.extend(versions(&self.global::<Address>()).await);
        all.extend(versions(&self.global::<AddressPool>()).await);
        all.extend(versions(&self.global::<GatewayInstance>()).await);
        all
    }
}

async fn versions<K>(api: &Api<K>) -> Vec<String>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let list = api.list(&ListParams::default()).await.unwrap();
    let version = |object: &K| format!("{} {} {}", K::kind(&()), object.name_any(), object.resource_version().unwrap());
    list.items.iter().map(version).collect()
}

/// Waits until an object is as it should be; what it was at last is shown if it never is.
pub async fn until<K>(api: &Api<K>, name: &str, seen: impl Fn(&K) -> bool) -> K
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let found = await_condition(api.clone(), name, |object: Option<&K>| object.is_some_and(&seen));
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(found) => found.unwrap().unwrap(),
        Err(_) => panic!("{name} never became what it should be: {:#?}", api.get_opt(name).await),
    }
}

/// Waits until an object is gone.
pub async fn until_gone<K>(api: &Api<K>, name: &str)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let gone = await_condition(api.clone(), name, |object: Option<&K>| object.is_none());
    tokio::time::timeout(PATIENCE, gone).await.unwrap_or_else(|_| panic!("{name} is never deleted")).unwrap();
}

pub async fn create<K>(api: &Api<K>, object: &K)
where
    K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + Debug,
{
    api.create(&PostParams::default(), object).await.unwrap();
}

pub async fn patch_spec<K>(api: &Api<K>, name: &str, spec: serde_json::Value)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let patch = serde_json::json!({ "spec": spec });
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

async fn install(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in foregate_api::crds().unwrap() {
        create(&api, &crd).await;
    }
}

fn pool_of(range: &str) -> AddressPool {
    AddressPool::new("default", foregate_api::address::AddressPoolSpec { ranges: vec![range.to_owned()] })
}

/// Status and reason of a claim's condition.
pub fn condition(claim: &GatewayClaim, kind: &str) -> String {
    let conditions = claim.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let found: Option<&Condition> = conditions.iter().find(|condition| condition.type_ == kind);
    found.map(|condition| format!("{} {}", condition.status, condition.reason)).unwrap_or_default()
}

fn origin(kind: &str, name: &str) -> Origin {
    Origin {
        cluster: "local".into(),
        group: "gateway.networking.k8s.io".into(),
        kind: kind.into(),
        namespace: "default".into(),
        name: name.into(),
        uid: format!("uid-{name}"),
        generation: 1,
        creation_timestamp: Some(Time("2026-01-01T00:00:00Z".parse().unwrap())),
    }
}

/// A claim of one HTTP listener.
pub fn claim(name: &str, port: u16) -> GatewayClaim {
    let listener = ClaimListener {
        name: "http".into(),
        port,
        protocol: ListenerProtocol::Http,
        hostname: None,
        tls: None,
        filters: vec![],
    };
    let spec = GatewayClaimSpec {
        backend_client_certificate: None,
        infrastructure: None,
        origin: origin("Gateway", name),
        template: "default".into(),
        sharing_key: None,
        addresses: vec![],
        tracing: None,
        refused: vec![],
        listeners: vec![listener],
    };
    GatewayClaim::new(name, spec)
}

/// A route of one claim and host name.
pub fn route(name: &str, claim: &str, host: &str) -> GatewayRoute {
    let hostname = RouteHostname { effective: host.into(), original: host.into() };
    let spec = GatewayRouteSpec {
        protocol: foregate_api::route::RouteProtocol::Http,
        origin: origin("HTTPRoute", name),
        attachments: vec![Attachment { claim: claim.into(), listener: "http".into(), hostnames: vec![hostname] }],
        rules: vec![RouteRule { matches: vec![RouteMatch::default()], ..Default::default() }],
    };
    GatewayRoute::new(name, spec)
}
