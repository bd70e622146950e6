//! What streams report.

use std::sync::Arc;

use foregate_envoy::{Owner, ResourceId};

/// One gateway on one node: whom a stream belongs to. It comes from the socket or certificate, never from the node id
/// that a client sends.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instance {
    /// The gateway: `<namespace>/<proxy name>`.
    pub group: Arc<str>,
    /// The gateway node.
    pub node: Arc<str>,
}

/// Something that a stream reports.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The instance's first engine is there. A stream that only takes what it names (a gRPC client's) is no engine.
    Connected(Instance),
    /// The instance's last engine is gone.
    Disconnected(Instance),
    /// All changes up to a sequence that concern this instance are acknowledged or refused.
    Progress {
        /// Who.
        instance: Instance,
        /// The sequence that [`Cache::apply`](crate::Cache::apply) gave. It grows within a stream, and starts again
        /// from what the client has when it reconnects.
        applied: u64,
    },
    /// The client refused a resource, sent alone: this is a culprit.
    Nacked {
        /// Who.
        instance: Instance,
        /// What it refused.
        id: ResourceId,
        /// In this version.
        version: Arc<str>,
        /// Whose it is.
        owners: Arc<[Owner]>,
        /// What the client said.
        message: String,
    },
    /// The client has taken, at a later try, what it had refused before: a listener whose port was in use, say. Or it is
    /// gone, and the instance has another engine that hasn't refused it.
    Recovered {
        /// Who.
        instance: Instance,
        /// What it has taken.
        id: ResourceId,
        /// In this version.
        version: Arc<str>,
    },
}

impl Event {
    /// Whom it is about.
    pub fn instance(&self) -> &Instance {
        match self {
            Self::Connected(instance) | Self::Disconnected(instance) => instance,
            Self::Progress { instance, .. } | Self::Nacked { instance, .. } | Self::Recovered { instance, .. } => {
                instance
            }
        }
    }
}
