//! The command line: what `foregate --help` shows. A verb is a file; roles (`up`, `platform`, `node`) have folders of
//! their own.

pub mod api;
mod backends;
mod config_api;
pub mod dump;
pub mod error;
pub mod explain;
pub mod flags;
mod gateway;
pub mod get;
pub mod help;
mod kinds;
mod manifests;
pub mod names;
mod objects;
mod offline;
pub mod output;
pub mod renew;
pub mod revisions;
pub mod shell;
pub mod status;
pub mod table;
pub mod top;
pub mod translate;
pub mod validate;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use flags::{EngineArgs, RoleArgs};

/// An external, multi-tenant API gateway and load balancer for Kubernetes and Linux hosts.
#[derive(Debug, Parser)]
#[command(name = "foregate", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process: API, reconcilers, xDS server and the built-in engine.
    Up(UpArgs),
    /// Run API, reconcilers and xDS server for nodes that run elsewhere: no engines.
    Platform(crate::platform::PlatformArgs),
    /// Run the engines of a gateway node, or add one to a platform.
    Node(crate::node::NodeArgs),
    /// Run a workload side without a cluster: what is in files goes to a platform.
    Controller(crate::controller::ControllerArgs),
    /// Add, list and remove the workload clusters that use this platform.
    Cluster(crate::cluster::ClusterArgs),
    /// Add, list and remove the Envoys that gateways can run on.
    Engine(crate::engine::EngineArgs),
    /// Show what serves, what doesn't, why, and what to do.
    Status(status::StatusArgs),
    /// Show which listener, route and rule takes a request, and why nothing else does.
    Explain(explain::ExplainArgs),
    /// Show live traffic per route.
    Top(top::TopArgs),
    /// Show objects of any kind.
    Get(get::GetArgs),
    /// List the kept revisions of a gateway's configuration.
    History(revisions::HistoryArgs),
    /// Show what differs between two revisions, or between one and now.
    Diff(revisions::DiffArgs),
    /// Serve an earlier revision, until `unpin`.
    Rollback(revisions::HoldArgs),
    /// Hold a gateway at a revision, until `unpin`.
    Pin(revisions::HoldArgs),
    /// Let a gateway follow its objects again.
    Unpin(revisions::GatewayArgs),
    /// Give a gateway the Envoy configuration that its template has now.
    Renew(renew::RenewArgs),
    /// Translate objects in files to Envoy configuration.
    Translate(translate::TranslateArgs),
    /// Check Envoy configuration as Envoy would.
    Validate(validate::ValidateArgs),
    /// Look at the static configuration, or at what a gateway's engines have.
    Config {
        /// What to do with it.
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// Print completions for a shell.
    Completions(shell::CompletionsArgs),
    /// Write man pages.
    Man(shell::ManArgs),
}

/// Verbs of `foregate config`.
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Print the configuration that `foregate up` would run with: defaults, then the file, then the flags.
    Print(UpArgs),
    /// Show what a gateway's engines are configured with, and how far each of them is.
    Dump(dump::DumpArgs),
}

/// Flags of `foregate up`. Each overrides the field of the same name in the file that `--config` names.
#[derive(Args, Clone, Debug, Default)]
pub struct UpArgs {
    /// Also start two demo backends, apply the example Gateway and routes, and print what to try.
    #[arg(long)]
    pub demo: bool,
    /// Those of every role.
    #[command(flatten)]
    pub role: RoleArgs,
    /// A directory of YAML files: what is in them is applied, and removed with them; may be given several times.
    #[arg(long = "watch", value_name = "DIR")]
    pub watch: Vec<PathBuf>,
    /// Where the API listens; port 0 picks one, and the kubeconfig names it [default: 127.0.0.1:7443].
    #[arg(long, value_name = "ADDR:PORT")]
    pub api_listen: Option<SocketAddr>,
    /// The pool that gateways get their addresses from, at the first start [default: 127.100.0.0/24].
    #[arg(long, value_name = "CIDR")]
    pub address_pool: Option<String>,
    /// What gateways run on, in the template that is made at the first start: `builtin`, or `envoy@VERSION`, an Envoy
    /// that `foregate engine add` adds [default: builtin].
    #[arg(long, value_name = "ENGINE")]
    pub engine: Option<String>,
    /// Added to every listener's port, for users who may not bind ports below 1024 [default: 0].
    #[arg(long, value_name = "N")]
    pub port_offset: Option<u16>,
    /// Those of its engines.
    #[command(flatten)]
    pub engines: EngineArgs,
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}
