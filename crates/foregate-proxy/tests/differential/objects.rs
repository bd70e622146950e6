//! The platform's objects, written short.

use std::net::SocketAddr;

use foregate_translate::default_template;
use serde_json::{Value, json};

fn metadata(name: &str) -> Value {
    json!({ "namespace": "tenant-a", "name": name, "generation": 1, "uid": format!("uid-{name}") })
}

/// The gateway: the stock template, whose routes also say in `x-route` who they are. Envoy would hold on to connections
/// that it has given up for a second each.
pub fn proxy(address: SocketAddr) -> Value {
    let mut template = serde_json::to_value(default_template().spec).unwrap();
    let listener = template["envoy"]["listener"].as_str().unwrap();
    let quick = listener.replace("server_name: foregate", "server_name: foregate\n      delayed_close_timeout: 0.1s");
    assert_ne!(listener, quick);
    template["envoy"]["listener"] = json!(quick);
    template["envoy"]["routePatch"] = json!(format!(
        "response_headers_to_add: [{{ header: {{ key: x-route, value: {{{{ toJson .route.name }}}} }}, append_action: OVERWRITE_IF_EXISTS_OR_ADD }}]\n{}",
        super::tables::patch()
    ));
    json!({ "kind": "GatewayProxy", "apiVersion": "foregate.dev/v1alpha1", "metadata": metadata("web"),
            "spec": { "templateName": "default", "template": template },
            "status": { "addresses": [address.ip()], "claims": ["claim"], "listeners": [
                { "claim": "claim", "name": "http", "port": address.port(), "protocol": "HTTP" }] } })
}

fn origin(kind: &str, name: &str) -> Value {
    json!({ "cluster": "local", "kind": kind, "namespace": "shop", "name": name, "uid": format!("{kind}-{name}"),
            "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z" })
}

/// A backend and its endpoints: a port on this machine, or none.
pub fn backend(name: &str, port: Option<u16>) -> [Value; 2] {
    let endpoints: Vec<Value> = port.iter().map(|_| json!({ "addresses": ["127.0.0.1"] })).collect();
    [
        json!({ "kind": "GatewayBackend", "apiVersion": "foregate.dev/v1alpha1", "metadata": metadata(name),
                "spec": { "origin": origin("Service", name), "port": 80, "policy": { "connectTimeoutMillis": 1000 } } }),
        json!({ "kind": "GatewayEndpointSlice", "apiVersion": "foregate.dev/v1alpha1",
                "metadata": metadata(&format!("{name}-1")),
                "spec": { "origin": origin("EndpointSlice", name), "serviceUid": format!("Service-{name}"),
                          "ports": [{ "port": port.unwrap_or(1) }], "endpoints": endpoints } }),
    ]
}

/// The same, for HTTP/2 without TLS.
pub fn http2_backend(name: &str, port: u16) -> [Value; 2] {
    let [mut backend, slice] = backend(name, Some(port));
    backend["spec"]["protocol"] = json!("H2C");
    [backend, slice]
}

/// A route for these hosts; its rules in YAML.
pub fn route(name: &str, hosts: &[&str], rules: &str) -> Value {
    let rules: Value = serde_saphyr::from_str(rules).unwrap_or_else(|error| panic!("{name}: {error}\n{rules}"));
    let hostnames: Vec<Value> = hosts.iter().map(|host| json!({ "effective": host, "original": host })).collect();
    json!({ "kind": "GatewayRoute", "apiVersion": "foregate.dev/v1alpha1", "metadata": metadata(name),
            "spec": { "origin": origin("HTTPRoute", name), "rules": rules,
                      "attachments": [{ "claim": "claim", "listener": "http", "hostnames": hostnames }] } })
}
