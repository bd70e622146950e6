//! `foregate controller`: the workload side alone. What users write comes from a Kubernetes cluster ([`kubernetes`]) or
//! from directories ([`files`]); what follows goes to a platform elsewhere.

mod files;
mod health;
pub mod install;
mod kubernetes;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Subcommand, ValueEnum};
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::cli::flags::RoleArgs;
use crate::cli::{LogFormat, UpArgs, names};
use crate::config::{Config, ConfigError};
use crate::up::{self, UpError};

pub use files::start_files;

/// Flags of `foregate controller`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ControllerArgs {
    /// What to do instead of running a controller.
    #[command(subcommand)]
    pub verb: Option<ControllerVerb>,
    /// Where what users write comes from.
    #[arg(long, value_enum, value_name = "SOURCE", required = true)]
    pub source: Option<Source>,
    /// A directory of YAML files that is followed, with `--source files`; may be given several times.
    #[arg(long = "watch", value_name = "DIR", required_if_eq("source", "files"))]
    pub watch: Vec<PathBuf>,
    /// With `--source kubernetes`, credentials of the cluster [default: those of the pod that this runs in]. With
    /// `--source files`, those of the platform.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG", required_if_eq("source", "files"))]
    pub kubeconfig: Option<PathBuf>,
    /// Credentials of the platform that serves GatewayClasses without a `parametersRef`, as `foregate platform` writes
    /// them to `admin.kubeconfig`; with `--source kubernetes`.
    #[arg(long, value_name = "FILE")]
    pub platform_kubeconfig: Option<PathBuf>,
    /// Name of this workload cluster on that platform: distinct from all others there, and the same after every
    /// restart [default: the source's name].
    #[arg(long, value_name = "NAME", value_parser = cluster_name)]
    pub cluster: Option<String>,
    /// A `controllerName` of the GatewayClasses that are served; may be given several times, so that classes written for
    /// other controllers can be taken over. With `--source kubernetes`.
    #[arg(long = "controller-name", value_name = "NAME", default_value = foregate_api::CONTROLLER_NAME, value_parser = names::controller)]
    pub controller_names: Vec<String>,
    /// Whether to write only while this replica holds the Lease `foregate-controller`; with `--source kubernetes`.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,
    /// The Lease's namespace [default: the one that this runs in; outside of a cluster, foregate-system].
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Where `/livez`, `/readyz` and `/metrics` are served [default: nowhere]; with `--source kubernetes`.
    #[arg(long, value_name = "ADDR:PORT")]
    pub health_listen: Option<SocketAddr>,
    /// Static configuration, YAML, as `foregate config print` shows it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where state is kept, with `--source files` [default: `controller` in the XDG state directory; in
    /// /var/lib/foregate for root].
    #[arg(long, value_name = "DIR", env = "FOREGATE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Form of the log lines on stderr [default: text].
    #[arg(long, value_enum, value_name = "FORM")]
    pub log_format: Option<LogFormat>,
}

/// Verbs of `foregate controller`.
#[derive(Clone, Debug, Subcommand)]
pub enum ControllerVerb {
    /// Install the controller in a Kubernetes cluster, or print what that takes.
    Install(install::InstallArgs),
}

/// Where what users write comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// YAML files.
    Files,
    /// The API of a Kubernetes cluster.
    Kubernetes,
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
    /// As [`Config::load`]; and when a flag isn't one of the source's.
    pub fn config(&self) -> Result<Config, ConfigError> {
        if self.source == Some(Source::Kubernetes) && !self.watch.is_empty() {
            let message = "directories are followed with `--source files` only; a cluster's objects come from its API \
                           alone"
                .to_owned();
            return Err(ConfigError::Invalid { field: "--watch", message });
        }
        let default = Config::default().data_dir.join("controller");
        let data_dir = self.data_dir.clone().or_else(|| self.config.is_none().then_some(default));
        let (config, log_format) = (self.config.clone(), self.log_format);
        Config::load(&UpArgs { role: RoleArgs { config, data_dir, log_format }, ..UpArgs::default() })
    }

    /// Name of this workload cluster.
    fn cluster(&self) -> String {
        let default = match self.source {
            Some(Source::Files) | None => "files",
            Some(Source::Kubernetes) => "kubernetes",
        };
        self.cluster.clone().unwrap_or_else(|| default.to_owned())
    }
}

/// Runs until Ctrl-C or SIGTERM.
///
/// # Errors
/// When a part can't start, or stops by itself.
pub fn run(args: &ControllerArgs, config: Config, started: Instant) -> Result<(), UpError> {
    let runtime = up::small_runtime(&config)?;
    match args.source {
        Some(Source::Files) | None => runtime.block_on(files::run(args, &config, started)),
        Some(Source::Kubernetes) => runtime.block_on(kubernetes::run(args, started)),
    }
}

/// A client with the credentials of a file.
async fn client(path: &Path) -> Result<kube::Client, UpError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| UpError::Platform { path: path.to_owned(), source };
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| failed(error.into()))?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
    kube::Client::try_from(config.map_err(|error| failed(error.into()))?).map_err(|error| failed(error.into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use clap::FromArgMatches as _;

    use super::*;

    /// What a command line leads to.
    fn config(flags: &[&str]) -> Result<(), String> {
        let command = ControllerArgs::augment_args(clap::Command::new("controller"));
        let matches = command.try_get_matches_from([&["controller"], flags].concat());
        let args = ControllerArgs::from_arg_matches(&matches.map_err(|error| error.to_string())?).unwrap();
        args.config().map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_that_mean_nothing_are_refused() {
        assert_eq!(config(&["--source", "kubernetes"]), Ok(()));
        let files = ["--source", "files", "--watch", "d", "--kubeconfig", "k"];
        assert_eq!(config(&files), Ok(()));
        for (flags, contains) in [
            (["--watch", "d"], "--watch: directories are followed with `--source files` only"),
            (["--controller-name", "bad"], "write a domain and a path"),
        ] {
            let why = config(&[&["--source", "kubernetes"], &flags[..]].concat()).unwrap_err();
            assert!(why.contains(contains), "{why}");
        }
    }

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
