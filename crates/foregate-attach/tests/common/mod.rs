//! What the tests share: YAML to inputs.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

pub mod platforms;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use foregate_attach::{Change, Input, Key, TargetId};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub fn at(seconds: i64) -> Time {
    Time(Timestamp::from_second(1_767_225_600 + seconds).unwrap())
}

fn set<K: DeserializeOwned>(object: Value) -> Change<K> {
    let shown = object.to_string();
    Change::Set(Arc::new(serde_json::from_value(object).unwrap_or_else(|error| panic!("{error}: {shown}"))))
}

/// PEM of a certificate or key that is made for this run: `a.crt`, `a.key`, `b.crt`, `b.key`.
pub fn pem(name: &str) -> &'static str {
    static PAIRS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
        let mut pairs = HashMap::new();
        for name in ["a", "b"] {
            let made = rcgen::generate_simple_self_signed([format!("{name}.example.com")]).unwrap();
            pairs.insert(format!("{name}.crt"), made.cert.pem());
            pairs.insert(format!("{name}.key"), made.signing_key.serialize_pem());
        }
        pairs
    });
    &PAIRS[name]
}

/// A Secret. Data `@a.crt` stands for [`pem`] of that name; other data is taken as it is.
fn secret(mut object: Value) -> Input {
    let data = object["data"].take();
    let mut secret: Secret = serde_json::from_value(object).unwrap();
    let bytes = |text: &str| text.strip_prefix('@').map_or(text, |name| pem(name)).as_bytes().to_vec();
    let data = data.as_object().into_iter().flatten();
    secret.data = Some(data.map(|(k, v)| (k.clone(), ByteString(bytes(v.as_str().unwrap())))).collect());
    Input::Secret(Change::Set(Arc::new(secret)))
}

/// A ConfigMap. Data `@a.crt` stands for [`pem`] of that name.
fn config_map(mut object: Value) -> Input {
    for value in object["data"].as_object_mut().into_iter().flatten().map(|(_, value)| value) {
        if let Some(name) = value.as_str().and_then(|text| text.strip_prefix('@')) {
            *value = pem(name).into();
        }
    }
    Input::ConfigMap(set(object))
}

/// A ClusterTrustBundle. `@a.crt` stands for [`pem`] of that name.
fn trust_bundle(mut object: Value) -> Input {
    if let Some(name) = object["spec"]["trustBundle"].as_str().and_then(|text| text.strip_prefix('@')) {
        object["spec"]["trustBundle"] = pem(name).into();
    }
    Input::ClusterTrustBundle(set(object))
}

/// The input that an object is.
pub fn input(object: Value) -> Input {
    let kind = object["kind"].as_str().expect("a kind").to_owned();
    match kind.as_str() {
        "GatewayClass" => Input::GatewayClass(set(object)),
        "GatewayClassParameters" => Input::Parameters(set(object)),
        "EnvoyProxy" => Input::EnvoyProxy(set(object)),
        "Gateway" => Input::Gateway(set(object)),
        "ListenerSet" => Input::ListenerSet(set(object)),
        "HTTPRoute" => Input::HttpRoute(set(object)),
        "GRPCRoute" => Input::GrpcRoute(set(object)),
        "TLSRoute" => Input::TlsRoute(set(object)),
        "TCPRoute" => Input::TcpRoute(set(object)),
        "UDPRoute" => Input::UdpRoute(set(object)),
        "Backend" => Input::DirectBackend(set(object)),
        "BackendTLSPolicy" => Input::BackendTlsPolicy(set(object)),
        "ConfigMap" => config_map(object),
        "ClusterTrustBundle" => trust_bundle(object),
        "XBackend" => Input::XBackend(set(object)),
        "XBackendTrafficPolicy" => Input::XBackendTrafficPolicy(set(object)),
        "XTelemetryPolicy" => Input::XTelemetryPolicy(set(object)),
        "Pod" => Input::Pod(set(object)),
        "Service" => Input::Service(set(object)),
        "EndpointSlice" => Input::EndpointSlice(set(object)),
        "Secret" => secret(object),
        "ReferenceGrant" => Input::ReferenceGrant(set(object)),
        "Namespace" => Input::Namespace(set(object)),
        "GatewayClaim" => Input::Claim(TargetId::DEFAULT, set(object)),
        "GatewayRoute" => Input::Route(TargetId::DEFAULT, set(object)),
        "GatewayBackend" => Input::Backend(TargetId::DEFAULT, set(object)),
        "GatewayEndpointSlice" => Input::Slice(TargetId::DEFAULT, set(object)),
        other => panic!("no input is a {other}"),
    }
}

/// The input that says that an object is gone.
pub fn gone(kind: &str, key: Key) -> Input {
    match kind {
        "GatewayClass" => Input::GatewayClass(Change::Gone(key)),
        "GatewayClassParameters" => Input::Parameters(Change::Gone(key)),
        "EnvoyProxy" => Input::EnvoyProxy(Change::Gone(key)),
        "Gateway" => Input::Gateway(Change::Gone(key)),
        "ListenerSet" => Input::ListenerSet(Change::Gone(key)),
        "HTTPRoute" => Input::HttpRoute(Change::Gone(key)),
        "GRPCRoute" => Input::GrpcRoute(Change::Gone(key)),
        "TLSRoute" => Input::TlsRoute(Change::Gone(key)),
        "TCPRoute" => Input::TcpRoute(Change::Gone(key)),
        "UDPRoute" => Input::UdpRoute(Change::Gone(key)),
        "Backend" => Input::DirectBackend(Change::Gone(key)),
        "BackendTLSPolicy" => Input::BackendTlsPolicy(Change::Gone(key)),
        "ConfigMap" => Input::ConfigMap(Change::Gone(key)),
        "ClusterTrustBundle" => Input::ClusterTrustBundle(Change::Gone(key)),
        "XBackend" => Input::XBackend(Change::Gone(key)),
        "XBackendTrafficPolicy" => Input::XBackendTrafficPolicy(Change::Gone(key)),
        "XTelemetryPolicy" => Input::XTelemetryPolicy(Change::Gone(key)),
        "Pod" => Input::Pod(Change::Gone(key)),
        "Service" => Input::Service(Change::Gone(key)),
        "EndpointSlice" => Input::EndpointSlice(Change::Gone(key)),
        "Secret" => Input::Secret(Change::Gone(key)),
        "ReferenceGrant" => Input::ReferenceGrant(Change::Gone(key)),
        "Namespace" => Input::Namespace(Change::Gone(key)),
        "GatewayClaim" => Input::Claim(TargetId::DEFAULT, Change::Gone(key)),
        "GatewayRoute" => Input::Route(TargetId::DEFAULT, Change::Gone(key)),
        "GatewayBackend" => Input::Backend(TargetId::DEFAULT, Change::Gone(key)),
        "GatewayEndpointSlice" => Input::Slice(TargetId::DEFAULT, Change::Gone(key)),
        other => panic!("no input is a {other}"),
    }
}
