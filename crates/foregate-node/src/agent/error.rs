//! What can keep an agent from working.

use std::path::PathBuf;

/// Why an agent can't start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// There is no place for its sockets.
    #[error("cannot use {path} for sockets", path = path.display())]
    Sockets {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The watch of the GatewayInstances ended.
    #[error("the watch of the GatewayInstances ended")]
    WatchEnded,
}
