//! The objects that run the controller.

use foregate_api::GatewayClassParameters;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::{InstallArgs, NAME, NAMESPACE, rules};

/// The user that the image runs as.
const USER: u32 = 65_532;
/// Where `/livez` and `/readyz` are.
const HEALTH_PORT: u16 = 8081;

/// Everything, in the order in which it can be applied.
pub fn manifests(args: &InstallArgs) -> Vec<Value> {
    let subject = json!({ "kind": "ServiceAccount", "name": NAME, "namespace": args.namespace });
    let mut crd = json!(GatewayClassParameters::crd());
    // What isn't set has no place in a manifest.
    crd["metadata"]["labels"] = labels();
    vec![
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": args.namespace, "labels": {
                "app.kubernetes.io/name": "foregate", "pod-security.kubernetes.io/enforce": "restricted",
            } },
        }),
        crd,
        object("v1", "ServiceAccount", &args.namespace, json!({})),
        everywhere("ClusterRole", &args.namespace, json!({ "rules": rules::everywhere() })),
        everywhere(
            "ClusterRoleBinding",
            &args.namespace,
            json!({ "roleRef": role("ClusterRole", &cluster_name(&args.namespace)), "subjects": [subject] }),
        ),
        object(
            "rbac.authorization.k8s.io/v1",
            "Role",
            &args.namespace,
            json!({ "rules": rules::own(&args.credentials) }),
        ),
        object(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            &args.namespace,
            json!({ "roleRef": role("Role", NAME), "subjects": [subject] }),
        ),
        object("apps/v1", "Deployment", &args.namespace, json!({ "spec": deployment(args) })),
        object(
            "policy/v1",
            "PodDisruptionBudget",
            &args.namespace,
            json!({ "spec": { "maxUnavailable": 1, "selector": { "matchLabels": selector() } } }),
        ),
    ]
}

/// Name of what is in no namespace: another installation in another namespace has its own.
fn cluster_name(namespace: &str) -> String {
    if namespace == NAMESPACE { NAME.to_owned() } else { format!("{NAME}-{namespace}") }
}

fn object(api_version: &str, kind: &str, namespace: &str, body: Value) -> Value {
    manifest(api_version, kind, json!({ "name": NAME, "namespace": namespace, "labels": labels() }), body)
}

/// What is in no namespace.
fn everywhere(kind: &str, installed_in: &str, body: Value) -> Value {
    let metadata = json!({ "name": cluster_name(installed_in), "labels": labels() });
    manifest("rbac.authorization.k8s.io/v1", kind, metadata, body)
}

fn manifest(api_version: &str, kind: &str, metadata: Value, body: Value) -> Value {
    let mut object = json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata });
    if let (Some(object), Value::Object(body)) = (object.as_object_mut(), body) {
        object.extend(body);
    }
    object
}

fn role(kind: &str, name: &str) -> Value {
    json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name })
}

fn selector() -> Value {
    json!({ "app.kubernetes.io/name": "foregate", "app.kubernetes.io/component": "controller" })
}

fn labels() -> Value {
    json!({
        "app.kubernetes.io/name": "foregate", "app.kubernetes.io/component": "controller",
        "app.kubernetes.io/version": env!("CARGO_PKG_VERSION"),
    })
}

fn deployment(args: &InstallArgs) -> Value {
    let mut pod_labels = labels();
    // The selector can't change later; the version can.
    if let (Value::Object(labels), Value::Object(selector)) = (&mut pod_labels, selector()) {
        labels.extend(selector);
    }
    let apart = json!({ "weight": 100, "podAffinityTerm": {
        "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": selector() },
    } });
    json!({
        "replicas": args.replicas,
        "selector": { "matchLabels": selector() },
        "template": {
            "metadata": { "labels": pod_labels },
            "spec": {
                "serviceAccountName": NAME,
                "affinity": { "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [apart] } },
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER,
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
                "containers": [container(args)],
            },
        },
    })
}

fn container(args: &InstallArgs) -> Value {
    let probe = |path: &str| json!({ "httpGet": { "path": path, "port": "health" }, "periodSeconds": 5 });
    let field = |path: &str| json!({ "fieldRef": { "fieldPath": path } });
    json!({
        "name": "controller",
        "image": args.image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["controller", "--source", "kubernetes", "--health-listen", format!("0.0.0.0:{HEALTH_PORT}")],
        "env": [
            { "name": "POD_NAME", "valueFrom": field("metadata.name") },
            { "name": "POD_NAMESPACE", "valueFrom": field("metadata.namespace") },
        ],
        "ports": [{ "name": "health", "containerPort": HEALTH_PORT }],
        "livenessProbe": probe("/livez"),
        "readinessProbe": probe("/readyz"),
        "resources": { "requests": { "cpu": "50m", "memory": "64Mi" }, "limits": { "memory": "512Mi" } },
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
    })
}
