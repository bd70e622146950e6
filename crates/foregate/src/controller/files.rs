//! `--source files`: a workload side without a cluster. What is in directories is what users write.
//!
//! The parts are those of `up`: an embedded API holds the objects (only this process reaches it), the file provider
//! fills it, and the controller decides on it as on any workload API. Its store is kept, since the UIDs in it are the
//! identity of everything on the platform.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use foregate_apiserver::{Durability, Server, ServerOptions};
use foregate_controller::files::Files;
use foregate_controller::{Controller, DefaultTarget, Gate, Settings};
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;

use super::ControllerArgs;
use crate::config::Config;
use crate::up::parts::Parts;
use crate::up::{UpError, seed};

/// Runs until Ctrl-C or SIGTERM.
///
/// # Errors
/// When a part can't start, or stops by itself.
pub async fn run(args: &ControllerArgs, config: &Config, started: Instant) -> Result<(), UpError> {
    let shutdown = CancellationToken::new();
    // Nothing here carries traffic: there is nothing to drain.
    let mut parts = Parts::new(shutdown.clone(), shutdown.clone())?;
    let platform = super::client(args.kubeconfig.as_deref().unwrap_or_else(|| "".as_ref())).await?;
    let server = Server::open(ServerOptions::new(&config.data_dir))
        .map_err(|source| UpError::Open { dir: config.data_dir.clone(), source: Box::new(source) })?;
    // What files say must be there when the platform has what follows from it: the UIDs are its names.
    let (workload, statuses) = (server.client(), server.client_for(Durability::Derived));
    seed::kinds(&workload).await?;
    seed::class(&workload).await?;
    start_files(workload, &args.watch, &mut parts, &shutdown).await?;

    let default_target = Some(DefaultTarget::remote(args.cluster()));
    let settings = Settings { default_target, host_local_backends: false, ..Settings::local() };
    let derived = Arc::new(SetOnce::new());
    let controller = Controller {
        workload: statuses,
        platform: Some(platform),
        settings,
        gate: Gate::open(),
        caught_up: derived.clone(),
    };
    parts.start("controller", foregate_controller::run(controller, shutdown.clone()));
    tokio::select! {
        _ = derived.wait() => eprintln!("ready in {} ms", started.elapsed().as_millis()),
        ended = parts.until_signal() => return stop(ended, parts, server).await,
    }
    let ended = parts.until_signal().await;
    stop(ended, parts, server).await
}

async fn stop(ended: Result<(), UpError>, parts: Parts, server: Server) -> Result<(), UpError> {
    parts.stop().await;
    server.shutdown().await;
    ended
}

/// Applies what is in directories, and follows them from then on.
///
/// # Errors
/// When the system doesn't tell of changes.
pub async fn start_files(
    client: kube::Client,
    directories: &[PathBuf],
    parts: &mut Parts,
    shutdown: &CancellationToken,
) -> Result<(), UpError> {
    let mut files = Files::new(client, directories)
        .map_err(|source| UpError::Part { part: "file provider", source: source.into() })?;
    files.first_pass().await;
    parts.start("file provider", files.run(shutdown.clone()));
    Ok(())
}
