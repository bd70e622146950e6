//! `foregate controller install`: what runs the controller in a Kubernetes cluster, with no right that it doesn't use.

use std::path::PathBuf;

use clap::Args;
use foregate_api::GatewayClassParameters;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::{Client, CustomResourceExt, ResourceExt};
use serde_json::{Value, json};

use crate::cli::api::{block_on, chain};
use crate::cli::error::{CliError, Ended};
use crate::cli::{names, output};

/// Field manager of all that is applied.
const MANAGER: &str = "foregate-install";
/// Name of everything, but for what is in no namespace: see [`cluster_name`].
const NAME: &str = "foregate-controller";
/// Where the controller runs unless somebody says otherwise.
const NAMESPACE: &str = "foregate-system";
/// The user that the image runs as.
const USER: u32 = 65_532;
/// Where `/livez` and `/readyz` are.
const HEALTH_PORT: u16 = 8081;

/// Flags of `foregate controller install`.
#[derive(Args, Clone, Debug)]
pub struct InstallArgs {
    /// Print the manifests, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Where the controller runs.
    #[arg(long, value_name = "NAME", default_value = NAMESPACE, value_parser = names::label)]
    pub namespace: String,
    /// The image, as `cargo xtask image` makes it.
    #[arg(long, value_name = "IMAGE", default_value = concat!("foregate.dev/foregate:v", env!("CARGO_PKG_VERSION")))]
    pub image: String,
    /// How many run: one works, the others wait for it to fail.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub replicas: u16,
    /// Credentials of the cluster [default: $KUBECONFIG, then ~/.kube/config].
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// Prints or applies the manifests.
///
/// # Errors
/// When the cluster can't be reached or refuses one.
pub fn run(args: &InstallArgs) -> Ended {
    let manifests = manifests(args);
    if args.dry_run {
        let mut text = String::new();
        for manifest in &manifests {
            text.push_str("---\n");
            text.push_str(&output::yaml(manifest)?);
        }
        anstream::print!("{text}");
        return Ok(std::process::ExitCode::SUCCESS);
    }
    block_on(async {
        let client = connect(args).await?;
        check_kinds(&client, &manifests).await?;
        for manifest in manifests {
            let what = format!("{} {}", text(&manifest["kind"]), text(&manifest["metadata"]["name"]));
            apply(&client, manifest).await?;
            anstream::println!("applied {what}");
        }
        anstream::println!(
            "next: apply what `foregate cluster add TENANT/NAME` prints on the platform, and see `kubectl get gatewayclass`"
        );
        Ok(std::process::ExitCode::SUCCESS)
    })
}

async fn connect(args: &InstallArgs) -> Result<Client, CliError> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let unusable = |error: &dyn std::error::Error| {
        CliError::failed(
            format!("the cluster's kubeconfig can't be used: {}", chain(error)),
            "name one with --kubeconfig",
        )
    };
    let kubeconfig = match &args.kubeconfig {
        Some(path) => kube::config::Kubeconfig::read_from(path),
        None => kube::config::Kubeconfig::read(),
    };
    let kubeconfig = kubeconfig.map_err(|error| unusable(&error))?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await;
    Client::try_from(config.map_err(|error| unusable(&error))?).map_err(|error| unusable(&error))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Refuses an API that can't take all of it, before anything is written.
async fn check_kinds(client: &Client, manifests: &[Value]) -> Result<(), CliError> {
    let mut missing = Vec::new();
    for manifest in manifests {
        let (version, kind) = (text(&manifest["apiVersion"]), text(&manifest["kind"]));
        let types = TypeMeta { api_version: version.clone(), kind: kind.clone() };
        let Ok(gvk) = GroupVersionKind::try_from(&types) else { continue };
        match kube::discovery::pinned_kind(client, &gvk).await {
            Ok(_) => {}
            Err(kube::Error::Discovery(_)) => missing.push(format!("{kind} ({version})")),
            Err(kube::Error::Api(status)) if status.code == 404 => missing.push(format!("{kind} ({version})")),
            Err(error) => {
                return Err(CliError::failed(
                    format!("the cluster doesn't say whether it serves {kind}s: {}", said(&error)),
                    "see that the kubeconfig is the workload cluster's, and its credentials an administrator's",
                ));
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(CliError::failed(
        format!("the API doesn't serve {}; nothing was applied", missing.join(", ")),
        "name the kubeconfig of a Kubernetes cluster with --kubeconfig; a Foregate platform isn't one",
    ))
}

/// What a request has failed with, once.
fn said(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref() {
        Some(kube::Error::Api(status)) => format!("{} (code {})", status.message, status.code),
        _ => chain(error),
    }
}

async fn apply(client: &Client, manifest: Value) -> Result<(), CliError> {
    let (kind, name) = (text(&manifest["kind"]), text(&manifest["metadata"]["name"]));
    let failed = |error: &(dyn std::error::Error + 'static)| {
        CliError::failed(
            format!("{kind} {name} can't be applied: {}", said(error)),
            "see that the credentials are an administrator's; `--dry-run` prints what would be applied",
        )
    };
    let object: DynamicObject = serde_json::from_value(manifest).map_err(|error| failed(&error))?;
    let types = object.types.clone().unwrap_or_default();
    let gvk = GroupVersionKind::try_from(&types).map_err(|error| failed(&error))?;
    let (resource, _) = kube::discovery::pinned_kind(client, &gvk).await.map_err(|error| failed(&error))?;
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let params = PatchParams::apply(MANAGER).force();
    api.patch(&name, &params, &Patch::Apply(&object)).await.map_err(|error| failed(&error))?;
    Ok(())
}

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
        everywhere("ClusterRole", &args.namespace, json!({ "rules": cluster_rules() })),
        everywhere(
            "ClusterRoleBinding",
            &args.namespace,
            json!({ "roleRef": role("ClusterRole", &cluster_name(&args.namespace)), "subjects": [subject] }),
        ),
        object("rbac.authorization.k8s.io/v1", "Role", &args.namespace, json!({ "rules": own_rules() })),
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

/// The Gateway API's group.
const GATEWAY: &str = "gateway.networking.k8s.io";
/// That of its experiments.
const EXPERIMENTAL: &str = "gateway.networking.x-k8s.io";
/// What users write, by API group.
const READ: &[(&str, &[&str])] = &[
    (
        GATEWAY,
        &[
            "backendtlspolicies",
            "gatewayclasses",
            "gateways",
            "grpcroutes",
            "httproutes",
            "listenersets",
            "referencegrants",
            "tcproutes",
            "tlsroutes",
            "udproutes",
        ],
    ),
    (EXPERIMENTAL, &["xbackends", "xbackendtrafficpolicies"]),
    ("gateway.envoyproxy.io", &["backends"]),
    (foregate_api::GROUP, &["gatewayclassparameters"]),
    ("", &["configmaps", "namespaces", "pods", "secrets", "services"]),
    ("discovery.k8s.io", &["endpointslices"]),
    ("certificates.k8s.io", &["clustertrustbundles"]),
    // To notice when a kind of the Gateway API is installed.
    ("apiextensions.k8s.io", &["customresourcedefinitions"]),
];
/// What is told in statuses.
const STATUSES: &[(&str, &[&str])] = &[
    (
        GATEWAY,
        &[
            "backendtlspolicies/status",
            "gatewayclasses/status",
            "gateways/status",
            "grpcroutes/status",
            "httproutes/status",
            "listenersets/status",
            "tcproutes/status",
            "tlsroutes/status",
            "udproutes/status",
        ],
    ),
    (EXPERIMENTAL, &["xbackends/status", "xbackendtrafficpolicies/status"]),
    ("gateway.envoyproxy.io", &["backends/status"]),
];

/// What the controller may do in all namespaces.
pub fn cluster_rules() -> Vec<Value> {
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
    let reads = READ.iter().map(|(group, resources)| rule(group, resources, &["list", "watch"]));
    let statuses = STATUSES.iter().map(|(group, resources)| rule(group, resources, &["patch"]));
    let others = [
        // Its finalizer, as long as Gateways use a class.
        rule(GATEWAY, &["gatewayclasses"], &["patch"]),
        // Those that stand for Gateways with `infrastructure`.
        rule("", &["services"], &["create", "patch", "delete"]),
    ];
    reads.chain(statuses).chain(others).collect()
}

/// What the controller may do in its own namespace: say which of its replicas works.
pub fn own_rules() -> Vec<Value> {
    let group = "coordination.k8s.io";
    vec![
        // What is made has no name yet that a rule could ask for.
        json!({ "apiGroups": [group], "resources": ["leases"], "verbs": ["create"] }),
        json!({
            "apiGroups": [group], "resources": ["leases"], "resourceNames": [NAME],
            "verbs": ["list", "watch", "update"],
        }),
    ]
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

#[cfg(test)]
mod rights;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn args() -> InstallArgs {
        InstallArgs {
            dry_run: true,
            namespace: "gw".to_owned(),
            image: "registry.example/foregate:1".to_owned(),
            replicas: 3,
            kubeconfig: None,
        }
    }

    /// `UPDATE_GOLDEN=1` writes the file instead of comparing.
    #[test]
    fn manifests_are_as_reviewed() {
        let all: Vec<Value> =
            manifests(&args()).into_iter().filter(|it| it["kind"] != "CustomResourceDefinition").collect();
        let text: String = all.iter().map(|it| format!("---\n{}", output::yaml(it).unwrap())).collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/controller-install.out.yaml");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(text == committed, "{path} is stale: run this test with UPDATE_GOLDEN=1\n{text}");
    }

    /// Who installs it twice doesn't take the first one's rights.
    #[test]
    fn installations_share_no_object_but_the_kinds() {
        let in_namespace =
            |namespace: &str| -> Vec<Value> { manifests(&InstallArgs { namespace: namespace.to_owned(), ..args() }) };
        let name = |it: &Value| [&it["kind"], &it["metadata"]["namespace"], &it["metadata"]["name"]].map(Value::clone);
        let first: Vec<_> = in_namespace(NAMESPACE).iter().map(name).collect();
        for second in in_namespace("gw").iter().filter(|it| it["kind"] != "CustomResourceDefinition") {
            assert!(!first.contains(&name(second)), "{second}");
            if second["kind"] == "ClusterRoleBinding" {
                assert_eq!(second["roleRef"]["name"], "foregate-controller-gw");
                assert_eq!(second["subjects"][0]["namespace"], "gw");
            }
        }
        assert!(first.contains(&[json!("ClusterRole"), Value::Null, json!(NAME)]), "{first:?}");
    }

    #[test]
    fn everything_is_where_it_was_asked_for() {
        for manifest in manifests(&args()) {
            let namespace = &manifest["metadata"]["namespace"];
            assert!(namespace.is_null() || namespace == "gw", "{manifest}");
        }
        let rules: Vec<Value> = cluster_rules().into_iter().chain(own_rules()).collect();
        assert!(!json!(rules).to_string().contains('*'), "nothing is granted that isn't named");
    }
}
