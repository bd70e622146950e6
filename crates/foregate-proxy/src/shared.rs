//! What the control thread and the workers share of an instance.

use std::sync::Arc;
use std::time::Duration;

use crate::metrics::ControlStats;
use crate::snapshot::Published;

/// One instance, as both sides see it.
pub(crate) struct InstanceShared {
    /// Names it in commands.
    pub(crate) key: u64,
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its configuration.
    pub(crate) published: Published,
    /// For connections of what goes away.
    pub(crate) drain: Duration,
    /// Its control side's numbers.
    pub(crate) stats: Arc<ControlStats>,
}
