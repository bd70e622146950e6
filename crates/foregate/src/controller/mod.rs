//! `foregate controller --source files`: a workload side without a cluster. What is in directories is what users write;
//! what follows goes to a platform elsewhere.
//!
//! The parts are those of `up`: an embedded API holds the objects (only this process reaches it), the file provider
//! fills it, and the controller decides on it as on any workload API. Its store is kept, since the UIDs in it are the
//! identity of everything on the platform.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, ValueEnum};
use foregate_apiserver::{Durability, Server, ServerOptions};
use foregate_controller::Settings;
use foregate_controller::files::Files;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;

use crate::cli::{LogFormat, UpArgs};
use crate::config::{Config, ConfigError};
use crate::up::parts::Parts;
use crate::up::{self, UpError, seed};

/// Flags of `foregate controller`.
#[derive(Args, Clone, Debug)]
pub struct ControllerArgs {
    /// Where what users write comes from.
    #[arg(long, value_enum, value_name = "SOURCE")]
    pub source: Source,
    /// A directory of YAML files that is followed; may be given several times.
    #[arg(long = "watch", value_name = "DIR", required = true)]
    pub watch: Vec<PathBuf>,
    /// Credentials of the platform, as `foregate platform` writes them to `admin.kubeconfig`.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub kubeconfig: PathBuf,
    /// Name of this workload cluster: distinct from all others of the platform, and the same after every restart.
    #[arg(long, value_name = "NAME", default_value = "files", value_parser = cluster_name)]
    pub cluster: String,
    /// Static configuration, YAML, as `foregate config print` shows it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where state is kept [default: `controller` in the XDG state directory; in /var/lib/foregate for root].
    #[arg(long, value_name = "DIR", env = "FOREGATE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Form of the log lines on stderr [default: text].
    #[arg(long, value_enum, value_name = "FORM")]
    pub log_format: Option<LogFormat>,
}

/// Where what users write comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// YAML files.
    Files,
}

/// It becomes a part of every derived object's name.
fn cluster_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let good = text.len() <= 63 && text.chars().all(fits) && edge(text.chars().next()) && edge(text.chars().last());
    if good && text != foregate_api::LOCAL_CLUSTER {
        Ok(text.to_owned())
    } else {
        Err("1 to 63 lower-case letters, digits and `-`, not at the ends; `local` is the platform itself".to_owned())
    }
}

impl ControllerArgs {
    /// Defaults, then the file, then the flags.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn config(&self) -> Result<Config, ConfigError> {
        let default = Config::default().data_dir.join("controller");
        let data_dir = self.data_dir.clone().or_else(|| self.config.is_none().then_some(default));
        let (config, log_format) = (self.config.clone(), self.log_format);
        Config::load(&UpArgs { config, data_dir, log_format, ..UpArgs::default() })
    }
}

/// Runs until Ctrl-C or SIGTERM.
///
/// # Errors
/// When a part can't start, or stops by itself.
pub fn run(args: &ControllerArgs, config: Config, started: Instant) -> Result<(), UpError> {
    up::runtime(&config)?.block_on(controller(args, &config, started))
}

async fn controller(args: &ControllerArgs, config: &Config, started: Instant) -> Result<(), UpError> {
    let shutdown = CancellationToken::new();
    // Nothing here carries traffic: there is nothing to drain.
    let mut parts = Parts::new(shutdown.clone(), shutdown.clone())?;
    let platform = platform_client(args).await?;
    let server = Server::open(ServerOptions::new(&config.data_dir))
        .map_err(|source| UpError::Open { dir: config.data_dir.clone(), source: Box::new(source) })?;
    // What files say must be there when the platform has what follows from it: the UIDs are its names.
    let (workload, statuses) = (server.client(), server.client_for(Durability::Derived));
    seed::kinds(&workload).await?;
    seed::class(&workload).await?;
    start_files(workload, &args.watch, &mut parts, &shutdown).await?;

    let settings = Settings { cluster: args.cluster.clone(), host_local_backends: false, ..Settings::local() };
    let derived = Arc::new(SetOnce::new());
    let run = foregate_controller::run(statuses, platform, settings, derived.clone(), shutdown.clone());
    parts.start("controller", run);
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

async fn platform_client(args: &ControllerArgs) -> Result<kube::Client, UpError> {
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| UpError::Platform { path: args.kubeconfig.clone(), source };
    let kubeconfig = Kubeconfig::read_from(&args.kubeconfig).map_err(|error| failed(error.into()))?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
    kube::Client::try_from(config.map_err(|error| failed(error.into()))?).map_err(|error| failed(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clusters_are_parts_of_names() {
        for good in ["files", "a", "edge-1", "2"] {
            assert_eq!(cluster_name(good).as_deref(), Ok(good));
        }
        for bad in ["", "local", "-a", "a-", "A", "a.b", "a_b", &"a".repeat(64)] {
            assert!(cluster_name(bad).is_err(), "{bad}");
        }
    }
}
