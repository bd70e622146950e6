//! The objects that a status is made from.

use std::collections::{BTreeMap, HashMap};

use foregate_api::gateway::{
    GRPCRoute, Gateway, GatewayClass, HTTPRoute, ParentReference, RouteStatus, TCPRoute, TLSRoute, UDPRoute,
};
use foregate_api::{GatewayBackend, GatewayClaim, GatewayInstance, GatewayNode, GatewayProxy, GatewayRoute, condition};
use kube::ResourceExt as _;

use crate::cli::api::ApiServer;
use crate::cli::config_api::{self, Published};
use crate::cli::dump::InstanceState;
use crate::cli::error::CliError;
use crate::cli::gateway::{self, GatewayName};

/// A user's route, of any kind.
pub struct UserRoute {
    /// E.g. `HTTPRoute`.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its parents.
    pub parents: Vec<ParentReference>,
    /// What is said of it.
    pub status: RouteStatus,
}

/// Everything that a status is made from.
pub struct World {
    pub classes: Vec<GatewayClass>,
    pub gateways: Vec<Gateway>,
    pub user_routes: Vec<UserRoute>,
    pub claims: Vec<GatewayClaim>,
    pub proxies: Vec<GatewayProxy>,
    pub routes: Vec<GatewayRoute>,
    /// By name.
    pub backends: HashMap<String, GatewayBackend>,
    pub instances: Vec<GatewayInstance>,
    pub nodes: Vec<GatewayNode>,
    /// Per GatewayProxy, as `NAMESPACE/NAME`: endpoints by cluster.
    pub endpoints: HashMap<String, BTreeMap<String, Vec<String>>>,
}

impl World {
    /// The names of the gateways that run.
    pub fn names(&self) -> Vec<GatewayName> {
        gateway::names(&self.claims, &self.proxies)
    }

    /// Whether a user's Gateway has this very name.
    pub fn has_gateway(&self, asked: &str) -> bool {
        self.gateways.iter().any(|it| format!("{}/{}", it.namespace().unwrap_or_default(), it.name_any()) == asked)
    }

    /// The instances of a proxy.
    pub fn instances_of(&self, namespace: &str, proxy: &str) -> Vec<InstanceState> {
        let ours = |it: &&GatewayInstance| it.spec.proxy.namespace == namespace && it.spec.proxy.name == proxy;
        self.instances.iter().filter(ours).map(InstanceState::of).collect()
    }

    /// Whether it is known that a node's agent is away.
    pub fn is_away(&self, node: &str) -> bool {
        let conditions = self.nodes.iter().find(|it| it.name_any() == node).and_then(|it| it.status.as_ref());
        let ready = conditions.and_then(|status| condition::find(&status.conditions, "Ready"));
        ready.is_some_and(|ready| ready.status == "False")
    }

    /// The user's route that a GatewayRoute was made from.
    pub fn user_route(&self, route: &GatewayRoute) -> Option<&UserRoute> {
        let origin = &route.spec.origin;
        self.user_routes
            .iter()
            .find(|it| it.kind == origin.kind && it.namespace == origin.namespace && it.name == origin.name)
    }
}

/// Reads it.
///
/// # Errors
/// When the API can't be read.
pub async fn world(api: &ApiServer) -> Result<World, CliError> {
    let proxies: Vec<GatewayProxy> = api.list().await?;
    let claims: Vec<GatewayClaim> = api.list().await?;
    let mut endpoints = HashMap::new();
    for name in gateway::names(&claims, &proxies) {
        let published = config_api::read(api, &name.proxy).await?;
        endpoints.insert(name.proxy_name(), clusters(&published));
    }
    let backends: Vec<GatewayBackend> = api.list().await?;
    let mut user_routes = Vec::new();
    macro_rules! read_routes {
        ($($kind:ty),*) => {$(
            let routes: Vec<$kind> = api.list().await?;
            user_routes.extend(routes.into_iter().map(|it| UserRoute {
                kind: stringify!($kind),
                namespace: it.namespace().unwrap_or_default(),
                name: it.name_any(),
                parents: it.spec.parent_refs,
                status: it.status.unwrap_or_default(),
            }));
        )*};
    }
    read_routes!(HTTPRoute, GRPCRoute, TLSRoute, TCPRoute, UDPRoute);
    Ok(World {
        classes: api.list().await?,
        gateways: api.list().await?,
        user_routes,
        claims,
        proxies,
        routes: api.list().await?,
        backends: backends.into_iter().map(|backend| (backend.name_any(), backend)).collect(),
        instances: api.list().await?,
        nodes: api.list().await?,
        endpoints,
    })
}

/// Endpoints by cluster, as engines have them.
fn clusters(published: &Published) -> BTreeMap<String, Vec<String>> {
    let mut clusters: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for resource in &published.resources {
        let assignment = match resource.kind() {
            "ClusterLoadAssignment" => &resource.resource,
            "Cluster" => &resource.resource["load_assignment"],
            _ => continue,
        };
        let localities = assignment["endpoints"].as_array().into_iter().flatten();
        let endpoints = localities.flat_map(|locality| locality["lb_endpoints"].as_array().into_iter().flatten());
        let text = |endpoint: &serde_json::Value| {
            let address = &endpoint["endpoint"]["address"];
            let socket = &address["socket_address"];
            match (socket["address"].as_str(), socket["port_value"].as_u64(), address["pipe"]["path"].as_str()) {
                (Some(address), Some(port), _) => Some(format!("{address}:{port}")),
                (_, _, Some(path)) => Some(format!("unix:{path}")),
                _ => None,
            }
        };
        clusters.entry(resource.name.clone()).or_default().extend(endpoints.filter_map(text));
    }
    clusters
}
