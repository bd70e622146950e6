//! What classes and Gateways say beyond listeners: parameters, infrastructure, default Gateways.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::net::SocketAddr;

use foregate_api::{Address, DEFAULT_TENANT_NAMESPACE, GatewayInstance, GatewayProxy, GatewayTemplate};
use harness::{Foregate, apply, backend, eventually, gateway, gateway_address, http, route, service};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};

const MERGED: &str = "
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: { name: merged }
spec: { mergeGateways: true, provider: { type: Kubernetes, kubernetes: { envoyDeployment: { replicas: 2 } } } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: merged }
spec:
  controllerName: foregate.dev/gateway-controller
  parametersRef: { group: gateway.envoyproxy.io, kind: EnvoyProxy, name: merged, namespace: default }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: one }
spec: { gatewayClassName: merged, listeners: [{ name: http, port: 8080, protocol: HTTP }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: two }
spec: { gatewayClassName: merged, listeners: [{ name: http, port: 8081, protocol: HTTP }] }
";

const OWN: &str = "
apiVersion: foregate.dev/v1alpha1
kind: GatewayClassParameters
metadata: { name: large }
spec: { template: large }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: own }
spec:
  gatewayClassName: foregate
  defaultScope: All
  infrastructure:
    labels: { team: shop }
    annotations: { example.com/note: hello }
    parametersRef: { group: foregate.dev, kind: GatewayClassParameters, name: large }
  listeners: [{ name: http, port: 8080, protocol: HTTP }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: anywhere }
spec:
  useDefaultGateways: All
  rules: [{ backendRefs: [{ name: web, port: 80 }] }]
";

async fn serves(address: SocketAddr, path: &str) {
    eventually(&format!("{address}{path} serves"), || async {
        http::get(address, "web", path).await.ok().filter(|response| response.status() == 200)
    })
    .await;
}

async fn proxies(client: &Client) -> Vec<GatewayProxy> {
    let api: Api<GatewayProxy> = Api::namespaced(client.clone(), DEFAULT_TENANT_NAMESPACE);
    api.list(&ListParams::default()).await.unwrap().items
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_of_a_class_may_share_one_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let foregate = Foregate::start(dir.path(), "127.110.45.0/24", &[]);
    let client = foregate.client().await;
    let web = backend::start("web").await;
    for yaml in
        [MERGED, &service("web", &[web]), &route("one", "one", "/one", "web"), &route("two", "two", "/two", "web")]
    {
        apply(&client, yaml).await;
    }
    let (one, two) = (gateway_address(&client, "one").await, gateway_address(&client, "two").await);
    assert_eq!(one, two);
    assert_eq!(proxies(&client).await.len(), 1);
    serves(SocketAddr::new(one, 8080), "/one").await;
    serves(SocketAddr::new(one, 8081), "/two").await;
    let elsewhere = http::get(SocketAddr::new(one, 8080), "web", "/two").await.unwrap();
    assert_eq!(elsewhere.status(), 404, "the other Gateway's route isn't on this one's port");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_has_a_template_and_labels_of_its_own_and_takes_who_asks_for_any() {
    let dir = tempfile::tempdir().unwrap();
    let foregate = Foregate::start(dir.path(), "127.110.46.0/24", &[]);
    let client = foregate.client().await;
    let templates: Api<GatewayTemplate> = Api::namespaced(client.clone(), DEFAULT_TENANT_NAMESPACE);
    let mut large = GatewayTemplate::new("large", templates.get("default").await.unwrap().spec);
    large.spec.values.as_mut().unwrap()["idleTimeout"] = "7s".into();
    templates.create(&PostParams::default(), &large).await.unwrap();
    let web = backend::start("web").await;
    for yaml in [OWN, &service("web", &[web]), &gateway("plain")] {
        apply(&client, yaml).await;
    }
    let (own, plain) = (gateway_address(&client, "own").await, gateway_address(&client, "plain").await);
    serves(SocketAddr::new(own, 8080), "/").await;
    assert_eq!(
        http::get(SocketAddr::new(plain, 8080), "web", "/").await.unwrap().status(),
        404,
        "it is no default one"
    );

    let all = proxies(&client).await;
    let proxy = all.iter().find(|proxy| proxy.spec.template_name == "large").expect("made from the other template");
    assert_eq!(proxy.spec.template.values.as_ref().unwrap()["idleTimeout"], "7s");
    let addresses = Api::<Address>::all(client.clone()).list(&ListParams::default()).await.unwrap().items;
    let address = addresses.iter().find(|address| address.spec.address == own.to_string()).unwrap();
    let instances = Api::<GatewayInstance>::all(client.clone()).list(&ListParams::default()).await.unwrap().items;
    let instance = instances.iter().find(|instance| instance.spec.proxy.name == proxy.name_any()).unwrap();
    for (labels, annotations) in [
        (proxy.labels(), proxy.annotations()),
        (address.labels(), address.annotations()),
        (instance.labels(), instance.annotations()),
    ] {
        assert_eq!((labels["team"].as_str(), annotations["example.com/note"].as_str()), ("shop", "hello"));
    }
    assert!(all.iter().filter(|proxy| proxy.labels().contains_key("team")).count() == 1);
}
