//! State of the world, with the generated client, over a real unix socket.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, reason = "tests")]

mod support;

use std::path::Path;

use foregate_envoy::ResourceKind;
use foregate_envoy::pb::envoy::config::core::v3::Node;
use foregate_envoy::pb::envoy::config::route::v3::RouteConfiguration;
use foregate_envoy::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use foregate_envoy::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use foregate_envoy::pb::google::rpc::Status as RpcStatus;
use foregate_xds::{Event, Options};
use hyper_util::rt::TokioIo;
use prost::Message;
use support::resources::{cluster, endpoints, host, listener, shell};
use support::{remove, serve, set, within};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Endpoint, Uri};
use tonic::{Code, Status, Streaming};

struct Envoy {
    requests: mpsc::UnboundedSender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
}

impl Envoy {
    async fn connect(path: &Path) -> Self {
        let path = path.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let channel = within(Endpoint::from_static("http://envoy").connect_with_connector(connector)).await.unwrap();
        let (requests, receiver) = mpsc::unbounded_channel();
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let stream = client.stream_aggregated_resources(UnboundedReceiverStream::new(receiver));
        let responses = within(stream).await.unwrap().into_inner();
        Self { requests, responses }
    }

    fn ask(&self, kind: ResourceKind, names: &[&str]) {
        let resource_names = names.iter().map(ToString::to_string).collect();
        let node = Some(Node { id: "envoy".into(), ..Default::default() });
        let type_url = kind.type_url().to_owned();
        self.requests.send(DiscoveryRequest { node, type_url, resource_names, ..Default::default() }).unwrap();
    }

    async fn next(&mut self) -> Result<DiscoveryResponse, Status> {
        within(self.responses.message()).await.map(|response| response.expect("the stream goes on"))
    }

    fn answer(&self, response: &DiscoveryResponse, names: &[&str], error: Option<&str>) {
        let request = DiscoveryRequest {
            version_info: response.version_info.clone(),
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            resource_names: names.iter().map(ToString::to_string).collect(),
            error_detail: error.map(|message| RpcStatus { code: 13, message: message.into(), ..Default::default() }),
            ..Default::default()
        };
        self.requests.send(request).unwrap();
    }

    async fn take(&mut self, names: &[&str]) -> DiscoveryResponse {
        let response = self.next().await.unwrap();
        self.answer(&response, names, None);
        response
    }
}

fn hosts(response: &DiscoveryResponse) -> Vec<String> {
    let routes = RouteConfiguration::decode(&*response.resources[0].value).unwrap();
    routes.virtual_hosts.into_iter().map(|host| host.name).collect()
}

#[tokio::test]
async fn envoy_gets_whole_route_configurations_after_endpoints() {
    let mut served = serve(Options::default()).await;
    let all = set([listener("l", "r"), shell("r"), cluster("a", "1"), endpoints("a"), host("r", "x", "a")]);
    served.cache.apply(support::GROUP, all);
    let mut envoy = Envoy::connect(&served.path).await;
    envoy.ask(ResourceKind::Cluster, &[]);
    assert_eq!(envoy.take(&[]).await.resources.len(), 1);
    envoy.ask(ResourceKind::ClusterLoadAssignment, &["a"]);
    assert_eq!(envoy.take(&["a"]).await.resources.len(), 1);
    envoy.ask(ResourceKind::Listener, &[]);
    assert_eq!(envoy.take(&[]).await.resources.len(), 1);
    envoy.ask(ResourceKind::RouteConfiguration, &["r"]);
    let first = envoy.take(&["r"]).await;
    assert_eq!(hosts(&first), ["x to a"]);
    served.progress(1).await;

    let second = served.cache.apply(support::GROUP, set([host("r", "y", "a")]));
    let response = envoy.take(&["r"]).await;
    assert_eq!(hosts(&response), ["x to a", "y to a"]);
    assert_ne!((&first.nonce, &first.version_info), (&response.nonce, &response.version_info));
    served.progress(second).await;

    served.cache.apply(support::GROUP, set([host("r", "bad", "a")]));
    let bad = envoy.next().await.unwrap();
    envoy.answer(&bad, &["r"], Some("bad: no such thing"));
    let third = served.cache.apply(support::GROUP, set([host("r", "z", "a")]));
    assert_eq!(hosts(&envoy.take(&["r"]).await), ["x to a", "y to a", "z to a"]);
    let nacked = served.progress(third).await;
    let [Event::Nacked { id, owners, message, .. }] = nacked.as_slice() else { panic!("one culprit: {nacked:?}") };
    assert_eq!((&*id.name, &*owners[0].uid, message.as_str()), ("r/bad", "uid-of-bad", "bad: no such thing"));
}

#[tokio::test]
async fn a_stream_must_say_who_asks() {
    let served = serve(Options::default()).await;
    let mut envoy = Envoy::connect(&served.path).await;
    let type_url = ResourceKind::Cluster.type_url().to_owned();
    envoy.requests.send(DiscoveryRequest { type_url, ..Default::default() }).unwrap();
    let status = envoy.next().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("node:"), "{status}");
}

#[tokio::test]
async fn types_that_are_not_served_are_ignored() {
    let served = serve(Options::default()).await;
    served.cache.apply(support::GROUP, remove([]));
    let mut envoy = Envoy::connect(&served.path).await;
    let node = Some(Node::default());
    let type_url = "type.googleapis.com/envoy.service.runtime.v3.Runtime".to_owned();
    envoy.requests.send(DiscoveryRequest { type_url, node, ..Default::default() }).unwrap();
    envoy.ask(ResourceKind::Cluster, &[]);
    assert_eq!(envoy.take(&[]).await.type_url, ResourceKind::Cluster.type_url());
    assert_eq!(served.cache.stats().unknown_types, 1);
}
