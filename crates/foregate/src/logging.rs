//! Log lines on stderr, for people or for machines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// Libraries whose log lines repeat what ours say.
const QUIET: &str = "notify=off,kube_client::client::builder=off,kube_runtime::watcher=off";

/// Installs the process's log subscriber. `RUST_LOG` overrides `filter`; colours only on a terminal.
pub fn install(format: LogFormat, filter: &str) {
    // What the configuration's filter says of them goes before.
    let quiet = |filter: &str| EnvFilter::new(format!("{QUIET},{filter}"));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| quiet(filter));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
}
