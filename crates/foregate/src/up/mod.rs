//! `foregate up`: API, reconcilers, xDS server and engine in one process.
//!
//! Wiring only. Every part is started here, in the order in which each can rely on the one before, and stopped in
//! the reverse: the engine drains first, so that the last request is answered before anything else goes.

mod backend;
mod demo;
mod error;
mod guide;
mod metrics;
mod node;
mod parts;
mod seed;
mod serving;

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foregate_apiserver::{Durability, Server, ServerOptions};
use foregate_platform::PlatformOptions;
use foregate_proxy::{AccessLog, Engine, EngineOptions, LogFormat};
use tokio_util::sync::CancellationToken;

pub use error::UpError;
use parts::Parts;

use crate::config::Config;

/// Port of the demo's listener, as `examples/demo/2-gateway.yaml` has it.
const DEMO_PORT: u16 = 8080;
/// What nobody used for so long is given back.
const IDLE: Duration = Duration::from_secs(10);
/// How long the demo may take to serve.
const DEMO_PATIENCE: Duration = Duration::from_secs(30);

/// Runs until Ctrl-C or SIGTERM.
///
/// # Errors
/// When a part can't start, or stops by itself.
pub fn run(config: Config, demo: bool, started: Instant) -> Result<(), UpError> {
    crate::logging::install(config.log_format, &config.log_filter);
    // One provider by default: with two linked, rustls would panic at the first handshake.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("foregate-control")
        .enable_all()
        .build()
        .map_err(|source| UpError::Runtime { source })?;
    runtime.block_on(up(config, demo, started))
}

/// Each connection is an open file: as many as this user may have.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the number of open files stays as it was");
    }
}

async fn up(config: Config, demo: bool, started: Instant) -> Result<(), UpError> {
    let shutdown = CancellationToken::new();
    let drain = CancellationToken::new();
    let mut parts = Parts::new(drain.clone(), shutdown.clone())?;
    let process = start(&config, &mut parts, &drain, &shutdown).await?;
    if demo {
        demo::start_backends(&shutdown).await?;
        demo::apply(&process.client).await?;
    }
    let address = tokio::select! {
        ready = process.ready(&config, demo) => ready?,
        ended = parts.until_signal() => return finish(ended, parts, process).await,
    };
    eprintln!("ready in {} ms", started.elapsed().as_millis());
    guide::print(process.api, &process.kubeconfig, address.map(|address| (address, DEMO_PORT + config.port_offset)));
    let ended = parts.until_signal().await;
    finish(ended, parts, process).await
}

/// Drains, stops, and writes everything to disk.
async fn finish(ended: Result<(), UpError>, parts: Parts, process: Process) -> Result<(), UpError> {
    tracing::info!("draining");
    parts.stop().await;
    process.server.shutdown().await;
    ended
}

/// What runs.
struct Process {
    server: Server,
    client: kube::Client,
    api: SocketAddr,
    kubeconfig: PathBuf,
    start: serving::Start,
}

impl Process {
    /// Waits until all that is stored serves, and the demo too. Returns the demo gateway's address.
    async fn ready(self: &Process, config: &Config, demo: bool) -> Result<Option<IpAddr>, UpError> {
        self.start.over().await;
        if !demo {
            return Ok(None);
        }
        let port = DEMO_PORT + config.port_offset;
        let address = tokio::time::timeout(DEMO_PATIENCE, serving::demo_serves(&self.client, port)).await;
        let silent = |_| UpError::DemoSilent { seconds: DEMO_PATIENCE.as_secs(), kubeconfig: self.kubeconfig.clone() };
        address.map(Some).map_err(silent)
    }
}

