//! `foregate cluster add` and `renew`: the WorkloadCluster, its credential, and the manifests with it.

use std::time::Duration;

use clap::Args;
use foregate_api::cluster::WorkloadClusterSpec;
use foregate_api::{CONTROLLER_NAME, DEFAULT_GATEWAY_CLASS, DEFAULT_NAME, GatewayTemplate, WorkloadCluster};
use http::Request;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use super::ClusterName;
use super::manifests::{Connection, documents};
use crate::certificates::{self, CertificateError, Credential};
use crate::cli::api::{ApiArgs, ApiServer, block_on, chain};
use crate::cli::error::{CliError, Ended};
use crate::cli::names;
use crate::platform::{ADDRESSES, ADDRESSES_NAMESPACE};

/// Field manager of WorkloadClusters.
const MANAGER: &str = "foregate-cluster-add";
/// How long the platform's address may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Flags of `foregate cluster add`.
#[derive(Args, Clone, Debug)]
pub struct AddArgs {
    /// The tenant, and the cluster's name: it begins the names of all that is derived from the cluster's objects.
    #[arg(value_name = "TENANT/NAME")]
    pub cluster: ClusterName,
    /// What the manifests say.
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// The GatewayTemplate, in the tenant's namespace, that gateways are made from.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    pub template: String,
    /// `controllerName` of the GatewayClass.
    #[arg(long, value_name = "DOMAIN/PATH", default_value = CONTROLLER_NAME, value_parser = names::controller)]
    pub controller_name: String,
    /// Where the cluster's controller reaches the platform's API [default: as the kubeconfig, or the platform, says].
    #[arg(long, value_name = "URL")]
    pub platform_url: Option<String>,
    /// How long its credentials are good, in days or hours; its controller renews them when a third of that is left.
    #[arg(long, value_name = "90d", default_value = "90d", value_parser = names::validity)]
    pub valid_for: u32,
    /// Which platform.
    #[command(flatten)]
    pub api: ApiArgs,
}

/// How what is printed is named.
#[derive(Args, Clone, Debug)]
pub struct ManifestArgs {
    /// The GatewayClass in the workload cluster.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_GATEWAY_CLASS, value_parser = names::subdomain)]
    pub class: String,
    /// The namespace in the workload cluster that parameters and credential go to.
    #[arg(long, value_name = "NAME", default_value = "foregate-system", value_parser = names::label)]
    pub namespace: String,
}

/// Flags of `foregate cluster renew`.
#[derive(Args, Clone, Debug)]
pub struct RenewArgs {
    /// The tenant, and the cluster's name.
    #[arg(value_name = "TENANT/NAME")]
    pub cluster: ClusterName,
    /// As it was given to `foregate cluster add`.
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// Refuse all earlier credentials from now on. Without it they stay good until they expire.
    #[arg(long)]
    pub revoke: bool,
    /// How long its credentials are good from now on, in days or hours [default: as before].
    #[arg(long, value_name = "90d", value_parser = names::validity)]
    pub valid_for: Option<u32>,
    /// Which platform.
    #[command(flatten)]
    pub api: ApiArgs,
}

/// Runs `foregate cluster add`.
///
/// # Errors
/// When the tenant or template isn't there, the cluster is, or the platform refuses.
pub fn add(args: &AddArgs) -> Ended {
    block_on(async {
        let api = args.api.connect().await?;
        let url = platform_url(&api, args).await?;
        tenant(&api, &args.cluster).await?;
        template(&api, &args.cluster, &args.template).await?;
        let made = create(&api, args).await?;
        let credential = match credential(&api, &args.cluster).await {
            Ok(credential) => credential,
            Err(error) => {
                // A cluster whose only credential is lost would be in the way of the next try.
                let own = Preconditions { uid: made.uid(), ..Preconditions::default() };
                let params = DeleteParams { preconditions: Some(own), ..DeleteParams::default() };
                let _ = clusters(&api, &args.cluster).delete(&args.cluster.name, &params).await;
                return Err(error);
            }
        };
        let connection = Connection {
            cluster: &args.cluster,
            class: &args.manifests.class,
            controller: &args.controller_name,
            namespace: &args.manifests.namespace,
            template: &args.template,
            platform_url: &url,
            certificate_authority: &credential.signed.certificate_authority,
        };
        let [parameters, class] = connection.class();
        let secret = connection.secret(&credential.signed.certificate, &credential.key);
        let title =
            format!("Workload cluster {} of the platform {url}. Apply this there: kubectl apply -f FILE", args.cluster);
        let comment = [title.as_str(), "The Secret is the cluster's only credential and is printed once."];
        anstream::print!("{}", documents(&comment, &[connection.namespace(), secret, parameters, class])?);
        if let Some(why) = distrusted(&url, &credential.signed.certificate_authority).await {
            anstream::eprintln!(
                "warning: a controller won't trust {url}: {why}; the platform's --name puts a name into its certificate"
            );
        }
        if is_loopback(&url) {
            anstream::eprintln!(
                "note: {url} is reached from this machine only; --platform-url URL names another address, and the \
                 platform's --name puts it into its certificate"
            );
        }
        Ok(std::process::ExitCode::SUCCESS)
    })
}

