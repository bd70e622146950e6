//! `foregate node`: the engines of one gateway node, configured by a platform elsewhere.
//!
//! The agent follows the GatewayInstances that the platform places on this node, and runs an engine for each
//! ([`foregate_node`]). Engines are configured from the relay ([`foregate_xds::relay`]), which keeps everything on disk:
//! a node starts and serves with the platform away.

mod add;
mod credential;
mod error;
mod relay;
mod renew;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, Subcommand};
use foregate_xds::tls::{self, Identity};
use foregate_xds::{Relay, RelayOptions};
use tokio_util::sync::CancellationToken;

use crate::cli::UpArgs;
use crate::cli::flags::{EngineArgs, RoleArgs};
use crate::config::{Config, ConfigError};
use crate::up;
use crate::up::engines;
use crate::up::parts::Parts;
use credential::Credential;
pub use error::NodeError;
use renew::Keeper;

/// Flags of `foregate node`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct NodeArgs {
    /// What to do instead of running a node.
    #[command(subcommand)]
    pub verb: Option<NodeVerb>,
    /// What `foregate node add` wrote: who this node is, and where its platform.
    #[arg(long, value_name = "FILE", env = "FOREGATE_CREDENTIAL")]
    pub credential: Option<PathBuf>,
    /// Those of every role.
    #[command(flatten)]
    pub role: RoleArgs,
    /// Those of its engines.
    #[command(flatten)]
    pub engines: EngineArgs,
}

/// Verbs of `foregate node`.
#[derive(Clone, Debug, Subcommand)]
pub enum NodeVerb {
    /// Add a gateway node to the platform that runs on this machine, and write its credential.
    Add(add::AddArgs),
    /// Write another credential for a node that is there.
    Renew(add::RenewArgs),
}

impl NodeArgs {
    /// Defaults, then the file, then the flags.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn config(&self) -> Result<Config, ConfigError> {
        let Self { role, engines, .. } = self.clone();
        Config::load(&UpArgs { role, engines, ..UpArgs::default() })
    }
}

/// Adds a node, or runs one until Ctrl-C or SIGTERM.
///
/// # Errors
/// [`NodeError`]
pub fn run(args: NodeArgs, config: Config, started: Instant) -> Result<(), NodeError> {
    let runtime = up::runtime(&config)?;
    match args.verb {
        Some(NodeVerb::Add(args)) => runtime.block_on(add::add(args)),
        Some(NodeVerb::Renew(args)) => runtime.block_on(add::renew(args)),
        None => {
            let path = args.credential.ok_or(NodeError::NoCredential)?;
            runtime.block_on(node(&config, path, started))
        }
    }
}

async fn node(config: &Config, path: PathBuf, started: Instant) -> Result<(), NodeError> {
    let credential = Credential::read(&path)?;
    let (drain, shutdown) = (CancellationToken::new(), CancellationToken::new());
    let mut parts = Parts::new(drain.clone(), shutdown.clone())?;
    let relay_error = |source: Box<dyn std::error::Error + Send + Sync>| NodeError::Relay { source };
    let identity =
        Identity::new(&credential.certificate, &credential.key).map_err(|error| relay_error(error.into()))?;
    let tls = tls::client_config_of(&credential.certificate_authority, identity.clone());
    let relay = Relay::open(RelayOptions {
        address: credential.xds.clone(),
        tls: tls.map_err(|error| relay_error(Box::new(error)))?,
        directory: config.data_dir.join("xds"),
        cache: foregate_xds::Options { drain: config.drain(), ..foregate_xds::Options::default() },
    })
    .map_err(|error| relay_error(Box::new(error)))?;
    let source = relay::RelaySource::new(relay.clone(), drain.clone());
    tokio::spawn(source.clone().sweep());
    let memory = Some(config.data_dir.join("instances.json"));
    let keeper = Keeper::new(path, credential.clone(), identity).await?;
    let agent = (keeper.client(), Arc::new(source) as Arc<dyn foregate_node::XdsSource>);
    engines::start(config, agent, &credential.node, memory, &mut parts, (&drain, &shutdown))?;
    parts.start("credential", keeper.keep(shutdown.clone()));
    relay.announce();
    eprintln!("node {} runs after {} ms", credential.node, started.elapsed().as_millis());
    let ended = parts.until_signal().await;
    tracing::info!("draining");
    parts.stop().await;
    relay.close().await;
    ended.map_err(Into::into)
}
