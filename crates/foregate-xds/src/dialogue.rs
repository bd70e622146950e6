//! One client's dialogue with the cache, whatever carries it: the state machine, and its place in the cache.

use std::sync::Arc;
use std::time::Instant;

use crate::cache::{Attached, Cache, Inbox};
use crate::event::{Event, Instance};
use crate::stats::Counters;
use crate::stream::{Counts, Output, Profile, Request, Response, Stream};

/// Requests that a client may send before its group is served.
const MAX_EARLY: usize = 4096;

/// A client has sent more requests than it can have before the first response.
#[derive(Debug)]
pub(crate) struct TooMany;

/// One client and what it is to be told. Nothing in here waits.
#[derive(Debug)]
pub(crate) struct Dialogue {
    cache: Cache,
    attached: Attached,
    profile: Profile,
    /// It counts as the instance's engine.
    joined: bool,
    /// None until the group may be served.
    stream: Option<Stream>,
    /// Requests that aren't looked at yet. Before the group is served they are kept: what the client has is compared
    /// with a complete cache only.
    early: Vec<Request>,
}

impl Dialogue {
    pub(crate) fn new(cache: &Cache, instance: &Instance, profile: Profile) -> Self {
        let attached = cache.attach(instance);
        Self { cache: cache.clone(), attached, profile, joined: false, stream: None, early: Vec::new() }
    }

    /// Rings when there is something for [`Dialogue::step`].
    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        self.attached.inbox.clone()
    }

    /// When [`Dialogue::step`] is to be called at the latest, if at all.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.stream.as_ref().and_then(Stream::deadline)
    }

    /// Takes a request, for the next step; none: it is for a type that isn't served.
    pub(crate) fn request(&mut self, request: Option<Request>) -> Result<(), TooMany> {
        let Some(request) = request else {
            // Envoy asks for what its bootstrap names (runtime, scoped routes): no answer is a valid one.
            tracing::debug!("a request for a type that isn't served");
            Counters::add(&self.cache.counters().unknown_types, 1);
            return Ok(());
        };
        if self.early.len() >= MAX_EARLY {
            return Err(TooMany);
        }
        // Who takes only what it names, as gRPC's clients do, says nothing of what the gateway serves.
        if !self.joined && request.is_for_all() {
            self.joined = true;
            self.attached.join();
        }
        self.early.push(request);
        Ok(())
    }

    /// One step of the state machine, under the read lock of the group's store. What came out of it is told to the
    /// cache, except for the responses, which come back with the sequence of the store that they are made from.
    pub(crate) fn step(&mut self) -> (Vec<Response>, u64) {
        let Some((outputs, version)) = self.advance() else { return (Vec::new(), 0) };
        let mut responses = Vec::new();
        for output in outputs {
            match output {
                Output::Response(response) => responses.push(self.counted(response)),
                Output::Progress(applied) => self.attached.progress(applied),
                Output::Nacked { id, version, owners, message } => {
                    Counters::add(&self.cache.counters().culprits, 1);
                    let instance = self.attached.instance.clone();
                    self.cache.emit(Event::Nacked { instance, id, version, owners, message });
                }
                Output::Recovered { id, version } => {
                    let instance = self.attached.instance.clone();
                    self.cache.emit(Event::Recovered { instance, id, version });
                }
            }
        }
        (responses, version)
    }

    /// The outputs, and the sequence of the store; none if the group isn't served yet.
    fn advance(&mut self) -> Option<(Vec<Output>, u64)> {
        let store = self.attached.group.store.read();
        if !self.attached.may_serve(&store) {
            return None;
        }
        let now = Instant::now();
        let changes = self.attached.inbox.take();
        let stream = self.stream.get_or_insert_with(|| Stream::new(self.profile, self.cache.options(), now));
        if !changes.is_empty() {
            stream.changed(&store, changes);
        }
        for request in self.early.drain(..) {
            stream.request(&store, request);
        }
        stream.advance(&store, now);
        if let Some(refused) = stream.take_refused() {
            self.attached.refuses(refused);
        }
        count(self.cache.counters(), stream.take_counts());
        Some((stream.take(), store.sequence()))
    }

    fn counted(&self, response: Response) -> Response {
        let counters = self.cache.counters();
        Counters::add(&counters.responses, 1);
        Counters::add(&counters.resources, response.resources.len() as u64);
        Counters::add(&counters.removals, response.removed.len() as u64);
        self.cache.sent().response(&response);
        response
    }
}

fn count(counters: &Counters, counts: Counts) {
    Counters::add(&counters.acks, counts.acks);
    Counters::add(&counters.nacks, counts.nacks);
    Counters::add(&counters.stale_nonces, counts.stale_nonces);
    Counters::add(&counters.forced, counts.forced);
}
