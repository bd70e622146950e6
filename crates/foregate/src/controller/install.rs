//! `foregate controller install`: what runs the controller in a Kubernetes cluster ([`manifests`]), with no right that it
//! doesn't use ([`rules`]).

mod manifests;
mod rules;

use std::path::PathBuf;

use clap::Args;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::{Client, ResourceExt};
use serde_json::Value;

use crate::cli::api::{block_on, chain};
use crate::cli::error::{CliError, Ended};
use crate::cli::{names, output};
use manifests::manifests;

/// Field manager of all that is applied.
const MANAGER: &str = "foregate-install";
/// Name of everything, but for what is in no namespace: see [`cluster_name`].
const NAME: &str = "foregate-controller";
/// Where the controller runs unless somebody says otherwise.
const NAMESPACE: &str = "foregate-system";
/// The Secret that `foregate cluster add` makes unless somebody says otherwise.
const CREDENTIAL: &str = "foregate-credential";

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
    /// A Secret with a credential that the controller may renew, as `foregate cluster add --class CLASS` calls it:
    /// CLASS-credential. May be given several times.
    #[arg(long = "credential", value_name = "NAME", default_value = CREDENTIAL, value_parser = names::subdomain)]
    pub credentials: Vec<String>,
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

#[cfg(test)]
mod far;
#[cfg(test)]
mod refusal;
#[cfg(test)]
mod renewal;
#[cfg(test)]
mod rights;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    fn args() -> InstallArgs {
        InstallArgs {
            dry_run: true,
            namespace: "gw".to_owned(),
            image: "registry.example/foregate:1".to_owned(),
            replicas: 3,
            credentials: vec!["fast-credential".to_owned(), CREDENTIAL.to_owned()],
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
    fn a_class_secret_is_called_as_cluster_add_calls_it() {
        assert_eq!(CREDENTIAL, crate::cluster::credential_name(foregate_api::DEFAULT_GATEWAY_CLASS));
    }

    #[test]
    fn everything_is_where_it_was_asked_for() {
        for manifest in manifests(&args()) {
            let namespace = &manifest["metadata"]["namespace"];
            assert!(namespace.is_null() || namespace == "gw", "{manifest}");
        }
        let rules: Vec<Value> = rules::everywhere().into_iter().chain(rules::own(&args().credentials)).collect();
        assert!(!json!(rules).to_string().contains('*'), "nothing is granted that isn't named");
    }
}
