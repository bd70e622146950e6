//! Connections and datagrams, and the routes that want them.

use std::sync::Arc;

use super::{Placed, Sorted};
use crate::Key;

/// The datagrams or connections of a port, or those of a port with one server name.
#[derive(Debug)]
pub(crate) struct Forwarding {
    /// Name of the port's listener.
    pub listener: Arc<str>,
    /// The host name of the user's listener, which has the filter chain.
    pub chain: Arc<str>,
    /// The server name; `*` for any.
    pub hostname: Arc<str>,
    /// Routes that want it.
    pub placed: Sorted<Key, Placed>,
}

impl Forwarding {
    /// The route that gets it: connections can't be told apart any more, so that it is one only. The most specific
    /// host name of its own, then the oldest.
    pub(crate) fn winner(&self) -> Option<&Placed> {
        self.placed.values().min_by(|a, b| (a.rank, &a.entry.seniority).cmp(&(b.rank, &b.entry.seniority)))
    }
}
