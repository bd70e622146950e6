//! Resources to serve.

use foregate_envoy::pb::envoy::config::cluster::v3::Cluster;
use foregate_envoy::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use foregate_envoy::pb::envoy::config::listener::v3::Listener;
use foregate_envoy::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use foregate_envoy::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use foregate_envoy::{Owner, Resource, ResourceId, ResourceKind};

pub fn id(kind: ResourceKind, name: &str) -> ResourceId {
    ResourceId::new(kind, name)
}

fn owner(name: &str) -> Owner {
    Owner { uid: format!("uid-of-{name}").into(), generation: 1 }
}

pub fn cluster(name: &str, alt: &str) -> Resource {
    let message = Cluster { name: name.into(), alt_stat_name: alt.into(), ..Default::default() };
    let needs = [id(ResourceKind::ClusterLoadAssignment, name)];
    Resource::new(id(ResourceKind::Cluster, name), &message, needs, [owner(name)])
}

pub fn endpoints(name: &str) -> Resource {
    let policy = Some(Default::default());
    let message = ClusterLoadAssignment { cluster_name: name.into(), policy, ..Default::default() };
    Resource::new(id(ResourceKind::ClusterLoadAssignment, name), &message, [], [owner(name)])
}

/// A cluster that names a secret.
pub fn secure_cluster(name: &str, secret: &str) -> Resource {
    let mut cluster = cluster(name, secret);
    cluster.needs = [id(ResourceKind::ClusterLoadAssignment, name), id(ResourceKind::Secret, secret)].into();
    cluster
}

pub fn secret(name: &str) -> Resource {
    let message = Secret { name: name.into(), ..Default::default() };
    Resource::new(id(ResourceKind::Secret, name), &message, [], [])
}

pub fn listener(name: &str, routes: &str) -> Resource {
    let message = Listener { name: name.into(), stat_prefix: routes.into(), ..Default::default() };
    let needs = [id(ResourceKind::RouteConfiguration, routes)];
    Resource::new(id(ResourceKind::Listener, name), &message, needs, [owner(name)])
}

pub fn shell(name: &str) -> Resource {
    shell_with(name, "x-internal")
}

pub fn shell_with(name: &str, header: &str) -> Resource {
    let message =
        RouteConfiguration { name: name.into(), internal_only_headers: vec![header.into()], ..Default::default() };
    Resource::new(id(ResourceKind::RouteConfiguration, name), &message, [], [owner(name)])
}

pub fn host(routes: &str, domain: &str, cluster: &str) -> Resource {
    let message =
        VirtualHost { name: format!("{domain} to {cluster}"), domains: vec![domain.into()], ..Default::default() };
    let name = format!("{routes}/{domain}");
    let needs = [id(ResourceKind::Cluster, cluster)];
    Resource::new(id(ResourceKind::VirtualHost, &name), &message, needs, [owner(domain)])
}

/// A listener of gRPC clients.
pub fn api_listener(name: &str, routes: &str) -> Resource {
    use foregate_envoy::pb::envoy::config::listener::v3::ApiListener;
    let api_listener = Some(ApiListener::default());
    let message = Listener { name: name.into(), stat_prefix: routes.into(), api_listener, ..Default::default() };
    let needs = [id(ResourceKind::RouteConfiguration, routes)];
    Resource::new(id(ResourceKind::Listener, name), &message, needs, [owner(name)])
}
