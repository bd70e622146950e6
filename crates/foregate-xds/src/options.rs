//! What an operator can set.

use std::time::Duration;

/// Times and bounds of a [`Cache`](crate::Cache) and of all streams that it serves.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a cluster that nothing names any more stays before its removal is sent. Default 30 s.
    pub drain: Duration,
    /// How long a resource waits for what it names, at most; then it is sent anyway. Default 10 s.
    pub need_timeout: Duration,
    /// When a delta response has this many bytes of resources, the rest goes into the next one. Default 1 MiB.
    pub max_response_bytes: usize,
    /// The largest request that is accepted, in bytes. Default 16 MiB: a reconnecting client lists all that it has.
    pub max_request_bytes: usize,
    /// Whether streams are served from the start. A replica whose watches haven't caught up says no, and calls
    /// [`Cache::start`](crate::Cache::start) when they have: it would remove what it doesn't know yet. Default true.
    pub started: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            drain: Duration::from_secs(30),
            need_timeout: Duration::from_secs(10),
            max_response_bytes: 1 << 20,
            max_request_bytes: 16 << 20,
            started: true,
        }
    }
}
