//! What can keep a node, or its making, from going on.

use std::path::PathBuf;

use super::credential::CredentialError;
use crate::up::UpError;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why `foregate node` failed. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The credential.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// A part of the process.
    #[error(transparent)]
    Up(#[from] UpError),
    /// The relay can't start.
    #[error("the relay can't start")]
    Relay {
        /// Why.
        source: Source,
    },
    /// `foregate node` needs one.
    #[error("name the node's credential with --credential FILE; `foregate node add NAME` on the platform makes one")]
    NoCredential,
    /// The administrator's credentials can't be used.
    #[error("cannot use {path}: run this where the platform runs, with its --data-dir", path = path.display())]
    Administrator {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Source,
    },
    /// The platform doesn't say where it is.
    #[error("the platform doesn't say where nodes reach it: is it `foregate platform`? Otherwise give {flag}")]
    NoAddress {
        /// What to give.
        flag: &'static str,
    },
    /// No key can be made.
    #[error("no credential could be made; see the platform's log")]
    Make {
        /// Why.
        source: Source,
    },
    /// There is no such node.
    #[error("there is no node {name}; `foregate node add {name}` adds it, `foregate get gatewaynodes` shows all")]
    Missing {
        /// Which.
        name: String,
    },
    /// There is such a node.
    #[error("the node {name} is there already; `foregate node renew {name}` gives it another credential")]
    Exists {
        /// Which.
        name: String,
    },
    /// The API refuses.
    #[error("the platform's API refuses {what}")]
    Api {
        /// What.
        what: String,
        /// Why.
        source: Source,
    },
    /// The API doesn't answer.
    #[error("the platform's API doesn't answer; does `foregate platform` run?")]
    Away {
        /// Why.
        source: Source,
    },
    /// A flag's value makes no sense.
    #[error("{flag} {value:?} isn't what a node can connect to: write it like {example}")]
    Address {
        /// Which flag.
        flag: &'static str,
        /// What it says.
        value: String,
        /// How it is written.
        example: &'static str,
    },
    /// The credential can't be written.
    #[error("cannot write the credential {path}", path = path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl NodeError {
    /// The API refuses something.
    pub fn api(what: &str, source: kube::Error) -> Self {
        match source {
            // The rest of the status says the same again.
            kube::Error::Api(status) => Self::Api { what: what.to_owned(), source: status.message.into() },
            source => Self::Away { source: Box::new(source) },
        }
    }
}
