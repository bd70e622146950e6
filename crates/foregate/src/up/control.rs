//! API, reconcilers and the xDS cache: what `foregate up` and `foregate platform` have in common.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use foregate_apiserver::{Durability, Server, ServerOptions};
use foregate_platform::PlatformOptions;
use foregate_xds::Cache;
use tokio_util::sync::CancellationToken;

use super::parts::Parts;
use super::{UpError, seed, serving};
use crate::config::Config;

/// What nobody used for so long is given back.
const IDLE: Duration = Duration::from_secs(10);

/// What runs, and how to reach it.
pub struct Control {
    /// The API server.
    pub server: Server,
    /// A client in this process.
    pub client: kube::Client,
    /// Where the API listens.
    pub api: SocketAddr,
    /// The administrator's credentials.
    pub kubeconfig: PathBuf,
    /// How far the start has come.
    pub start: serving::Start,
    /// What engines are configured from.
    pub cache: Cache,
}

/// Opens the store, seeds it, and starts API, platform and controller. `nodes` are the gateway nodes; none: those that
/// there are GatewayNodes of.
///
/// # Errors
/// When one of them can't start.
pub async fn start(
    config: &Config,
    nodes: Vec<String>,
    parts: &mut Parts,
    shutdown: &CancellationToken,
) -> Result<Control, UpError> {
    let server = open(config)?;
    let hint = "choose another with --api-listen ADDR:PORT (port 0 picks one)";
    let listener = bind("the API", config.api_listen, hint)?;
    let api = listener.local_addr().map_err(|source| UpError::Runtime { source })?;
    let kubeconfig = write_kubeconfig(config, &server, api)?;
    // What reconcilers write they would derive again after a crash: they needn't wait for the disk.
    let (client, reconcilers) = (server.client(), server.client_for(Durability::Derived));
    seed::seed(&client, config).await?;
    super::stock::renew(&client).await?;
    crate::cluster::mount(&server);
    parts.start("workload clusters", crate::cluster::keep(reconcilers.clone(), shutdown.clone()));
    let (api_server, stop) = (server.clone(), shutdown.clone());
    parts.start("API", async move { api_server.serve(listener, stop).await });
    if !config.watch.is_empty() {
        crate::controller::start_files(client.clone(), &config.watch, parts, shutdown).await?;
    }

    let (cache, events) =
        Cache::new(foregate_xds::Options { drain: config.drain(), started: false, ..foregate_xds::Options::default() });
    super::dump::mount_gateways(&server, &cache);
    super::dump::mount_xds(&server, &cache);
    let start = serving::Start::default();
    let options = PlatformOptions {
        nodes,
        namespace: Some(foregate_api::DEFAULT_TENANT_NAMESPACE.to_owned()),
        port_offset: config.port_offset,
        revision_text: Some(revision_text),
        revision_body: Some(revision_body),
        serving: start.serving.clone(),
        ..PlatformOptions::default()
    };
    let clients = foregate_platform::Clients { client: reconcilers.clone(), durable: client.clone() };
    let platform = foregate_platform::run(clients, options, cache.clone(), events, shutdown.clone());
    let (stop, derived) = (shutdown.clone(), start.derived.clone());
    parts.start("platform", async move {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = derived.wait() => {}
        }
        platform.await
    });
    tokio::spawn(trim());
    let (settings, derived) = (foregate_controller::Settings::local(), start.derived.clone());
    let controller = foregate_controller::Controller {
        workload: reconcilers.clone(),
        platform: Some(reconcilers),
        settings,
        gate: foregate_controller::Gate::open(),
        caught_up: derived,
    };
    let controller = foregate_controller::run(controller, shutdown.clone());
    parts.start("controller", controller);
    Ok(Control { server, client, api, kubeconfig, start, cache })
}

/// Gives back the memory that only changes need, once there were none for a while.
async fn trim() {
    let mut tick = tokio::time::interval(IDLE);
    loop {
        tick.tick().await;
        foregate_envoy::descriptors::trim();
    }
}

/// A resource as a ConfigRevision keeps it: JSON without what Envoy marks as sensitive.
fn revision_text(type_url: &str, body: &[u8]) -> Option<String> {
    let kind = foregate_envoy::ResourceKind::from_type_url(type_url)?;
    foregate_envoy::to_json(kind, body).ok().map(|json| json.to_string())
}

/// The inverse of [`revision_text`], if nothing was left out.
fn revision_body(type_url: &str, text: &str) -> Option<Vec<u8>> {
    if text.contains(foregate_envoy::REDACTED) {
        return None;
    }
    let json = serde_json::from_str(text).ok()?;
    foregate_envoy::from_json(type_url, &json).ok().map(|message| foregate_envoy::canonical::encode(&message))
}

fn open(config: &Config) -> Result<Server, UpError> {
    let mut options = ServerOptions::new(&config.data_dir);
    options.names.clone_from(&config.names);
    options.namespaces.push(foregate_api::DEFAULT_TENANT_NAMESPACE.to_owned());
    Server::open(options).map_err(|source| UpError::Open { dir: config.data_dir.clone(), source: Box::new(source) })
}

/// Listens.
///
/// # Errors
/// When it can't; the hint says what to do.
pub fn bind(what: &'static str, address: SocketAddr, hint: &'static str) -> Result<TcpListener, UpError> {
    TcpListener::bind(address).map_err(|source| UpError::Bind { what, address, hint, source })
}

/// Writes `admin.kubeconfig`, for this user's eyes only.
fn write_kubeconfig(config: &Config, server: &Server, api: SocketAddr) -> Result<PathBuf, UpError> {
    let path = config.data_dir.join("admin.kubeconfig");
    let text = server
        .admin_kubeconfig(api)
        .map_err(|source| UpError::Part { part: "certificate authority", source: source.into() })?;
    let write = || {
        let next = path.with_extension("kubeconfig.next");
        let _ = std::fs::remove_file(&next);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&next, &path)
    };
    write().map_err(|source| UpError::Write { path: path.clone(), source })?;
    Ok(path)
}
