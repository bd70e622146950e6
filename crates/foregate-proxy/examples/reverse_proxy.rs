//! The engine by itself: one listener, one backend, configured over xDS by the same process.
//!
//! `cargo run --release -p foregate-proxy --example reverse_proxy -- 127.0.0.1:8080 127.0.0.1:9000 [ACCESS_LOG]`

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "an example stops at the first thing that is wrong")]

use std::path::PathBuf;

use foregate_envoy::{Delta, Owner, Resource, ResourceId, ResourceKind};
use foregate_proxy::{AccessLog, ConfigSource, Engine, EngineOptions, InstanceOptions, LogFormat};
use foregate_xds::{Cache, Instance, Options, serve_unix};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn resource(kind: ResourceKind, name: &str, needs: &[(ResourceKind, &str)], yaml: &str) -> Resource {
    let type_name = kind.type_url().trim_start_matches("type.googleapis.com/");
    let body = prost::Message::encode_to_vec(&foregate_envoy::from_yaml(type_name, yaml).expect("valid YAML"));
    Resource {
        id: ResourceId::new(kind, name),
        version: "1".into(),
        body: body.into(),
        needs: needs.iter().map(|(kind, name)| ResourceId::new(*kind, *name)).collect(),
        owners: [Owner { uid: "example".into(), generation: 1 }].into(),
    }
}

fn address(text: &str) -> String {
    let (ip, port) = text.rsplit_once(':').expect("an address is IP:PORT");
    format!("{{ socket_address: {{ address: \"{ip}\", port_value: {port} }} }}")
}

fn resources(listen: &str, backend: &str) -> Vec<Resource> {
    use ResourceKind::{Cluster, ClusterLoadAssignment, Listener, RouteConfiguration, VirtualHost};
    let ads = "{ ads: {}, resource_api_version: V3 }";
    let listener = format!(
        r#"
name: http
address: {}
filter_chains:
- filters:
  - name: envoy.filters.network.http_connection_manager
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: http
      rds: {{ config_source: {ads}, route_config_name: rc }}
      use_remote_address: true
      normalize_path: true
      merge_slashes: true
      http_filters:
      - name: envoy.filters.http.router
        typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
"#,
        address(listen)
    );
    let host = "name: h\ndomains: [\"*\"]\nroutes: [{ match: { prefix: / }, route: { cluster: c, timeout: 0s } }]";
    let cluster = format!("name: c\ntype: EDS\neds_cluster_config: {{ eds_config: {ads} }}");
    let endpoints = format!(
        "cluster_name: c\nendpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {} }} }}] }}]",
        address(backend)
    );
    vec![
        resource(Cluster, "c", &[], &cluster),
        resource(ClusterLoadAssignment, "c", &[], &endpoints),
        resource(Listener, "http", &[(RouteConfiguration, "rc")], &listener),
        resource(RouteConfiguration, "rc", &[], "name: rc"),
        resource(VirtualHost, "rc/*", &[(Cluster, "c"), (ClusterLoadAssignment, "c")], host),
    ]
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (listen, backend) = (arguments.next().expect("LISTEN"), arguments.next().expect("BACKEND"));
    let access_log = arguments.next().map_or(AccessLog::Off, |path| AccessLog::File(path.into(), LogFormat::Text));
    let socket: PathBuf = std::env::temp_dir().join(format!("foregate-example-{}.sock", std::process::id()));
    let (cache, mut events) = Cache::new(Options::default());
    let identity = Instance { group: "example".into(), node: "local".into() };
    tokio::spawn({
        let (cache, socket) = (cache.clone(), socket.clone());
        async move { serve_unix(cache, &socket, identity, CancellationToken::new()).await }
    });
    cache.apply("example", Delta { set: resources(&listen, &backend), remove: Vec::new() });
    let engine =
        Engine::start(EngineOptions { workers: 1, access_log, ..EngineOptions::default() }).expect("an engine");
    let options =
        InstanceOptions { name: "example".into(), xds: ConfigSource::Socket { path: socket, node_id: "local".into() } };
    engine.add(options).await.expect("an instance");
    while let Some(event) = events.recv().await {
        println!("{event:?}");
    }
}
