//! The log of one resource.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::store::Event;

/// Events kept per resource at most.
pub(super) const EVENTS: usize = 10_000;
/// Bytes kept per resource at most; the largest object must fit twice.
const BYTES: usize = 4 << 20;
/// Bytes kept of what every watcher has and isn't fresh: enough for one whose connection broke.
const SPARE: usize = 512 << 10;
/// What is younger is kept in any case: somebody may be about to watch from the list that he has just read.
const FRESH: Duration = Duration::from_secs(5);
/// What an event takes besides its object's JSON, about: labels and owners, before and after.
const OVERHEAD: usize = 1 << 10;
/// Events older than this are dropped: a client that was away longer lists anew. As long as in Kubernetes.
const AGE: Duration = Duration::from_secs(75);

/// The log no longer reaches back to the revision asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub struct Gone {
    /// The revision asked for.
    pub asked: u64,
    /// The oldest that can be resumed from.
    pub oldest: u64,
}

struct State {
    events: VecDeque<(Instant, Arc<Event>)>,
    bytes: usize,
    /// Events up to this revision are not here any more.
    floor: u64,
    /// How far each watcher is.
    readers: Vec<Weak<AtomicU64>>,
}

/// How far a watcher is: what comes after isn't dropped before it must be.
pub struct Reader(Arc<AtomicU64>);

impl Reader {
    /// Everything up to `revision` was taken.
    pub fn reached(&self, revision: u64) {
        self.0.store(revision, Ordering::Relaxed);
    }
}

/// Events of one resource in the order of their revisions.
pub struct Log {
    state: RwLock<State>,
    bell: watch::Sender<u64>,
    limit: usize,
}

impl Log {
    /// A log that starts after revision `floor` and keeps at most `limit` events.
    pub fn new(floor: u64, limit: usize) -> Self {
        let state = State { events: VecDeque::new(), bytes: 0, floor, readers: Vec::new() };
        Self { state: RwLock::new(state), bell: watch::Sender::new(floor), limit }
    }

    pub(super) fn push(&self, event: Arc<Event>) {
        let now = Instant::now();
        let mut state = self.state.write();
        state.bytes += size(&event);
        state.events.push_back((now, event));
        while state.events.len() > self.limit || state.bytes > BYTES {
            state.drop_first();
        }
        state.drop_taken(now);
    }

    /// A watcher that has everything up to `revision`.
    pub fn reader(&self, revision: u64) -> Reader {
        let at = Arc::new(AtomicU64::new(revision));
        let mut state = self.state.write();
        state.readers.retain(|reader| reader.strong_count() > 0);
        state.readers.push(Arc::downgrade(&at));
        Reader(at)
    }

    /// Makes watchers look.
    pub fn wake(&self) {
        let last = {
            let state = self.state.read();
            state.events.back().map_or(state.floor, |(_, e)| e.object.revision)
        };
        self.bell.send_replace(last);
    }

    pub(super) fn trim(&self) {
        let mut state = self.state.write();
        while state.events.front().is_some_and(|(at, _)| at.elapsed() > AGE) {
            state.drop_first();
        }
        state.drop_taken(Instant::now());
        if state.events.capacity() > 4 * state.events.len().max(16) {
            state.events.shrink_to_fit();
        }
    }

    pub(super) fn size(&self) -> (usize, usize) {
        let state = self.state.read();
        (state.events.len(), state.bytes)
    }

    /// Up to `limit` events after `revision`.
    ///
    /// # Errors
    /// [`Gone`] when some of them were dropped already.
    pub fn after(&self, revision: u64, limit: usize) -> Result<Vec<Arc<Event>>, Gone> {
        let state = self.state.read();
        if revision < state.floor {
            return Err(Gone { asked: revision, oldest: state.floor });
        }
        let first = state.events.partition_point(|(_, e)| e.object.revision <= revision);
        Ok(state.events.range(first..).take(limit).map(|(_, e)| e.clone()).collect())
    }

    /// Rings after events were appended.
    pub fn bell(&self) -> watch::Receiver<u64> {
        self.bell.subscribe()
    }
}

fn size(event: &Event) -> usize {
    event.object.bytes.len() + OVERHEAD
}

impl State {
    /// Drops what every watcher has and isn't fresh, but for what is spare.
    fn drop_taken(&mut self, now: Instant) {
        let is_stale = |at: Instant| now.saturating_duration_since(at) > FRESH;
        if self.bytes <= SPARE || !self.events.front().is_some_and(|(at, _)| is_stale(*at)) {
            return;
        }
        let readers = self.readers.iter().filter_map(Weak::upgrade).map(|at| at.load(Ordering::Relaxed));
        let taken = readers.min().unwrap_or(u64::MAX);
        // Some more than needed, so that this is seldom done.
        while self.bytes > SPARE / 2
            && self.events.front().is_some_and(|(at, it)| is_stale(*at) && it.object.revision <= taken)
        {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some((_, event)) = self.events.pop_front() {
            self.bytes -= size(&event);
            self.floor = event.object.revision;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use bytes::Bytes;

    use super::*;
    use crate::store::{EventKind, Key, Meta, Object};

    fn push(log: &Log, revision: u64, age: Duration) {
        let object =
            Object { key: Key::new(&"a/b".into(), "", "c"), revision, bytes: Bytes::from(vec![b' '; 64 << 10]) };
        let event = Event { kind: EventKind::Modified, object, meta: Arc::new(Meta::default()), old: None };
        log.push(Arc::new(event));
        let mut state = log.state.write();
        if let Some((at, _)) = state.events.back_mut() {
            *at = at.checked_sub(age).unwrap_or(*at);
        }
    }

    fn first(log: &Log) -> u64 {
        log.state.read().events.front().unwrap().1.object.revision
    }

    #[test]
    fn what_a_watcher_lacks_is_kept_and_what_all_have_is_dropped() {
        let log = Log::new(0, EVENTS);
        let (slow, quick) = (log.reader(10), log.reader(0));
        quick.reached(30);
        for revision in 1..=30 {
            push(&log, revision, FRESH * 2);
        }
        log.trim();
        assert_eq!(first(&log), 11, "the slow one lacks it");
        assert_eq!(log.after(10, 100).unwrap().len(), 20);
        slow.reached(30);
        log.trim();
        assert!(log.size().1 <= SPARE && first(&log) > 11, "all have it: {}", first(&log));
        assert!(log.after(10, 1).is_err());
        assert!(!log.after(first(&log), 100).unwrap().is_empty(), "something is left to resume from");
    }

    #[test]
    fn what_is_fresh_is_kept() {
        let log = Log::new(0, EVENTS);
        for revision in 1..=30 {
            push(&log, revision, Duration::ZERO);
        }
        log.trim();
        assert_eq!(first(&log), 1);
    }
}
