//! Watches: one ordered, bounded log of events per resource.
//!
//! A watcher is a cursor into the log, not a queue: it takes what came after its revision when it is ready for it, so
//! a slow one costs writers nothing. When the log no longer reaches back to its cursor it gets 410 and lists anew.

mod log;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::store::Event;
pub use log::{Log, Reader};

/// All logs.
pub struct Hub {
    logs: RwLock<HashMap<Arc<str>, Arc<Log>>>,
    /// Every event up to this revision is in its log.
    published: AtomicU64,
    start: u64,
    limit: usize,
}

impl Hub {
    /// Logs that know nothing of what happened up to revision `start`.
    pub fn new(start: u64) -> Self {
        Self::with_limit(start, log::EVENTS)
    }

    /// The same, with at most `limit` events per resource.
    pub fn with_limit(start: u64, limit: usize) -> Self {
        Self { logs: RwLock::default(), published: AtomicU64::new(start), start, limit }
    }

    /// The log of a resource.
    pub fn log(&self, resource: &Arc<str>) -> Arc<Log> {
        if let Some(log) = self.logs.read().get(resource) {
            return log.clone();
        }
        let mut logs = self.logs.write();
        logs.entry(resource.clone()).or_insert_with(|| Arc::new(Log::new(self.start, self.limit))).clone()
    }

    /// Appends events, in the order of their revisions.
    pub fn publish(&self, events: &[Arc<Event>]) {
        let mut touched: Vec<Arc<Log>> = Vec::new();
        for event in events {
            let log = self.log(&event.object.key.resource);
            log.push(event.clone());
            if !touched.iter().any(|t| Arc::ptr_eq(t, &log)) {
                touched.push(log);
            }
        }
        if let Some(last) = events.last() {
            self.published.store(last.object.revision, Ordering::Release);
        }
        for log in touched {
            log.wake();
        }
    }

    /// The revision up to which every log is complete.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Drops events that are too old to be resumed from.
    pub fn trim(&self) {
        for log in self.logs.read().values() {
            log.trim();
        }
    }

    /// Events and bytes held now.
    pub fn size(&self) -> (usize, usize) {
        self.logs.read().values().map(|l| l.size()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    }
}
