//! Flags that several roles have.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::LogFormat;

/// Of every role that runs on a data directory.
#[derive(Args, Clone, Debug, Default)]
pub struct RoleArgs {
    /// Static configuration, YAML, as `foregate config print` shows it. Every field has a default; unknown fields are
    /// refused.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where state is kept [default: the XDG state directory; /var/lib/foregate for root].
    #[arg(long, value_name = "DIR", env = "FOREGATE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Form of the log lines on stderr [default: text].
    #[arg(long, value_enum, value_name = "FORM")]
    pub log_format: Option<LogFormat>,
}

/// Of roles that run engines.
#[derive(Args, Clone, Debug, Default)]
pub struct EngineArgs {
    /// Worker threads of the engine [default: one per core].
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Where the engine's access log goes: `off`, `stdout` or a file [default: off].
    #[arg(long, value_name = "off|stdout|FILE")]
    pub access_log: Option<String>,
    /// Where the engines' Prometheus metrics are served, as `/metrics` [default: nowhere].
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics_listen: Option<SocketAddr>,
}