/// Runs `foregate cluster renew`.
///
/// # Errors
/// When the cluster isn't there, or the platform refuses.
pub fn renew(args: &RenewArgs) -> Ended {
    block_on(async {
        let api = args.api.connect().await?;
        let found = clusters(&api, &args.cluster).get_opt(&args.cluster.name).await;
        let found = found.map_err(|error| api.explain(error, &format!("workload cluster {}", args.cluster)))?;
        let found = found.ok_or_else(|| missing(&args.cluster))?;
        change(&api, args, &found).await?;
        let credential = credential(&api, &args.cluster).await?;
        let connection = Connection {
            cluster: &args.cluster,
            class: &args.manifests.class,
            controller: "",
            namespace: &args.manifests.namespace,
            template: "",
            platform_url: "",
            certificate_authority: "",
        };
        let secret = connection.secret(&credential.signed.certificate, &credential.key);
        let title = format!(
            "A new credential of the workload cluster {}. Apply this there: kubectl apply -f FILE",
            args.cluster
        );
        anstream::print!("{}", documents(&[&title], &[secret])?);
        if args.revoke {
            anstream::eprintln!(
                "note: the cluster's controller is refused from now on, until this is applied there; what it has \
                 written serves on. `foregate cluster list` says when it is connected again"
            );
        }
        Ok(std::process::ExitCode::SUCCESS)
    })
}

/// The cluster isn't there.
pub fn missing(cluster: &ClusterName) -> CliError {
    CliError::failed(
        format!("there is no workload cluster {cluster}"),
        "`foregate cluster list` shows those that there are; `foregate cluster add` adds one",
    )
}

/// The clusters of its tenant.
pub fn clusters(api: &ApiServer, cluster: &ClusterName) -> Api<WorkloadCluster> {
    Api::namespaced(api.client.clone(), &cluster.namespace())
}

async fn platform_url(api: &ApiServer, args: &AddArgs) -> Result<String, CliError> {
    let url = match &args.platform_url {
        Some(url) => url.clone(),
        None => {
            let maps: Api<ConfigMap> = Api::namespaced(api.client.clone(), ADDRESSES_NAMESPACE);
            let said = maps.get_opt(ADDRESSES).await.map_err(|error| api.explain(error, "the platform's addresses"))?;
            let said = said.and_then(|map| map.data).and_then(|mut data| data.remove("api"));
            said.unwrap_or_else(|| api.url().to_owned())
        }
    };
    let url = url.trim_end_matches('/');
    let host = url.strip_prefix("https://").and_then(|rest| rest.parse::<http::uri::Authority>().ok());
    if host.is_none_or(|host| host.as_str().contains('@')) {
        return Err(CliError::usage(
            format!("--platform-url {url:?} isn't where a controller could connect to"),
            "write it like https://platform.example.com:7443",
        ));
    }
    Ok(url.to_owned())
}

/// Why a controller wouldn't take what answers at an address for the platform. That nothing answers says nothing: it may
/// be reached from elsewhere.
pub(super) async fn distrusted(url: &str, certificate_authority: &str) -> Option<String> {
    let mut config = kube::Config::new(url.parse().ok()?);
    let certificates = CertificateDer::pem_slice_iter(certificate_authority.as_bytes());
    config.root_cert = Some(certificates.filter_map(Result::ok).map(|it| it.to_vec()).collect());
    config.connect_timeout = Some(PATIENCE);
    config.default_retry = false;
    let client = kube::Client::try_from(config).ok()?;
    let request = Request::get("/readyz").body(Vec::new()).ok()?;
    let asked = tokio::time::timeout(PATIENCE, client.request_text(request)).await.ok()?;
    let why = chain(&asked.err()?);
    why.split("invalid peer certificate: ").nth(1).map(str::to_owned)
}

