//! A Gateway in the cluster, with pods behind it.

use std::net::SocketAddr;
use std::time::Duration;

use foregate_api::gateway::{Gateway, HTTPRoute};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, PropagationPolicy};
use kube::{Api, Client};

use crate::bed::Bed;
use crate::harness::{self, apply, condition, eventually, http};

/// Where everything is, and nothing else.
pub const NAMESPACE: &str = "foregate-bench";

/// How long a node takes to write to disk what it serves, and more.
pub const SETTLED: Duration = Duration::from_millis(1500);

/// What scenarios start from: a Gateway on port 8080 whose route `first` sends host `web` to the pods of `one`.
pub struct Scene {
    pub bed: Bed,
    pub client: Client,
    pub address: SocketAddr,
}

impl Scene {
    /// Makes it, with so many controllers and a `foregate up`.
    pub async fn set(controllers: usize) -> Self {
        Self::on(Bed::start(controllers).await).await
    }

    /// Makes it, on a cluster without remains of an earlier one.
    pub async fn on(bed: Bed) -> Self {
        let client = bed.workload.clone();
        remove(&client).await;
        apply(&client, &format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n")).await;
        for yaml in [deployment("one", 2), deployment("two", 2), service("one"), service("two"), gateway("web", 8080)] {
            apply(&client, &yaml).await;
        }
        apply(&client, &route(NAMESPACE, "first", "web", "one")).await;
        let api: Api<Gateway> = Api::namespaced(client.clone(), NAMESPACE);
        let address = eventually("the Gateway is Programmed", || async {
            let gateway = serde_json::to_value(api.get("web").await.ok()?).ok()?;
            let (status, _, _) = condition(&gateway, "/status/conditions", "Programmed")?;
            let address = gateway.pointer("/status/addresses/0/value")?.as_str()?.parse().ok()?;
            (status == "True").then(|| SocketAddr::new(address, 8080))
        })
        .await;
        let scene = Self { bed, client, address };
        scene.pods_are_ready("one").await;
        scene.pods_are_ready("two").await;
        eventually("the first route serves", || async {
            http::get(address, "web", "/").await.ok().filter(|response| response.status() == 200)
        })
        .await;
        scene
    }

    pub fn routes(&self) -> Api<HTTPRoute> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Waits until all pods of the newest form are there and take requests, and no others are.
    pub async fn pods_are_ready(&self, name: &str) {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), NAMESPACE);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(180);
        loop {
            let deployment = api.get(name).await.unwrap();
            let (wanted, generation) = (deployment.spec.replicas, deployment.metadata.generation);
            let status = deployment.status.unwrap_or_default();
            let all = [status.replicas, status.updated_replicas, status.available_replicas];
            if status.observed_generation == generation && all.iter().all(|&number| number == wanted) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "pods of {name} don't become ready: {status:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Deletes what an earlier run left.
async fn remove(client: &Client) {
    let api: Api<Namespace> = Api::all(client.clone());
    let params = DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
    let _ = api.delete(NAMESPACE, &params).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(180);
    while api.get_opt(NAMESPACE).await.unwrap().is_some() {
        assert!(tokio::time::Instant::now() < deadline, "namespace {NAMESPACE} doesn't go away");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Pods that answer every request, leave only after nobody sends to them any more, and say when they are ready.
pub fn deployment(name: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\n\
         spec:\n  replicas: {replicas}\n  selector: {{matchLabels: {{app: {name}}}}}\n  \
         strategy: {{rollingUpdate: {{maxUnavailable: 0, maxSurge: 1}}}}\n  template:\n    \
         metadata: {{labels: {{app: {name}}}}}\n    spec:\n      terminationGracePeriodSeconds: 20\n      \
         containers:\n      - name: echo\n        image: {ECHO}\n        imagePullPolicy: Never\n        \
         env: [{{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}, \
         {{name: NAMESPACE, value: {NAMESPACE}}}]\n        \
         readinessProbe: {{httpGet: {{path: /, port: 3000}}, periodSeconds: 1}}\n        \
         lifecycle: {{preStop: {{sleep: {{seconds: 3}}}}}}\n"
    )
}

const ECHO: &str = "registry.k8s.io/gateway-api/conformance/echo-basic:v0.2.0";

pub fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\n\
         spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 80, targetPort: 3000}}]}}\n"
    )
}

/// A Gateway with one listener that takes routes of all namespaces.
pub fn gateway(name: &str, port: u16) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\n\
         spec:\n  gatewayClassName: foregate\n  listeners:\n  \
         - {{name: http, port: {port}, protocol: HTTP, allowedRoutes: {{namespaces: {{from: All}}}}}}\n"
    )
}

/// A route of the Gateway from a host name to a Service of its own namespace.
pub fn route(namespace: &str, name: &str, host: &str, service: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n  parentRefs: [{{name: web, namespace: {NAMESPACE}}}]\n  hostnames: [{host}]\n  rules:\n  \
         - backendRefs: [{{name: {service}, port: 80}}]\n"
    )
}

/// The same as an object.
pub fn route_object(namespace: &str, name: &str, host: &str, service: &str) -> HTTPRoute {
    serde_saphyr::from_str(&route(namespace, name, host, service)).unwrap()
}

/// Fails unless nothing failed.
pub fn none_failed(what: &str, sent: u64, failures: &[String]) {
    println!("  {what}: {sent} requests, {} failed", failures.len());
    assert!(failures.is_empty(), "{what}: {failures:#?}");
}

pub use harness::load::Load;
