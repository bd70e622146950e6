//! `foregate node add NAME`: makes a GatewayNode and the credential that its agent needs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use foregate_api::GatewayNode;
use foregate_apiserver::auth::ca::Authority;
use foregate_xds::tls::{NODE_USER, NODES_GROUP};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};

use super::NodeError;
use super::credential::Credential;
use crate::platform::{ADDRESSES, ADDRESSES_NAMESPACE};

/// How long a node's certificate is valid.
const LIFE: Duration = Duration::from_secs(365 * 86_400);
/// Field manager of GatewayNodes.
const MANAGER: &str = "foregate-node-add";

/// Flags of `foregate node add`.
#[derive(Args, Clone, Debug)]
pub struct AddArgs {
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
    /// The node is there already: give it a new credential.
    #[arg(long)]
    pub renew: bool,
}

/// Makes the object, then the credential.
///
/// # Errors
/// When the platform doesn't run, the node is there already, or the file can't be written.
pub async fn run(args: AddArgs) -> Result<(), NodeError> {
    let data_dir = args.data_dir.clone().unwrap_or_else(crate::config::default_data_dir);
    let client = administrator(&data_dir).await?;
    let (api, xds) = addresses(&client, &args).await?;
    // Before there is a node whose only credential would be lost.
    let file = args
        .output
        .as_ref()
        .map(|path| Credential::create(path).map_err(|source| NodeError::Write { path: path.clone(), source }));
    let file = file.transpose()?;
    let made = make(&client, &args, &data_dir, (api, xds)).await;
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

/// The GatewayNode, and what its agent needs.
async fn make(
    client: &Client,
    args: &AddArgs,
    data_dir: &Path,
    (api, xds): (String, String),
) -> Result<Credential, NodeError> {
    create(client, args).await?;
    let pki = data_dir.join("pki");
    let authority = Authority::open(&pki).map_err(|source| NodeError::Authority { source: Box::new(source) })?;
    let issued = authority.client(&format!("{NODE_USER}{}", args.name), NODES_GROUP, LIFE);
    let issued = issued.map_err(|source| NodeError::Authority { source: Box::new(source) })?;
    Ok(Credential {
        node: args.name.clone(),
        api,
        xds,
        certificate_authority: authority.certificate,
        certificate: issued.certificate,
        key: issued.key,
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
async fn addresses(client: &Client, args: &AddArgs) -> Result<(String, String), NodeError> {
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

async fn create(client: &Client, args: &AddArgs) -> Result<(), NodeError> {
    let nodes: Api<GatewayNode> = Api::all(client.clone());
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    match nodes.create(&params, &GatewayNode::new(&args.name, Default::default())).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 && args.renew => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Err(NodeError::Exists { name: args.name.clone() }),
        Err(source) => Err(NodeError::api(&format!("GatewayNode {}", args.name), source)),
    }
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
