//! `--source kubernetes`: what users write is in a Kubernetes cluster, which this runs in or beside.
//!
//! Of several replicas one writes (see [`leader`]); the others keep up with it, so that they can take over at once.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foregate_controller::leader::Candidate;
use foregate_controller::{Controller, ControllerError, DefaultTarget, Gate, Settings};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::sync::{SetOnce, watch};
use tokio_util::sync::CancellationToken;

use super::{ControllerArgs, health};
use crate::up::UpError;
use crate::up::control::bind;
use crate::up::parts::Parts;

/// Name of the Lease.
const LEASE: &str = "foregate-controller";
/// Where the Lease is unless somebody says otherwise.
const NAMESPACE: &str = "foregate-system";

/// How long the lease may take to be given back, on the way out.
const FAREWELL: Duration = Duration::from_secs(3);

/// Runs until Ctrl-C or SIGTERM.
///
/// # Errors
/// When a part can't start, or stops by itself.
pub async fn run(args: &ControllerArgs, started: Instant) -> Result<(), UpError> {
    let shutdown = CancellationToken::new();
    // Nothing here carries traffic: there is nothing to drain.
    let mut parts = Parts::new(shutdown.clone(), shutdown.clone())?;
    let replica = Replica::of(args).await?;
    let (caught_up, leads) = (Arc::new(SetOnce::new()), watch::Sender::new(!args.leader_elect));
    if let Some(address) = args.health_listen {
        let hint = "choose another with --health-listen ADDR:PORT (port 0 picks one)";
        let listener = bind("the health port", address, hint)?;
        let state = health::State { caught_up: caught_up.clone(), leads: leads.subscribe() };
        parts.start("health port", health::serve(listener, state, shutdown.clone()));
    }
    parts.start("controller", replica.run(leads, caught_up.clone(), shutdown.clone()));
    tokio::select! {
        _ = caught_up.wait() => eprintln!("ready in {} ms", started.elapsed().as_millis()),
        ended = parts.until_signal() => {
            parts.stop().await;
            return ended;
        }
    }
    let ended = parts.until_signal().await;
    parts.stop().await;
    ended
}

/// One of several that could do the same.
struct Replica {
    workload: Client,
    platform: Option<Client>,
    settings: Settings,
    /// Namespace of the Lease; none: there are no others.
    lease: Option<String>,
    identity: String,
}

impl Replica {
    async fn of(args: &ControllerArgs) -> Result<Self, UpError> {
        let (workload, namespace) = match &args.kubeconfig {
            Some(path) => (from_file(path).await?, None),
            None => in_cluster()?,
        };
        let platform = match &args.platform_kubeconfig {
            Some(path) => Some(from_file(path).await?),
            None => None,
        };
        let settings = Settings {
            controller_names: args.controller_names.clone(),
            default_target: platform.is_some().then(|| DefaultTarget::remote(args.cluster())),
            host_local_backends: false,
        };
        let namespace = args.lease_namespace.clone().or(namespace).unwrap_or_else(|| NAMESPACE.to_owned());
        let lease = args.leader_elect.then_some(namespace);
        Ok(Self { workload, platform, settings, lease, identity: identity() })
    }

    /// Runs until shutdown. Who led and was overtaken starts again, as one that doesn't.
    async fn run(
        self,
        leads: watch::Sender<bool>,
        caught_up: Arc<SetOnce<()>>,
        shutdown: CancellationToken,
    ) -> Result<(), ControllerError> {
        loop {
            let controller = Controller {
                workload: self.workload.clone(),
                platform: self.platform.clone(),
                settings: self.settings.clone(),
                gate: Gate::of(leads.subscribe()),
                caught_up: caught_up.clone(),
            };
            let controller = foregate_controller::run(controller, shutdown.clone());
            let Some(namespace) = &self.lease else { return controller.await };
            let candidate = Candidate::new(self.workload.clone(), namespace, LEASE, &self.identity);
            let resign = CancellationToken::new();
            let mut election = std::pin::pin!(candidate.run(leads.clone(), resign.clone()));
            let ended = tokio::select! {
                ended = controller => ended,
                _ = &mut election => {
                    tracing::warn!("another replica leads now");
                    continue;
                }
            };
            // Only who writes no more gives the lease back: two never write at once.
            resign.cancel();
            if tokio::time::timeout(FAREWELL, election).await.is_err() {
                tracing::warn!("the lease isn't given back in time; another takes over once it is over");
            }
            return ended;
        }
    }
}

/// Distinct from all other replicas, after a restart, too.
fn identity() -> String {
    let host =
        std::env::var("POD_NAME").unwrap_or_else(|_| rustix::system::uname().nodename().to_string_lossy().into_owned());
    format!("{host}_{}_{}", std::process::id(), jiff::Timestamp::now().as_nanosecond())
}

async fn from_file(path: &Path) -> Result<Client, UpError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| UpError::Platform { path: path.to_owned(), source };
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| failed(error.into()))?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    foregate_controller::connect(config.map_err(|error| failed(error.into()))?).map_err(failed)
}

/// The API of the cluster that this runs in, and the namespace that this runs in.
fn in_cluster() -> Result<(Client, Option<String>), UpError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| UpError::Cluster { source };
    let config = kube::Config::incluster().map_err(|error| failed(error.into()))?;
    let namespace = config.default_namespace.clone();
    Ok((foregate_controller::connect(config).map_err(failed)?, Some(namespace)))
}
