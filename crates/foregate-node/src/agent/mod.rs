//! The agent: follows the GatewayInstances of its node, and keeps an engine running for each.
//!
//! [`Agent::run`] is the whole of it. Each instance has an actor of its own ([`actor`]), so that none waits for
//! another's drain or back-off. What the agent needs from elsewhere comes as two traits: [`XdsSource`], where
//! configuration is from, and [`Builtin`], the built-in engine.
//!
//! With [`Options::memory`] the agent writes down which instances it has, and starts them from there while the API is
//! away.

mod actor;
mod builtin;
mod error;
mod exchange;
mod follow;
mod memory;
mod node;
mod pauses;
mod sockets;
mod source;
mod status;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio_util::sync::CancellationToken;

pub use builtin::{BoxError, Builtin, BuiltinInstance};
pub use error::AgentError;
pub use sockets::socket_dir;
pub use source::XdsSource;

use crate::engines::{Store, Watch};
use crate::envoy::Metrics;

/// How an agent runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its node's name.
    pub node: String,
    /// Where its sockets are: see [`socket_dir`].
    pub sockets: PathBuf,
    /// How long requests under way get when an engine ends.
    pub drain: Duration,
    /// Threads of each Envoy that serve requests.
    pub workers: usize,
    /// The Envoys that there are.
    pub engines: Store,
    /// Whether it says itself that its node is ready: there is no relay by which the platform would know.
    pub says_ready: bool,
    /// A file to remember instances in, for a start without the API; none: the API is always there first.
    pub memory: Option<PathBuf>,
}

/// What all actors share.
struct Shared {
    options: Options,
    xds: Arc<dyn XdsSource>,
    builtin: Arc<dyn Builtin>,
    statuses: status::Statuses,
    metrics: Metrics,
    engines: Option<Watch>,
}

/// A node's agent.
pub struct Agent {
    client: Client,
    xds: Arc<dyn XdsSource>,
    builtin: Arc<dyn Builtin>,
    options: Options,
    metrics: Metrics,
}

impl Agent {
    /// An agent that does nothing yet.
    pub fn new(client: Client, xds: Arc<dyn XdsSource>, builtin: Arc<dyn Builtin>, options: Options) -> Self {
        Self { client, xds, builtin, options, metrics: Metrics::default() }
    }

    /// The metrics of its Envoys, also after the agent has moved into its task.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Follows the GatewayInstances; once told to, drains all engines and ends.
    ///
    /// # Errors
    /// When the sockets' directory can't be used.
    pub async fn run(self, drain: CancellationToken) -> Result<(), AgentError> {
        let sockets = self.options.sockets.clone();
        sockets::make(&sockets).map_err(|source| AgentError::Sockets { path: sockets, source })?;
        let engines = Watch::start(&self.options.engines)
            .inspect_err(|error| tracing::warn!(%error, "engines that are added are noticed at the next start only"))
            .ok();
        let shared = Arc::new(Shared {
            statuses: status::Statuses::start(self.client.clone()),
            xds: self.xds,
            builtin: self.builtin,
            options: self.options,
            metrics: self.metrics,
            engines: engines.clone(),
        });
        let mut node = tokio::spawn(node::keep(self.client.clone(), shared.options.clone(), engines, drain.clone()));
        let followed = follow::follow(self.client, shared.clone(), &drain).await;
        if drain.is_cancelled() {
            // It has its last word. An API that is away doesn't hear it.
            let _ = tokio::time::timeout(node::LAST_WORD, &mut node).await;
        }
        node.abort();
        followed
    }
}
