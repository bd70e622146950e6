//! The log of one resource.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::store::Event;

/// Events kept per resource at most.
pub(super) const EVENTS: usize = 10_000;
/// Bytes kept per resource at most; the largest object must fit twice.
const BYTES: usize = 4 << 20;
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
        let state = State { events: VecDeque::new(), bytes: 0, floor };
        Self { state: RwLock::new(state), bell: watch::Sender::new(floor), limit }
    }

    pub(super) fn push(&self, event: Arc<Event>) {
        let mut state = self.state.write();
        state.bytes += size(&event);
        state.events.push_back((Instant::now(), event));
        while state.events.len() > self.limit || state.bytes > BYTES {
            state.drop_first();
        }
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
    fn drop_first(&mut self) {
        if let Some((_, event)) = self.events.pop_front() {
            self.bytes -= size(&event);
            self.floor = event.object.revision;
        }
    }
}
