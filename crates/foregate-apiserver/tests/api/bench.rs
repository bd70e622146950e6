//! What the tests share: a server in a directory of its own, raw requests, and waiting.

use std::time::Duration;

use foregate_apiserver::{Server, ServerOptions};
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tempfile::TempDir;

pub struct Bench {
    pub server: Server,
    pub client: Client,
    pub dir: TempDir,
}

pub fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(ServerOptions::new(dir.path())).unwrap();
    let client = server.client();
    Bench { server, client, dir }
}

/// An answer: its code, and its body as JSON (null when it is none).
pub type Answer = (u16, Value);

impl Bench {
    /// Ends the server and opens its directory again.
    pub async fn restart(self) -> Self {
        self.server.shutdown().await;
        let server = Server::open(ServerOptions::new(self.dir.path())).unwrap();
        let client = server.client();
        Self { server, client, dir: self.dir }
    }

    pub async fn send(&self, method: Method, path: &str, media: &str, body: impl Into<Vec<u8>>) -> Answer {
        send(&self.client, method, path, &[("content-type", media)], body.into()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "", Vec::new()).await
    }

    pub async fn delete(&self, path: &str, options: Value) -> Answer {
        self.send(Method::DELETE, path, "application/json", options.to_string()).await
    }

    pub async fn post(&self, path: &str, object: &Value) -> Answer {
        self.send(Method::POST, path, "application/json", object.to_string()).await
    }

    pub async fn put(&self, path: &str, object: &Value) -> Answer {
        self.send(Method::PUT, path, "application/json", object.to_string()).await
    }

    pub async fn merge(&self, path: &str, patch: Value) -> Answer {
        self.send(Method::PATCH, path, "application/merge-patch+json", patch.to_string()).await
    }

    pub async fn apply(&self, path: &str, manager: &str, object: &Value) -> Answer {
        let join = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{join}fieldManager={manager}");
        self.send(Method::PATCH, &path, "application/apply-patch+yaml", object.to_string()).await
    }

    /// Waits until `path` answers as `fine` wants; fails after a minute.
    pub async fn until(&self, path: &str, fine: impl Fn(&Answer) -> bool) -> Answer {
        let end = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.get(path).await;
            if fine(&answer) {
                return answer;
            }
            assert!(std::time::Instant::now() < end, "{path} still answers {answer:?}");
            tokio::task::yield_now().await;
        }
    }

    pub async fn define(&self, definition: Value) {
        let (code, answer) = self.post(DEFINITIONS, &definition).await;
        assert_eq!(code, 201, "{answer}");
    }
}

pub const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

pub async fn send(client: &Client, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers.iter().filter(|(_, v)| !v.is_empty()) {
        request = request.header(*name, *value);
    }
    let response = client.send(request.body(Body::from(body)).unwrap()).await.unwrap();
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

pub fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const THINGS: &str = "/apis/test.dev/v1/namespaces/default/things";

/// A definition with two versions, a status, columns, a rule and a default.
pub fn things() -> Value {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "size": {"type": "integer", "default": 1, "maximum": 10},
            "names": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"],
                    "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}}},
            "text": {"type": "string", "x-kubernetes-validations":
                [{"rule": "self != 'bad'", "message": "text can't be bad"}]},
        }},
        "status": {"type": "object", "properties": {"phase": {"type": "string"},
            "conditions": {"type": "array", "items": {"type": "object",
                "properties": {"type": {"type": "string"}, "status": {"type": "string"}}}}}},
    }});
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}},
            "selectableFields": [{"jsonPath": ".spec.size"}],
            "additionalPrinterColumns": [
                {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
                {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]})
    };
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.test.dev"},
        "spec": {"group": "test.dev", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things",
            "shortNames": ["th"], "categories": ["all"]},
            "versions": [version("v1", true), version("v1beta1", false)]}})
}

pub fn thing(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "test.dev/v1", "kind": "Thing", "metadata": {"name": name}, "spec": spec})
}