fn is_loopback(url: &str) -> bool {
    let host = url.parse::<http::Uri>().ok().and_then(|url| url.host().map(str::to_owned)).unwrap_or_default();
    let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

async fn tenant(api: &ApiServer, cluster: &ClusterName) -> Result<(), CliError> {
    let namespaces: Api<Namespace> = Api::all(api.client.clone());
    let explain = |error| api.explain(error, "the platform's tenants");
    if namespaces.get_opt(&cluster.namespace()).await.map_err(explain)?.is_some() {
        return Ok(());
    }
    let all = namespaces.list(&ListParams::default()).await.map_err(explain)?;
    let prefix = foregate_api::cluster::TENANT_NAMESPACE_PREFIX;
    let known: Vec<String> =
        all.iter().filter_map(|it| it.name_any().strip_prefix(prefix).map(str::to_owned)).collect();
    let message = format!("the platform has no tenant {}", cluster.tenant);
    Err(CliError::failed(message, format!("name one that there is: {}", known.join(", "))))
}

async fn template(api: &ApiServer, cluster: &ClusterName, name: &str) -> Result<(), CliError> {
    let templates: Api<GatewayTemplate> = Api::namespaced(api.client.clone(), &cluster.namespace());
    let all = templates.list(&ListParams::default()).await;
    let all = all.map_err(|error| api.explain(error, "the tenant's templates"))?;
    let known: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
    if known.iter().any(|it| it == name) {
        return Ok(());
    }
    let message = format!("the tenant {} has no GatewayTemplate {name}", cluster.tenant);
    Err(CliError::failed(message, format!("name one that there is with --template: {}", known.join(", "))))
}

async fn create(api: &ApiServer, args: &AddArgs) -> Result<WorkloadCluster, CliError> {
    let cluster = &args.cluster;
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let spec = WorkloadClusterSpec { credential_seconds: Some(args.valid_for), ..WorkloadClusterSpec::default() };
    let object = WorkloadCluster::new(&cluster.name, spec);
    clusters(api, cluster).create(&params, &object).await.map_err(|error| match error {
        kube::Error::Api(status) if status.code == 409 => CliError::failed(
            format!("the workload cluster {cluster} is there already"),
            "`foregate cluster renew` prints a new credential for it; `foregate cluster remove` removes it",
        ),
        error => api.explain(error, &format!("workload cluster {cluster}")),
    })
}

/// Makes all earlier credentials bad, and says how long the next ones are good, where that is asked.
async fn change(api: &ApiServer, args: &RenewArgs, found: &WorkloadCluster) -> Result<(), CliError> {
    let mut spec = found.spec.clone();
    spec.credential_generation = spec.credential_generation.saturating_add(args.revoke.into());
    spec.credential_seconds = args.valid_for.or(spec.credential_seconds);
    if spec == found.spec {
        return Ok(());
    }
    let patch = json!({ "metadata": { "resourceVersion": found.resource_version() }, "spec": spec });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patched = clusters(api, &args.cluster).patch(&args.cluster.name, &params, &Patch::Merge(patch)).await;
    patched.map(drop).map_err(|error| api.explain(error, &format!("workload cluster {}", args.cluster)))
}

async fn credential(api: &ApiServer, cluster: &ClusterName) -> Result<Credential, CliError> {
    let made = certificates::ask::<WorkloadCluster>(&api.client, Some(&cluster.namespace()), &cluster.name).await;
    made.map_err(|error| match error {
        CertificateError::Api(error) => api.explain(error, &format!("the certificate of {cluster}")),
        error => CliError::failed(chain(&error), "try again; see the platform's log"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_alone_are_known() {
        for (url, loopback) in [
            ("https://127.0.0.1:7443", true),
            ("https://[::1]:7443", true),
            ("https://localhost", true),
            ("https://10.0.0.1:7443", false),
            ("https://platform.example.com", false),
        ] {
            assert_eq!(is_loopback(url), loopback, "{url}");
        }
    }
}
