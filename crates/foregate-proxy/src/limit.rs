//! A bound on clients' connections of a whole engine: who comes when it is reached is closed at once, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::Registry;
use crate::metrics::counter::Counter;

/// Files that the engine needs besides connections.
const OTHER_FILES: u64 = 256;

/// Connections that are open, and how many may be.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    max: u64,
    open: AtomicU64,
    /// Those of them that are sessions of datagrams.
    sessions: AtomicU64,
    /// Connections that were closed at once.
    pub(crate) shed: Counter,
}

impl Default for ConnectionLimit {
    fn default() -> Self {
        Self { max: u64::MAX, open: AtomicU64::new(0), sessions: AtomicU64::new(0), shed: Counter::default() }
    }
}

impl ConnectionLimit {
    /// At most so many; 0: as many as open files allow, as each may need another one to an endpoint.
    pub(crate) fn new(max: usize) -> Self {
        let max = match max as u64 {
            0 => {
                let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
                files.map_or(u64::MAX, |files| (files.saturating_sub(OTHER_FILES) / 2).max(64))
            }
            max => max,
        };
        Self { max, ..Self::default() }
    }
}

/// One connection's place.
pub(crate) struct Permit(Arc<Registry>);

impl Permit {
    /// A place, if there is one.
    pub(crate) fn take(registry: &Arc<Registry>) -> Option<Self> {
        let limit = &registry.limit;
        // Several workers may look at once: whoever finds itself beyond the limit steps back.
        let before = limit.open.fetch_add(1, Ordering::Relaxed);
        let permit = Self(Arc::clone(registry));
        if before < limit.max {
            return Some(permit);
        }
        limit.shed.add_shared(1);
        None
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.limit.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The place of a session of datagrams. They get half of all places at most: whoever likes can begin some in anybody's
/// name, and must not be able to lock connections out.
pub(crate) struct SessionPermit(Permit);

impl SessionPermit {
    /// A place, if there is one.
    pub(crate) fn take(registry: &Arc<Registry>) -> Option<Self> {
        let place = Permit::take(registry)?;
        let before = registry.limit.sessions.fetch_add(1, Ordering::Relaxed);
        let permit = Self(place);
        if before < registry.limit.max / 2 {
            return Some(permit);
        }
        registry.limit.shed.add_shared(1);
        None
    }
}

impl Drop for SessionPermit {
    fn drop(&mut self) {
        self.0.0.limit.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let registry = Arc::new(Registry::limited(ConnectionLimit::new(2)));
        let one = Permit::take(&registry);
        let two = Permit::take(&registry);
        assert!(one.is_some() && two.is_some());
        assert!(Permit::take(&registry).is_none() && Permit::take(&registry).is_none());
        drop(one);
        assert!(Permit::take(&registry).is_some());
        assert_eq!(registry.limit.shed.get(), 2);
        let free = Arc::new(Registry::limited(ConnectionLimit::new(4)));
        let sessions = [SessionPermit::take(&free), SessionPermit::take(&free)];
        assert!(sessions.iter().all(Option::is_some));
        assert!(SessionPermit::take(&free).is_none(), "half is left to connections");
        let connections = [Permit::take(&free), Permit::take(&free)];
        assert!(connections.iter().all(Option::is_some));
        drop(sessions);
        assert!(SessionPermit::take(&free).is_some());
        assert!(ConnectionLimit::new(0).max >= 64);
    }
}
