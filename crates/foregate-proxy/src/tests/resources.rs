//! Resources, written short.

use foregate_envoy::ResourceKind;
use foregate_envoy::pb::envoy::config::listener::v3::Listener;
use foregate_xds::client::{ClientResource, Response};
use prost::Message;

/// One resource from YAML.
pub(super) fn resource(kind: ResourceKind, name: &str, yaml: &str) -> ClientResource {
    let type_name = kind.type_url().trim_start_matches("type.googleapis.com/");
    let message = foregate_envoy::from_yaml(type_name, yaml).unwrap_or_else(|errors| panic!("{errors:?}\n{yaml}"));
    ClientResource { name: name.to_owned(), version: "1".to_owned(), body: message.encode_to_vec().into() }
}

pub(super) fn response(kind: ResourceKind, set: Vec<ClientResource>, removed: &[&str]) -> Response {
    Response { kind, set, removed: removed.iter().map(|name| (*name).to_owned()).collect(), nonce: String::new() }
}

/// A listener with one plain chain; `http` is put into the connection manager, `routes` is its route specifier.
pub(super) fn listener_yaml(name: &str, address: &str, port: u16, routes: &str, http: &str) -> String {
    format!(
        r#"
name: {name}
address: {{ socket_address: {{ address: {address}, port_value: {port} }} }}
filter_chains:
- filters:
  - name: envoy.filters.network.http_connection_manager
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: x
      {routes}
      {http}
      http_filters:
      - name: envoy.filters.http.router
        typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
"#
    )
}

/// `rds` over ADS.
pub(super) fn rds(name: &str) -> String {
    format!("rds: {{ config_source: {{ ads: {{}}, resource_api_version: V3 }}, route_config_name: {name} }}")
}

pub(super) fn listener(name: &str, port: u16, routes: &str, http: &str) -> ClientResource {
    resource(ResourceKind::Listener, name, &listener_yaml(name, "127.0.0.1", port, routes, http))
}

/// A cluster with endpoints over EDS.
pub(super) fn eds_cluster(name: &str, extra: &str) -> ClientResource {
    let yaml = format!(
        "name: {name}\ntype: EDS\nconnect_timeout: 1s\n\
         eds_cluster_config: {{ eds_config: {{ ads: {{}}, resource_api_version: V3 }} }}\n{extra}"
    );
    resource(ResourceKind::Cluster, name, &yaml)
}

/// Endpoints on 127.0.0.1.
pub(super) fn endpoints(name: &str, ports: &[u16]) -> ClientResource {
    let list: Vec<String> = ports
        .iter()
        .map(|port| {
            format!("{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }}")
        })
        .collect();
    let yaml = format!("cluster_name: {name}\nendpoints:\n- lb_endpoints: [{}]\n", list.join(", "));
    resource(ResourceKind::ClusterLoadAssignment, name, &yaml)
}

/// A route configuration whose virtual hosts come one by one.
pub(super) fn shell(name: &str) -> ClientResource {
    let yaml = format!(
        "name: {name}\nignore_port_in_host_matching: true\nvhds: {{ config_source: {{ ads: {{}}, resource_api_version: V3 }} }}"
    );
    resource(ResourceKind::RouteConfiguration, name, &yaml)
}

/// A virtual host; `routes` is the list of its routes, in YAML's flow style or indented by nothing.
pub(super) fn host(config: &str, domain: &str, routes: &str) -> ClientResource {
    let yaml = format!(
        "name: {config}/{domain}\ndomains: [\"{domain}\"]\nroutes: {}{routes}",
        if routes.starts_with('[') { "" } else { "\n" }
    );
    resource(ResourceKind::VirtualHost, &format!("{config}/{domain}"), &yaml)
}

/// The name in an encoded listener, to see that resources are what they seem.
#[test]
fn a_listener_is_a_listener() {
    let resource = listener("l", 0, &rds("r"), "");
    assert_eq!(Listener::decode(&*resource.body).unwrap().name, "l");
}
