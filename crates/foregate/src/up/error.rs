//! What can keep `foregate up` from starting, or end it.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why `foregate up` failed. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// The store can't be opened.
    #[error("cannot open the data directory {dir}", dir = dir.display())]
    Open {
        /// The data directory.
        dir: PathBuf,
        /// Why.
        source: Box<foregate_apiserver::OpenError>,
    },
    /// An address can't be bound.
    #[error("cannot bind {what} to {address}; {hint}")]
    Bind {
        /// For what.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// What to do.
        hint: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A file can't be written.
    #[error("cannot write {path}", path = path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An object that a platform starts with is refused.
    #[error("cannot write {what}")]
    Seed {
        /// Which.
        what: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A manifest of ours can't be read.
    #[error("{file}: {message}")]
    Manifest {
        /// Which.
        file: &'static str,
        /// What is wrong.
        message: String,
    },
    /// The engine can't start, or refuses an instance.
    #[error("the engine failed")]
    Engine {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The operating system refuses something basic.
    #[error("cannot start")]
    Runtime {
        /// Why.
        source: std::io::Error,
    },
    /// A part ended by itself.
    #[error("the {part} stopped by itself")]
    Part {
        /// Which.
        part: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The credentials of a pod can't be found.
    #[error("this doesn't run in a pod with a ServiceAccount: name the cluster's credentials with --kubeconfig FILE")]
    Cluster {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file's credentials can't be used.
    #[error("cannot use {path}: name a kubeconfig; a platform's is admin.kubeconfig in its data directory", path = path.display())]
    Platform {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The example doesn't serve.
    #[error("the demo doesn't serve after {seconds} s; `kubectl --kubeconfig {kubeconfig} describe gateway,httproute` says why", kubeconfig = kubeconfig.display())]
    DemoSilent {
        /// How long was waited.
        seconds: u64,
        /// Whom to ask.
        kubeconfig: PathBuf,
    },
}
