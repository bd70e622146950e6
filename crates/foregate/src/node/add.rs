//! `foregate node add` and `renew`: a GatewayNode, and the credential that its agent needs.

use std::path::PathBuf;

use clap::Args;
use foregate_api::GatewayNode;
use foregate_api::node::GatewayNodeSpec;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::NodeError;
use super::credential::Credential;
use crate::certificates;
use crate::cli::names;
use crate::platform::{ADDRESSES, ADDRESSES_NAMESPACE};

/// Field manager of GatewayNodes.
const MANAGER: &str = "foregate-node-add";

/// Flags of `foregate node add`.
#[derive(Args, Clone, Debug)]
pub struct AddArgs {
    /// Which node, and where its credential goes.
    #[command(flatten)]
    pub node: NewCredentialArgs,
    /// How long its credentials are good, in days or hours; its agent renews them when a third of that is left.
    #[arg(long, value_name = "90d", default_value = "90d", value_parser = names::validity)]
    pub valid_for: u32,
}

/// Flags of `foregate node renew`.
#[derive(Args, Clone, Debug)]
pub struct RenewArgs {
    /// Which node, and where its credential goes.
    #[command(flatten)]
    pub node: NewCredentialArgs,
    /// Refuse all earlier credentials from now on. Without it they stay good until they expire.
    #[arg(long)]
    pub revoke: bool,
    /// How long its credentials are good from now on, in days or hours [default: as before].
    #[arg(long, value_name = "90d", value_parser = names::validity)]
    pub valid_for: Option<u32>,
}

/// What takes a credential of a node.
#[derive(Args, Clone, Debug)]
pub struct NewCredentialArgs {
    /// The node's name: lower-case letters, digits, `-` and `.`.
    pub name: String,
    /// The platform's data directory; this runs where the platform runs, while it runs [default: as the platform's].
    #[arg(long, value_name = "DIR", env = "FOREGATE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the node reaches the platform's API [default: where it listens].
    #[arg(long, value_name = "URL")]
    pub api: Option<String>,
    /// Where the node reaches the platform's xDS port [default: where it listens].
    #[arg(long, value_name = "HOST:PORT")]
    pub xds: Option<String>,
    /// Where the credential is written, mode 0600; there must be no such file yet [default: standard output].
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Makes the object, then the credential.
///
/// # Errors
/// When the platform doesn't run, the node is there already, or the file can't be written.
pub async fn add(args: AddArgs) -> Result<(), NodeError> {
    deliver(&args.node, async |client| {
        let made = create(client, &args).await?;
        let credential = credential(client, &args.node.name).await;
        if credential.is_err() {
            // A node whose only credential is lost would be in the way of the next try.
            let own = Preconditions { uid: made.uid(), ..Preconditions::default() };
            let params = DeleteParams { preconditions: Some(own), ..DeleteParams::default() };
            let _ = Api::<GatewayNode>::all(client.clone()).delete(&args.node.name, &params).await;
        }
        credential
    })
    .await
}

/// Makes another credential.
///
/// # Errors
/// When the platform doesn't run, the node isn't there, or the file can't be written.
pub async fn renew(args: RenewArgs) -> Result<(), NodeError> {
    deliver(&args.node, async |client| {
        change(client, &args).await?;
        credential(client, &args.node.name).await
    })
    .await
}

/// Makes a credential, and writes it where it is wanted.
async fn deliver(
    args: &NewCredentialArgs,
    make: impl AsyncFnOnce(&Client) -> Result<certificates::Credential, NodeError>,
) -> Result<(), NodeError> {
    let data_dir = args.data_dir.clone().unwrap_or_else(crate::config::default_data_dir);
    let client = administrator(&data_dir).await?;
    let (api, xds) = addresses(&client, args).await?;
    // Before there is a node whose only credential would be lost.
    let file = args
        .output
        .as_ref()
        .map(|path| Credential::create(path).map_err(|source| NodeError::Write { path: path.clone(), source }));
    let file = file.transpose()?;
    let made = make(&client).await.map(|made| Credential {
        node: args.name.clone(),
        api,
        xds,
        certificate_authority: made.signed.certificate_authority,
        certificate: made.signed.certificate,
        key: made.key,
    });
    match (made, &args.output, file) {
        (Ok(credential), Some(path), Some(file)) => {
            credential.write(file).map_err(|source| NodeError::Write { path: path.clone(), source })?;
            anstream::eprintln!("on the node: foregate node --credential {}", path.display());
            Ok(())
        }
        (Ok(credential), ..) => {
            anstream::print!("{}", credential.to_yaml());
            Ok(())
        }
        (Err(error), path, _) => {
            // It is empty, and in the way of the next try.
            path.as_ref().map(std::fs::remove_file);
            Err(error)
        }
    }
}

async fn credential(client: &Client, name: &str) -> Result<certificates::Credential, NodeError> {
    let made = certificates::ask::<GatewayNode>(client, None, name).await;
    made.map_err(|error| match error {
        certificates::CertificateError::Api(error) => NodeError::api(&format!("a certificate of {name}"), error),
        error => NodeError::Make { source: Box::new(error) },
    })
}

/// A client with the administrator's credentials, which are in the data directory.
async fn administrator(data_dir: &std::path::Path) -> Result<Client, NodeError> {
    let path = data_dir.join("admin.kubeconfig");
    let api =
        |source: Box<dyn std::error::Error + Send + Sync>| NodeError::Administrator { path: path.clone(), source };
    let kubeconfig = Kubeconfig::read_from(&path).map_err(|error| api(Box::new(error)))?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.map_err(|error| api(Box::new(error)))?).map_err(|error| api(Box::new(error)))
}

