//! `--source kubernetes`: what users write is in a Kubernetes cluster, which this runs in or beside.

use std::sync::Arc;
use std::time::Instant;

use foregate_controller::{DefaultTarget, Settings};
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;

use super::ControllerArgs;
use crate::up::UpError;
use crate::up::parts::Parts;

/// Runs until Ctrl-C or SIGTERM.
///
/// # Errors
/// When a part can't start, or stops by itself.
pub async fn run(args: &ControllerArgs, started: Instant) -> Result<(), UpError> {
    let shutdown = CancellationToken::new();
    // Nothing here carries traffic: there is nothing to drain.
    let mut parts = Parts::new(shutdown.clone(), shutdown.clone())?;
    let workload = match &args.kubeconfig {
        Some(path) => super::client(path).await?,
        None => in_cluster()?,
    };
    let platform = super::client(args.platform_kubeconfig.as_deref().unwrap_or_else(|| "".as_ref())).await?;
    let default_target = Some(DefaultTarget::remote(args.cluster()));
    let settings = Settings { default_target, host_local_backends: false, ..Settings::local() };
    let derived = Arc::new(SetOnce::new());
    let run = foregate_controller::run(workload, platform, settings, derived.clone(), shutdown.clone());
    parts.start("controller", run);
    tokio::select! {
        _ = derived.wait() => eprintln!("ready in {} ms", started.elapsed().as_millis()),
        ended = parts.until_signal() => {
            parts.stop().await;
            return ended;
        }
    }
    let ended = parts.until_signal().await;
    parts.stop().await;
    ended
}

fn in_cluster() -> Result<kube::Client, UpError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| UpError::Cluster { source };
    let config = kube::Config::incluster().map_err(|error| failed(error.into()))?;
    kube::Client::try_from(config).map_err(|error| failed(error.into()))
}
