//! A small world of objects that tests change at random.

use std::collections::BTreeMap;

use foregate_translate::{Change, Input, Key};
use serde_json::{Value, json};

const NAMESPACE: &str = "tenant-a";

/// Manifests by kind and name.
#[derive(Clone, Debug, Default)]
pub struct World(pub BTreeMap<(&'static str, String), Value>);

impl World {
    /// Everything as inputs, in the order of kinds and names.
    pub fn inputs(&self) -> Vec<Input> {
        self.0.values().cloned().map(super::input).collect()
    }

    pub fn set(&mut self, kind: &'static str, manifest: Value) -> Input {
        let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
        self.0.insert((kind, name), manifest.clone());
        super::input(manifest)
    }

    pub fn remove(&mut self, kind: &'static str, name: &str) -> Option<Input> {
        self.0.remove(&(kind, name.to_owned()))?;
        let key = Key::new(NAMESPACE, name);
        Some(match kind {
            "GatewayProxy" => Input::Proxy(Change::Gone(key)),
            "GatewayRoute" => Input::Route(Change::Gone(key)),
            "GatewayBackend" => Input::Backend(Change::Gone(key)),
            "GatewayEndpointSlice" => Input::Slice(Change::Gone(key)),
            _ => Input::Secret(Change::Gone(key)),
        })
    }

    /// Whether a manifest of that kind has this text in it.
    pub fn named(&self, kind: &str, text: &str) -> bool {
        self.0.iter().any(|((of, _), manifest)| *of == kind && manifest.to_string().contains(text))
    }
}

fn origin(kind: &str, name: &str, generation: i64) -> Value {
    json!({ "cluster": "local", "kind": kind, "namespace": "shop", "name": name, "uid": format!("{kind}-{name}"),
            "generation": generation, "creationTimestamp": "2026-01-01T00:00:00Z" })
}

fn metadata(name: &str, generation: i64) -> Value {
    json!({ "namespace": NAMESPACE, "name": name, "generation": generation, "uid": format!("uid-{name}") })
}

pub fn backend(index: usize, variant: u8) -> Value {
    let name = format!("backend-{index}");
    let protocol = if variant.is_multiple_of(2) { "HTTP" } else { "H2C" };
    let mut manifest = json!({ "kind": "GatewayBackend", "apiVersion": "foregate.dev/v1alpha1",
            "metadata": metadata(&name, i64::from(variant)),
            "spec": { "origin": origin("Service", &name, 0), "port": 80, "protocol": protocol,
                      "portName": if variant.is_multiple_of(3) { "" } else { "web" } } });
    let address = match variant % 7 {
        4 => json!({ "ip": { "address": format!("10.1.{index}.{}", variant / 7), "port": 80 } }),
        5 => json!({ "fqdn": { "hostname": format!("h{}.example.com", variant / 7), "port": 80 } }),
        6 => json!({ "unix": { "path": format!("/run/{variant}") } }),
        _ => return manifest,
    };
    manifest["spec"]["endpoints"] = json!([{ "address": address, "hostname": "h.example.com" }]);
    if variant.is_multiple_of(4) {
        manifest["spec"]["tls"] = json!({ "systemCertificates": true });
    }
    manifest
}

pub fn slice(index: usize, variant: u8) -> Value {
    let name = format!("slice-{index}");
    let service = format!("Service-backend-{}", (index + usize::from(variant / 8)) % 4);
    let endpoints: Vec<Value> =
        (0..variant % 4).map(|n| json!({ "addresses": [format!("10.0.{index}.{n}")], "ready": n != 2 })).collect();
    json!({ "kind": "GatewayEndpointSlice", "apiVersion": "foregate.dev/v1alpha1",
            "metadata": metadata(&name, 1),
            "spec": { "origin": origin("EndpointSlice", &name, 1), "serviceUid": service, "endpoints": endpoints,
                      "ports": [{ "name": "", "port": 3000 }, { "name": "web", "port": 3001 }] } })
}

/// A route for requests, or for connections or datagrams, by its index.
pub fn route(index: usize, variant: u8, backends: [usize; 2], generation: i64) -> Value {
    match index {
        0..=2 => http_route(index, variant, backends, generation),
        3 | 4 => forwarding(index, "TLS", "l3", variant, backends, generation),
        _ if variant.is_multiple_of(2) => forwarding(index, "TCP", "l4", variant, backends, generation),
        _ => forwarding(index, "UDP", "l5", variant, backends, generation),
    }
}

fn forwarding(
    index: usize,
    protocol: &str,
    listener: &str,
    variant: u8,
    backends: [usize; 2],
    generation: i64,
) -> Value {
    let name = format!("route-{index}");
    let hosts = [("*.example.com", "*.com"), ("a.example.com", "a.example.com"), ("a.example.com", "*.example.com")];
    let (effective, original) = if protocol == "TLS" { hosts[usize::from(variant) % hosts.len()] } else { ("*", "*") };
    let named: Vec<Value> =
        backends.iter().map(|n| json!({ "backend": format!("backend-{n}"), "weight": variant % 3 })).collect();
    json!({ "kind": "GatewayRoute", "apiVersion": "foregate.dev/v1alpha1",
            "metadata": metadata(&name, generation),
            "spec": { "origin": origin("TLSRoute", &name, generation), "protocol": protocol, "rules": [{ "backends": named }],
                      "attachments": [{ "claim": format!("claim-{}", variant / 3 % 3), "listener": listener,
                                        "hostnames": [{ "effective": effective, "original": original }] }] } })
}

/// Two claims, two listeners and a choice of host names; some variants are attached to nothing that exists.
fn http_route(index: usize, variant: u8, backends: [usize; 2], generation: i64) -> Value {
    let name = format!("route-{index}");
    let hosts = [("*", "*"), ("a.example.com", "a.example.com"), ("*.example.com", "*.example.com")];
    let (effective, original) = hosts[usize::from(variant) % hosts.len()];
    let attachments: Vec<Value> = (0..=variant % 2)
        .map(|n| {
            json!({ "claim": format!("claim-{}", (variant / 2 + n) % 3), "listener": format!("l{}", variant / 3 % 3),
                    "hostnames": [{ "effective": effective, "original": original }] })
        })
        .collect();
    let named: Vec<Value> =
        backends.iter().map(|n| json!({ "backend": format!("backend-{n}"), "weight": 1 })).collect();
    let bad = variant % 11 == 10;
    let pattern = if bad { "(" } else { "/[a-z]+" };
    json!({ "kind": "GatewayRoute", "apiVersion": "foregate.dev/v1alpha1",
            "metadata": metadata(&name, generation),
            "spec": { "origin": origin("HTTPRoute", &name, generation), "attachments": attachments, "rules": [
                { "matches": [{ "path": { "type": "PathPrefix", "value": format!("/{}", variant % 5) } }, {}], "backends": named },
                { "matches": [{ "path": { "type": "RegularExpression", "value": pattern } }],
                  "filters": [{ "redirect": { "statusCode": 302 } }] } ] } })
}

pub fn secret(variant: u8) -> Value {
    let crt = format!("-----BEGIN CERTIFICATE-----{variant}");
    let key = format!("-----BEGIN PRIVATE KEY-----{variant}");
    let encode = |text: &str| serde_json::to_value(k8s_openapi::ByteString(text.as_bytes().to_vec())).unwrap();
    json!({ "kind": "Secret", "apiVersion": "v1", "metadata": { "namespace": NAMESPACE, "name": "certificate",
                          "annotations": { foregate_api::ORIGIN_ANNOTATION: origin("Secret", "certificate", 0).to_string() } },
            "data": { "tls.crt": encode(&crt), "tls.key": encode(&key) } })
}

/// A gateway with up to six listeners of one or two claims.
pub fn proxy(index: usize, variant: u8, generation: i64) -> Value {
    let name = format!("proxy-{index}");
    let all = [
        json!({ "name": "l0", "port": 8080, "protocol": "HTTP" }),
        json!({ "name": "l1", "port": 8080, "protocol": "HTTP", "hostname": "*.example.com" }),
        json!({ "name": "l2", "port": 8443, "protocol": "HTTPS",
                "tls": { "mode": "Terminate", "certificates": ["certificate"] } }),
        json!({ "name": "l3", "port": 8443, "protocol": "TLS", "hostname": "*.example.com",
                "tls": { "mode": if variant & 128 == 0 { "Passthrough" } else { "Terminate" }, "certificates": ["certificate"] } }),
        json!({ "name": "l4", "port": 9000, "protocol": "TCP" }),
        json!({ "name": "l5", "port": 9000, "protocol": "UDP" }),
    ];
    let mut listeners = Vec::new();
    for (bit, listener) in all.iter().enumerate() {
        for claim in [index, 2] {
            // The third claim goes to the gateway whose variant is odd.
            if variant >> [0, 1, 2, 1, 2, 0][bit] & 1 == 1 && (claim != 2 || (variant / 8) % 2 == 1) {
                let mut listener = listener.clone();
                listener["claim"] = json!(format!("claim-{claim}"));
                listeners.push(listener);
            }
        }
    }
    let mut template = serde_json::to_value(foregate_translate::default_template().spec).unwrap();
    if variant & 16 != 0 {
        template["envoy"]["virtualHostPatch"] = json!("include_request_attempt_count: true");
        template["envoy"]["routePatch"] = json!("stat_prefix: {{ toJson .route.rule }}");
    }
    if variant & 32 != 0 {
        template["envoy"]["clusters"] = json!("[{ name: static, connect_timeout: 1s }]");
    }
    if variant & 128 != 0 {
        template["engine"] = json!("envoy@1.40.0");
    }
    let addresses = if variant & 64 != 0 { json!([]) } else { json!([format!("192.0.2.{index}")]) };
    let shown = if variant & 32 != 0 { json!("certificate") } else { Value::Null };
    json!({ "kind": "GatewayProxy", "apiVersion": "foregate.dev/v1alpha1",
            "metadata": metadata(&name, generation),
            "spec": { "templateName": "default", "template": template },
            "status": { "addresses": addresses, "listeners": listeners, "backendClientCertificate": shown } })
}
