//! The platform side: claims to gateways, addresses, configuration, revisions, conditions.
//!
//! [`run`] is the platform. It watches what controllers write (claims, routes, backends, endpoints, secrets)
//! and what operators write (templates, pools), and
//!
//! - makes a GatewayProxy, its Addresses and its GatewayInstances for claims, and removes them with the last claim,
//! - translates and publishes every change to the xDS [`Cache`] at once,
//! - hears from the engines what they have applied and refused, and says so in the statuses,
//! - writes down each step as a ConfigRevision, and holds a gateway at an old one when it is told to.
//!
//! [`revisions`] is for whoever wants to look at ConfigRevisions: pure, and without the rest.
//!
//! # Inside
//! One task owns all state (`pipeline`): it takes what has happened, draws the consequences in pure code, publishes,
//! and hands writes to short-lived tasks (`write`), at most one per object (`outbox`). It reads the watches (`watch`)
//! itself; engines' events come in by a channel. Nothing polls, and no lock is held anywhere. Decisions that can be
//! looked at alone are pure code in files of their own: `bind`, `certificate`, `merge`, `pool`, `presence`, `revisions`, `search`, `status`.
//! A second task (`keeper`) writes revisions after the fact, and finds out what a pinned one was.
//!
//! # Restart
//! State is in the API only. Nothing is published or removed before the first list of every kind is here; then
//! everything is derived again, and what is right already isn't written again.

mod bind;
mod certificate;
mod conditions;
mod keeper;
mod merge;
mod outbox;
mod pipeline;
mod pool;
mod presence;
pub mod revisions;
mod run;
mod search;
mod status;
mod store;
#[cfg(test)]
mod testing;
mod watch;
mod write;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::SetOnce;

pub use bind::{instance_name, precedence, proxy_of};
pub use keeper::{BodyOf, TextOf};
pub use pool::{Pool, RangeError};
pub use run::{Clients, run};

/// What an operator can set.
#[derive(Clone, Debug)]
pub struct PlatformOptions {
    /// Gateway nodes, by name; empty: those that there are GatewayNode objects of. A gateway runs on as many of them as
    /// its template wants replicas.
    pub nodes: Vec<String>,
    /// The only namespace (tenant) to look after; none: all.
    pub namespace: Option<String>,
    /// Added to the port of every listener where ports below 1024 may not be bound.
    pub port_offset: u16,
    /// Whether the API server can send first lists as watch events (WatchList, KEP-3157).
    pub streaming_lists: bool,
    /// How long instances may take to come back after a start before they count as lost.
    pub settle: Duration,
    /// How long an instance may take to reconnect before it counts as lost.
    pub reconnect_grace: Duration,
    /// How often everything is looked at again, as a safety net.
    pub resync: Duration,
    /// Renders an encoded resource for a ConfigRevision; none: revisions hold versions only.
    pub revision_text: Option<TextOf>,
    /// Makes such a text an encoded resource again, byte for byte; none: no gateway can be held at an old revision.
    pub revision_body: Option<BodyOf>,
    /// Set once all that was there when the platform started serves: gateways, addresses and instances that were
    /// missing are made, everything is published, and each instance has connected and applied it. What can't be served
    /// doesn't hold it up. An instance on a node that is away does.
    pub serving: Arc<SetOnce<()>>,
}

impl Default for PlatformOptions {
    fn default() -> Self {
        Self {
            nodes: vec!["local".to_owned()],
            namespace: None,
            port_offset: 0,
            streaming_lists: false,
            settle: Duration::from_secs(10),
            reconnect_grace: Duration::from_secs(2),
            resync: Duration::from_secs(600),
            revision_text: None,
            revision_body: None,
            serving: Arc::default(),
        }
    }
}

/// Why the platform can't go on.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// The xDS server's events have ended before the shutdown.
    #[error("the xDS server has gone: its events have ended")]
    EventsEnded,
    /// Every watch has ended before the shutdown.
    #[error("the watches of the API have ended")]
    WatchesEnded,
}