/// Where the platform says that it is, unless the flags say otherwise.
async fn addresses(client: &Client, args: &NewCredentialArgs) -> Result<(String, String), NodeError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), ADDRESSES_NAMESPACE);
    let map = maps.get_opt(ADDRESSES).await.map_err(|source| NodeError::api("the platform's addresses", source))?;
    let said = map.and_then(|map| map.data).unwrap_or_default();
    let pick = |flag: &Option<String>, key: &str| flag.clone().or_else(|| said.get(key).cloned());
    let api = pick(&args.api, "api").ok_or(NodeError::NoAddress { flag: "--api URL" })?;
    let xds = pick(&args.xds, "xds").ok_or(NodeError::NoAddress { flag: "--xds HOST:PORT" })?;
    check(&api, &xds)?;
    Ok((api, xds))
}

/// Typing errors are found here, not on another machine.
fn check(api: &str, xds: &str) -> Result<(), NodeError> {
    let wrong = |flag, value: &str, example| Err(NodeError::Address { flag, value: value.to_owned(), example });
    let authority = |text: &str| text.parse::<http::uri::Authority>().ok().filter(|it| !it.as_str().contains('@'));
    let host = api.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
    if host.and_then(authority).is_none() {
        return wrong("--api", api, "https://platform.example.com:7443");
    }
    if authority(xds).is_none_or(|it| it.port_u16().is_none_or(|port| port == 0)) {
        return wrong("--xds", xds, "platform.example.com:7444");
    }
    Ok(())
}

async fn create(client: &Client, args: &AddArgs) -> Result<GatewayNode, NodeError> {
    let (nodes, name) = (Api::<GatewayNode>::all(client.clone()), &args.node.name);
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let spec = GatewayNodeSpec { credential_seconds: Some(args.valid_for), ..GatewayNodeSpec::default() };
    nodes.create(&params, &GatewayNode::new(name, spec)).await.map_err(|error| match error {
        kube::Error::Api(status) if status.code == 409 => NodeError::Exists { name: name.clone() },
        source => NodeError::api(&format!("GatewayNode {name}"), source),
    })
}

/// Makes all earlier credentials bad, and says how long the next ones are good, where that is asked.
async fn change(client: &Client, args: &RenewArgs) -> Result<(), NodeError> {
    let (nodes, name) = (Api::<GatewayNode>::all(client.clone()), &args.node.name);
    let refused = |source| NodeError::api(&format!("GatewayNode {name}"), source);
    let found = nodes.get_opt(name).await.map_err(refused)?;
    let found = found.ok_or_else(|| NodeError::Missing { name: name.clone() })?;
    let mut spec = found.spec.clone();
    spec.credential_generation = spec.credential_generation.saturating_add(args.revoke.into());
    spec.credential_seconds = args.valid_for.or(spec.credential_seconds);
    if spec == found.spec {
        return Ok(());
    }
    let patch = json!({ "metadata": { "resourceVersion": found.resource_version() }, "spec": spec });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    nodes.patch(name, &params, &Patch::Merge(patch)).await.map(drop).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_no_node_could_connect_to_are_refused() {
        for (api, xds, flag) in [
            ("https://a:7443", "a:7444", None),
            ("https://[::1]:7443/", "[::1]:7444", None),
            ("https://a", "127.0.0.1:1", None),
            ("a:7443", "a:7444", Some("--api")),
            ("http://a:7443", "a:7444", Some("--api")),
            ("https://a/b", "a:7444", Some("--api")),
            ("https://", "a:7444", Some("--api")),
            ("https://a", "a", Some("--xds")),
            ("https://a", "a:0", Some("--xds")),
            ("https://a", "https://a:7444", Some("--xds")),
        ] {
            let error = check(api, xds).err().map(|error| error.to_string());
            assert_eq!(error.as_deref().map(|it| it.split(' ').next()), flag.map(Some), "{api} {xds} {error:?}");
        }
    }
}
