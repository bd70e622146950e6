//! Static configuration: what can't be an object behind the API, because it is needed to start it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use foregate_api::EngineName;
use serde::{Deserialize, Serialize};

use crate::cli::{LogFormat, UpArgs};

/// The static configuration of `foregate up`. Every field has a default; unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Where state is kept.
    pub data_dir: PathBuf,
    /// Directories of YAML files whose objects are applied.
    pub watch: Vec<PathBuf>,
    /// Where the API listens.
    pub api_listen: SocketAddr,
    /// Where `foregate platform` serves nodes.
    pub xds_listen: SocketAddr,
    /// Names and addresses by which clients and nodes reach this machine, beside its own: they are put into its
    /// certificates.
    pub names: Vec<String>,
    /// The pool that is made at the first start.
    pub address_pool: String,
    /// What gateways run on, in the template that is made at the first start: `builtin`, or `envoy@VERSION`.
    pub engine: String,
    /// Whether workload clusters may name endpoints that gateways' hosts have for themselves (loopback, link-local, Unix
    /// sockets). Who can write to such a cluster reaches all that listens there: only for a cluster on this machine
    /// whose users may.
    pub host_local_endpoints: bool,
    /// Added to every listener's port, 0 to 64511.
    pub port_offset: u16,
    /// Worker threads of the engine; 0: one per core.
    pub workers: usize,
    /// Seconds that requests in flight get when a listener or the process stops, 0 to 3600.
    pub drain_seconds: u64,
    /// `off`, `stdout` or a file.
    pub access_log: String,
    /// Where the engine's Prometheus metrics are served; null: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Form of the log lines.
    pub log_format: LogFormat,
    /// What is logged, in the syntax of `RUST_LOG`, which overrides it.
    pub log_filter: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: default_data_dir(),
            watch: Vec::new(),
            api_listen: SocketAddr::from(([127, 0, 0, 1], 7443)),
            xds_listen: SocketAddr::from(([127, 0, 0, 1], 7444)),
            names: Vec::new(),
            address_pool: "127.100.0.0/24".to_owned(),
            engine: EngineName::Builtin.to_string(),
            host_local_endpoints: false,
            port_offset: 0,
            workers: 0,
            drain_seconds: 10,
            access_log: "off".to_owned(),
            metrics_listen: None,
            log_format: LogFormat::Text,
            log_filter: "info".to_owned(),
        }
    }
}

/// Why a configuration can't be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file's content isn't a configuration.
    #[error("{path}: {message}\n`foregate config print` shows every field with its default")]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
    /// A value is out of range.
    #[error("{field}: {message}")]
    Invalid {
        /// Which field, as the file spells it.
        field: &'static str,
        /// What is wrong, and what would be right.
        message: String,
    },
}

impl Config {
    /// Defaults, then the file, then the flags.
    ///
    /// # Errors
    /// When the file can't be read or parsed, or a value is out of range.
    pub fn load(args: &UpArgs) -> Result<Self, ConfigError> {
        let mut config = match &args.role.config {
            Some(path) => Self::from_file(path)?,
            None => Self::default(),
        };
        config.override_with(args);
        config.check()?;
        Ok(config)
    }

    fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(&text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            message: in_our_words(&error.to_string(), path),
        })
    }

    fn override_with(&mut self, args: &UpArgs) {
        fn set<T: Clone>(field: &mut T, flag: Option<&T>) {
            if let Some(value) = flag {
                field.clone_from(value);
            }
        }
        set(&mut self.data_dir, args.role.data_dir.as_ref());
        if !args.watch.is_empty() {
            self.watch.clone_from(&args.watch);
        }
        set(&mut self.api_listen, args.api_listen.as_ref());
        set(&mut self.address_pool, args.address_pool.as_ref());
        set(&mut self.engine, args.engine.as_ref());
        set(&mut self.port_offset, args.port_offset.as_ref());
        set(&mut self.workers, args.engines.workers.as_ref());
        set(&mut self.access_log, args.engines.access_log.as_ref());
        if args.engines.metrics_listen.is_some() {
            self.metrics_listen = args.engines.metrics_listen;
        }
        set(&mut self.log_format, args.role.log_format.as_ref());
    }

    fn check(&self) -> Result<(), ConfigError> {
        let invalid = |field, message: String| Err(ConfigError::Invalid { field, message });
        let ranges = self.address_pool.parse::<ipnet::IpNet>();
        if ranges.is_err() {
            return invalid(
                "addressPool",
                format!("`{}` is not a CIDR; write it like 127.100.0.0/24", self.address_pool),
            );
        }
        if let Err(error) = self.engine.parse::<EngineName>() {
            return invalid("engine", error.to_string());
        }
        if self.port_offset > 64511 {
            return invalid("portOffset", format!("{} is too large; at most 64511", self.port_offset));
        }
        if self.workers > 1024 {
            return invalid("workers", format!("{} is too many; at most 1024", self.workers));
        }
        if self.drain_seconds > 3600 {
            return invalid("drainSeconds", format!("{} is too long; at most 3600", self.drain_seconds));
        }
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.log_filter) {
            return invalid("logFilter", format!("`{}`: {error}; write it like info,foregate=debug", self.log_filter));
        }
        if self.access_log.is_empty() {
            return invalid("accessLog", "is empty; write `off`, `stdout` or a file's path".to_owned());
        }
        Ok(())
    }

    /// How long requests in flight get.
    pub const fn drain(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.drain_seconds)
    }

    /// Worker threads of the engine, 1 at least.
    pub fn worker_count(&self) -> usize {
        if self.workers > 0 {
            return self.workers;
        }
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    }
}

/// The parser's message, without advice that is meant for its callers.
fn in_our_words(message: &str, path: &Path) -> String {
    const WORDS: [(&str, &str); 5] = [
        (", set DuplicateKeyPolicy in Options if acceptable", "; write it once"),
        ("; use from_str_multiple or from_str_multiple_with_options", "; write one"),
        ("invalid u16", "not a whole number from 0 to 65535"),
        ("invalid usize", "not a whole number, or too large"),
        ("invalid socket address syntax", "not ADDR:PORT, such as 127.0.0.1:7443"),
    ];
    let message = message.strip_prefix("error: ").unwrap_or(message).replace("<input>", &path.display().to_string());
    WORDS.iter().fold(message, |message, (theirs, ours)| message.replace(theirs, ours))
}

/// The XDG state directory, or `/var/lib/foregate` for root.
pub fn default_data_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/foregate");
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    state.or_else(home).unwrap_or_else(std::env::temp_dir).join("foregate")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::cli::flags::RoleArgs;

    fn load(text: &str, args: UpArgs) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        std::fs::write(&path, text).unwrap();
        let role = RoleArgs { config: Some(path), ..args.role };
        Config::load(&UpArgs { role, ..args })
    }

    #[test]
    fn flags_override_the_file_which_overrides_defaults() {
        let args = UpArgs { port_offset: Some(2000), ..UpArgs::default() };
        let config = load("portOffset: 1000\nworkers: 3\n", args).unwrap();
        assert_eq!((config.port_offset, config.workers, config.drain_seconds), (2000, 3, 10));
    }

    #[test]
    fn what_is_printed_can_be_read_back() {
        let text = serde_saphyr::to_string(&Config::default()).unwrap();
        assert_eq!(load(&text, UpArgs::default()).unwrap(), Config::default());
    }

    #[test]
    fn bad_input_is_refused_with_field_and_remedy() {
        for (text, expected) in [
            ("prtOffset: 1\n", "prtOffset"),
            ("portOffset: many\n", "line 1"),
            ("portOffset: 65000\n", "at most 64511"),
            ("addressPool: 10.0.0.0\n", "127.100.0.0/24"),
            ("drainSeconds: 99999\n", "drainSeconds"),
            ("engine: nginx\n", "`envoy@VERSION`"),
            ("logFilter: foo=bar=baz\n", "logFilter"),
            ("apiListen: localhost\n", "such as 127.0.0.1:7443"),
            ("workers: 1\nworkers: 2\n", "write it once"),
            ("workers: 1\n---\nworkers: 2\n", "write one"),
            ("portOffset: many\n", "0 to 65535"),
        ] {
            let error = load(text, UpArgs::default()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?} gave {error:?}");
        }
    }
}
