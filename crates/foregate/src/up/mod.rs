//! `foregate up`: API, reconcilers, xDS server and engine in one process.
//!
//! Wiring only. Every part is started here, in the order in which each can rely on the one before, and stopped in
//! the reverse: the engine drains first, so that the last request is answered before anything else goes.

mod backend;
pub mod control;
mod demo;
mod dump;
pub mod engines;
mod error;
mod guide;
mod metrics;
mod node;
pub mod parts;
pub mod seed;
mod serving;
pub mod stock;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use control::Control;
pub use error::UpError;
use parts::Parts;

use crate::config::Config;

/// Port of the demo's listener, as `examples/demo/2-gateway.yaml` has it.
const DEMO_PORT: u16 = 8080;
/// How long the demo may take to serve.
const DEMO_PATIENCE: Duration = Duration::from_secs(30);

/// Runs until Ctrl-C or SIGTERM.
///
/// # Errors
/// When a part can't start, or stops by itself.
pub fn run(config: Config, demo: bool, started: Instant) -> Result<(), UpError> {
    runtime(&config)?.block_on(up(config, demo, started))
}

/// What every long-running role begins with: logging, and the runtime of everything but the engine's workers.
///
/// # Errors
/// When the operating system refuses it.
pub fn runtime(config: &Config) -> Result<tokio::runtime::Runtime, UpError> {
    prepare(config);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("foregate-control")
        .enable_all()
        .build()
        .map_err(|source| UpError::Runtime { source })
}

/// The same, for a role that waits for others most of the time: on one thread nobody has to be woken to go on.
///
/// # Errors
/// When the operating system refuses it.
pub fn small_runtime(config: &Config) -> Result<tokio::runtime::Runtime, UpError> {
    prepare(config);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().map_err(|source| UpError::Runtime { source })
}

fn prepare(config: &Config) {
    crate::logging::install(config.log_format, &config.log_filter);
    // One provider by default: with two linked, rustls would panic at the first handshake.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    raise_open_files();
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
    let control = control::start(&config, vec![node::NODE.to_owned()], &mut parts, &shutdown).await?;
    // Engines are configured from the platform's own cache: no relay, no copy.
    let agent = (control.client.clone(), Arc::new(control.cache.clone()) as Arc<dyn foregate_node::XdsSource>);
    let metrics = engines::start(&config, agent, node::NODE, None, &mut parts, (&drain, &shutdown))?;
    dump::mount_metrics(&control.server, metrics);
    if demo {
        demo::start_backends(&shutdown).await?;
        demo::apply(&control.client).await?;
    }
    let address = tokio::select! {
        ready = ready(&control, &config, demo) => ready?,
        ended = parts.until_signal() => return finish(ended, parts, control).await,
    };
    eprintln!("ready in {} ms", started.elapsed().as_millis());
    guide::print(control.api, &control.kubeconfig, address.map(|address| (address, DEMO_PORT + config.port_offset)));
    let ended = parts.until_signal().await;
    finish(ended, parts, control).await
}

/// Drains, stops, and writes everything to disk.
pub async fn finish(ended: Result<(), UpError>, parts: Parts, control: Control) -> Result<(), UpError> {
    tracing::info!("draining");
    parts.stop().await;
    control.server.shutdown().await;
    ended
}

/// Waits until all that is stored serves, and the demo too. Returns the demo gateway's address.
async fn ready(control: &Control, config: &Config, demo: bool) -> Result<Option<IpAddr>, UpError> {
    control.start.over().await;
    if !demo {
        return Ok(None);
    }
    let port = DEMO_PORT + config.port_offset;
    let address = tokio::time::timeout(DEMO_PATIENCE, serving::demo_serves(&control.client, port)).await;
    let silent = |_| UpError::DemoSilent { seconds: DEMO_PATIENCE.as_secs(), kubeconfig: control.kubeconfig.clone() };
    address.map(Some).map_err(silent)
}
