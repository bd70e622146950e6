//! Services and EndpointSlices without what nobody here reads: most of a cluster's are never named by a route.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Label of the Services that stand for Gateways: of these, metadata are read.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "foregate");
/// Label of an EndpointSlice: its Service.
pub const SERVICE: &str = "kubernetes.io/service-name";

/// Name, identity and ports.
pub fn service(object: Service) -> Service {
    let is_ours = object.metadata.labels.as_ref().and_then(|l| l.get(MANAGED_BY.0)).is_some_and(|v| v == MANAGED_BY.1);
    let metadata = if is_ours { object.metadata } else { identity(object.metadata) };
    let spec = object.spec.map(|spec| ServiceSpec {
        type_: spec.type_,
        ports: spec.ports,
        external_name: spec.external_name,
        ..ServiceSpec::default()
    });
    Service { metadata, spec, status: None }
}

/// Name, identity, Service and endpoints.
pub fn slice(mut object: EndpointSlice) -> EndpointSlice {
    let labels =
        object.metadata.labels.take().map(|labels| labels.into_iter().filter(|(key, _)| key == SERVICE).collect());
    object.metadata = ObjectMeta { labels, ..identity(object.metadata) };
    for endpoint in object.endpoints.iter_mut().flatten() {
        (endpoint.target_ref, endpoint.hostname, endpoint.deprecated_topology) = (None, None, None);
    }
    object
}

fn identity(metadata: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        namespace: metadata.namespace,
        name: metadata.name,
        uid: metadata.uid,
        resource_version: metadata.resource_version,
        generation: metadata.generation,
        creation_timestamp: metadata.creation_timestamp,
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_read_stays() {
        let given: Service = serde_json::from_value(json!({
            "metadata": { "name": "s", "namespace": "n", "uid": "u", "labels": { "team": "a" }, "annotations": { "b": "c" } },
            "spec": { "type": "ClusterIP", "clusterIP": "10.0.0.1", "selector": { "app": "s" }, "ports": [{ "port": 80 }] },
        }))
        .unwrap();
        let expected: Service = serde_json::from_value(json!({
            "metadata": { "name": "s", "namespace": "n", "uid": "u" },
            "spec": { "type": "ClusterIP", "ports": [{ "port": 80 }] },
        }))
        .unwrap();
        assert_eq!(service(given), expected);
        let ours: Service = serde_json::from_value(json!({
            "metadata": { "name": "g", "labels": { "app.kubernetes.io/managed-by": "foregate" }, "annotations": { "b": "c" } },
        }))
        .unwrap();
        assert_eq!(service(ours.clone()), ours);
        let given: EndpointSlice = serde_json::from_value(json!({
            "metadata": { "name": "e", "labels": { "kubernetes.io/service-name": "s", "x": "y" } }, "addressType": "IPv4",
            "endpoints": [{
                "addresses": ["10.0.0.2"], "conditions": { "ready": true }, "nodeName": "n", "zone": "z",
                "targetRef": { "kind": "Pod", "name": "p" },
            }],
        }))
        .unwrap();
        let expected: EndpointSlice = serde_json::from_value(json!({
            "metadata": { "name": "e", "labels": { "kubernetes.io/service-name": "s" } }, "addressType": "IPv4",
            "endpoints": [{
                "addresses": ["10.0.0.2"], "conditions": { "ready": true }, "nodeName": "n", "zone": "z",
            }],
        }))
        .unwrap();
        assert_eq!(slice(given), expected);
    }
}
