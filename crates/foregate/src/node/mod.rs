//! `foregate node`: the engines of one gateway node, configured by a platform elsewhere.
//!
//! The agent follows the GatewayInstances that the platform places on this node, and runs an engine for each
//! ([`foregate_node`]). Engines are configured from the relay ([`foregate_xds::relay`]), which keeps everything on disk:
//! a node starts and serves with the platform away.

mod add;
mod credential;
mod error;
mod relay;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, Subcommand};
use foregate_xds::{Relay, RelayOptions, tls};
use tokio_util::sync::CancellationToken;

use crate::cli::{LogFormat, UpArgs};
use crate::config::{Config, ConfigError};
use crate::up;
use crate::up::engines;
use crate::up::parts::Parts;
use credential::Credential;
pub use error::NodeError;

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
    /// Static configuration, YAML, as `foregate config print` shows it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where configuration and engines are kept [default: the XDG state directory; /var/lib/foregate for root].
    #[arg(long, value_name = "DIR", env = "FOREGATE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Worker threads of the engine [default: one per core].
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Where the engine's access log goes: `off`, `stdout` or a file [default: off].
    #[arg(long, value_name = "off|stdout|FILE")]
    pub access_log: Option<String>,
    /// Where the engines' Prometheus metrics are served, as `/metrics` [default: nowhere].
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// Form of the log lines on stderr [default: text].
    #[arg(long, value_enum, value_name = "FORM")]
    pub log_format: Option<LogFormat>,
}

/// Verbs of `foregate node`.
#[derive(Clone, Debug, Subcommand)]
pub enum NodeVerb {
    /// Add a gateway node to the platform that runs on this machine, and write its credential.
    Add(add::AddArgs),
}

impl NodeArgs {
    /// Defaults, then the file, then the flags.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn config(&self) -> Result<Config, ConfigError> {
        let args = self.clone();
        Config::load(&UpArgs {
            config: args.config,
            data_dir: args.data_dir,
            workers: args.workers,
            access_log: args.access_log,
            metrics_listen: args.metrics_listen,
            log_format: args.log_format,
            ..UpArgs::default()
        })
    }
}

/// Adds a node, or runs one until Ctrl-C or SIGTERM.
///
/// # Errors
/// [`NodeError`]
pub fn run(args: NodeArgs, config: Config, started: Instant) -> Result<(), NodeError> {
    let runtime = up::runtime(&config)?;
    match args.verb {
        Some(NodeVerb::Add(add)) => runtime.block_on(add::run(add)),
        None => {
            let path = args.credential.ok_or(NodeError::NoCredential)?;
            runtime.block_on(node(&config, &Credential::read(&path)?, started))
        }
    }
}

async fn node(config: &Config, credential: &Credential, started: Instant) -> Result<(), NodeError> {
    let (drain, shutdown) = (CancellationToken::new(), CancellationToken::new());
    let mut parts = Parts::new(drain.clone(), shutdown.clone())?;
    let tls = tls::client_config(&credential.certificate_authority, &credential.certificate, &credential.key);
    let relay_error = |source: Box<dyn std::error::Error + Send + Sync>| NodeError::Relay { source };
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
    let agent = (credential.client().await?, Arc::new(source) as Arc<dyn foregate_node::XdsSource>);
    engines::start(config, agent, &credential.node, memory, &mut parts, (&drain, &shutdown))?;
    relay.announce();
    eprintln!("node {} runs after {} ms", credential.node, started.elapsed().as_millis());
    let ended = parts.until_signal().await;
    tracing::info!("draining");
    parts.stop().await;
    relay.close().await;
    ended.map_err(Into::into)
}
