//! Resources in YAML.

use foregate_envoy::{Resource, ResourceId, ResourceKind, from_yaml};
use prost_reflect::ReflectMessage;

/// One resource; its first line says of which kind it is.
pub fn resource(yaml: &str) -> Resource {
    let kind = match yaml.trim_start_matches("# ").lines().next().unwrap() {
        "cluster" => ResourceKind::Cluster,
        "listener" => ResourceKind::Listener,
        "secret" => ResourceKind::Secret,
        "routes" => ResourceKind::RouteConfiguration,
        other => panic!("{other} is no kind"),
    };
    let message = from_yaml(kind.type_url().trim_start_matches("type.googleapis.com/"), yaml)
        .unwrap_or_else(|errors| panic!("{errors:?}\n{yaml}"));
    let field = message.descriptor().get_field_by_name("name").unwrap();
    let name = message.get_field(&field).as_str().unwrap().to_owned();
    Resource::new(ResourceId::new(kind, name), &message, [], [])
}

/// A cluster with endpoints on this machine.
pub fn cluster(name: &str, ports: &[u16], more: &str) -> String {
    let endpoints: Vec<String> = ports
        .iter()
        .map(|port| {
            format!("{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }}")
        })
        .collect();
    format!(
        "# cluster\nname: {name}\ntype: STATIC\nconnect_timeout: 1s\nload_assignment: {{ cluster_name: {name}, endpoints: [{{ \
         lb_endpoints: [{}] }}] }}\n{more}",
        endpoints.join(", ")
    )
}

/// A listener for connections.
pub fn listener(name: &str, port: u16, chains: &str) -> String {
    let inspector = "listener_filters: [{ name: envoy.filters.listener.tls_inspector, typed_config: { \"@type\": \
                     type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } }]";
    let inspector = if chains.contains("filter_chain_match") { inspector } else { "" };
    format!(
        "# listener\nname: {name}\naddress: {{ socket_address: {{ address: ADDRESS, port_value: {port} }} }}\n{inspector}\n\
         filter_chains:\n{chains}"
    )
}

/// A chain; `head` are fields besides its filter.
pub fn chain(name: &str, head: &str, options: &str) -> String {
    format!(
        "- name: {name}\n{head}  filters: [{{ name: envoy.filters.network.tcp_proxy, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: x, {options} }} }}]\n"
    )
}

/// A chain that answers requests with its name.
pub fn http_chain(name: &str, head: &str) -> String {
    format!(
        r#"- name: {name}
{head}  filters:
  - name: envoy.filters.network.http_connection_manager
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: x
      route_config: {{ name: {name}, virtual_hosts: [{{ name: a, domains: ["*"], routes: [{{ name: a, match: {{ prefix: / }}, direct_response: {{ status: 200, body: {{ inline_string: {name} }} }} }}] }}] }}
      http_filters:
      - name: envoy.filters.http.router
        typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
"#
    )
}

/// Names that a chain is for.
pub fn names(names: &str) -> String {
    format!("  filter_chain_match: {{ server_names: [{names}] }}\n")
}

/// TLS that a chain terminates.
pub fn terminating(identity: &super::people::Identity, more: &str, common: &str) -> String {
    format!(
        "  transport_socket: {{ name: tls, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, {more} common_tls_context: {{ \
         tls_certificates: [{{ certificate_chain: {{ inline_string: {} }}, private_key: {{ inline_string: {} }} }}], {common} \
         }} }} }}\n",
        quoted(&identity.chain),
        quoted(&identity.key)
    )
}

/// A text in JSON's form, which YAML takes.
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}