/// Opens the store, seeds it, and starts API, platform, controller and node.
async fn start(
    config: &Config,
    parts: &mut Parts,
    drain: &CancellationToken,
    shutdown: &CancellationToken,
) -> Result<Process, UpError> {
    let server = open(config)?;
    let hint = "choose another with --api-listen ADDR:PORT (port 0 picks one)";
    let listener = bind("the API", config.api_listen, hint)?;
    let api = listener.local_addr().map_err(|source| UpError::Runtime { source })?;
    let kubeconfig = write_kubeconfig(config, &server, api)?;
    // What reconcilers write they would derive again after a crash: they needn't wait for the disk.
    let (client, reconcilers) = (server.client(), server.client_for(Durability::Derived));
    seed::seed(&client, config).await?;
    let (api_server, stop) = (server.clone(), shutdown.clone());
    parts.start("API", async move { api_server.serve(listener, stop).await });

    let (cache, events) = foregate_xds::Cache::new(foregate_xds::Options {
        drain: config.drain(),
        started: false,
        ..foregate_xds::Options::default()
    });
    let start = serving::Start::default();
    let options = PlatformOptions {
        nodes: vec![node::NODE.to_owned()],
        namespace: Some(foregate_api::DEFAULT_TENANT_NAMESPACE.to_owned()),
        port_offset: config.port_offset,
        revision_text: Some(revision_text),
        revision_body: Some(revision_body),
        serving: start.serving.clone(),
        ..PlatformOptions::default()
    };
    let engine = start_engine(config)?;
    let builtin = engine.metrics_source();
    let agent = agent(config, client.clone(), cache.clone(), engine)?;
    if let Some(address) = config.metrics_listen {
        let listener = bind("metrics", address, "choose another with --metrics-listen")?;
        let source = metrics::Source::new(builtin, agent.metrics());
        parts.start("metrics", metrics::serve(listener, source, shutdown.clone()));
    }
    parts.start(parts::NODE, agent.run(drain.clone()));
    let clients = foregate_platform::Clients { client: reconcilers.clone(), durable: client.clone() };
    let platform = foregate_platform::run(clients, options, cache, events, shutdown.clone());
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
    let controller = foregate_controller::run(reconcilers.clone(), reconcilers, settings, derived, shutdown.clone());
    parts.start("controller", controller);
    Ok(Process { server, client, api, kubeconfig, start })
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

/// The inverse of [`revision_text`].
fn revision_body(type_url: &str, text: &str) -> Option<Vec<u8>> {
    let json = serde_json::from_str(text).ok()?;
    foregate_envoy::from_json(type_url, &json).ok().map(|message| foregate_envoy::canonical::encode(&message))
}

fn open(config: &Config) -> Result<Server, UpError> {
    let mut options = ServerOptions::new(&config.data_dir);
    options.namespaces.push(foregate_api::DEFAULT_TENANT_NAMESPACE.to_owned());
    Server::open(options).map_err(|source| UpError::Open { dir: config.data_dir.clone(), source: Box::new(source) })
}

fn bind(what: &'static str, address: SocketAddr, hint: &'static str) -> Result<TcpListener, UpError> {
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

/// The node agent, with the built-in engine.
fn agent(
    config: &Config,
    client: kube::Client,
    xds: foregate_xds::Cache,
    engine: Engine,
) -> Result<foregate_node::Agent, UpError> {
    let sockets = foregate_node::agent::socket_dir(&config.data_dir)
        .map_err(|source| UpError::Part { part: parts::NODE, source: Box::new(source) })?;
    let options = foregate_node::Options {
        node: node::NODE.to_owned(),
        sockets,
        drain: config.drain(),
        workers: config.worker_count(),
        engines: foregate_node::engines::Store::new(&config.data_dir),
        memory: None,
    };
    let builtin = Arc::new(node::BuiltinEngine::new(engine));
    Ok(foregate_node::Agent::new(client, Arc::new(xds), builtin, options))
}

fn start_engine(config: &Config) -> Result<Engine, UpError> {
    let access_log = match config.access_log.as_str() {
        "off" => AccessLog::Off,
        "stdout" => AccessLog::Stdout(LogFormat::Json),
        file => AccessLog::File(file.into(), LogFormat::Json),
    };
    let options = EngineOptions { workers: config.worker_count(), drain: config.drain(), access_log };
    Engine::start(options).map_err(|source| UpError::Engine { source: Box::new(source) })
}
