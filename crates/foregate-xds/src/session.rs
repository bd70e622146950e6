//! The asynchronous shell of a stream: requests, changes and time go in, responses and events come out.

use std::time::Instant;

use foregate_envoy::ResourceKind;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::cache::{Attached, Cache};
use crate::event::{Event, Instance};
use crate::stats::Counters;
use crate::stream::{Counts, Output, Profile, Request, Response, Stream};
use crate::wire::Protocol;

/// Requests that a client may send before its group is served.
const MAX_EARLY: usize = 4096;

/// Runs one stream until the client leaves, fails, or the server shuts down.
pub(crate) async fn run<P: Protocol>(
    cache: Cache,
    instance: Instance,
    mut requests: Streaming<P::Request>,
    responses: mpsc::Sender<Result<P::Response, Status>>,
    shutdown: CancellationToken,
) {
    let ended = tokio::select! {
        ended = serve::<P>(&cache, &instance, &mut requests, &responses) => ended,
        () = shutdown.cancelled() => Err(Status::unavailable("the xDS server is shutting down: connect again")),
    };
    if let Err(status) = ended {
        tracing::debug!(group = %instance.group, node = %instance.node, %status, "xDS stream ends");
        // If the client doesn't read, it will see the end of the connection.
        let _ = responses.try_send(Err(status));
    }
}

async fn serve<P: Protocol>(
    cache: &Cache,
    instance: &Instance,
    requests: &mut Streaming<P::Request>,
    responses: &mpsc::Sender<Result<P::Response, Status>>,
) -> Result<(), Status> {
    let Some(first) = requests.message().await? else { return Ok(()) };
    let profile = P::profile(&first).ok_or_else(|| {
        Status::invalid_argument("node: a stream's first request must say who asks (DiscoveryRequest.node)")
    })?;
    let attached = cache.attach(instance);
    let inbox = attached.inbox.clone();
    let mut session = Session { cache, attached, profile, stream: None, early: Vec::new(), responses };
    session.request::<P>(first).await?;
    loop {
        let deadline = session.stream.as_ref().and_then(Stream::deadline);
        tokio::select! {
            request = requests.message() => match request? {
                Some(request) => session.request::<P>(request).await?,
                None => return Ok(()),
            },
            () = inbox.notify.notified() => session.step::<P>().await?,
            () = sleep_until(deadline) => session.step::<P>().await?,
            () = responses.closed() => return Ok(()),
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

struct Session<'a, R> {
    cache: &'a Cache,
    attached: Attached,
    profile: Profile,
    /// None until the group may be served.
    stream: Option<Stream>,
    /// Requests from before: what the client has is compared with a complete cache only.
    early: Vec<Request>,
    responses: &'a mpsc::Sender<Result<R, Status>>,
}

impl<R: Send + 'static> Session<'_, R> {
    async fn request<P: Protocol<Response = R>>(&mut self, request: P::Request) -> Result<(), Status> {
        let Some(kind) = ResourceKind::from_type_url(P::type_url(&request)) else {
            // Envoy asks for what its bootstrap names (runtime, scoped routes): no answer is a valid one.
            tracing::debug!(type_url = P::type_url(&request), "a request for a type that isn't served");
            Counters::add(&self.cache.counters().unknown_types, 1);
            return Ok(());
        };
        if self.early.len() >= MAX_EARLY {
            return Err(Status::resource_exhausted("more requests than a client can have before the first response"));
        }
        self.early.push(P::request(kind, request));
        self.step::<P>().await
    }

    /// One step of the state machine, under the read lock of the group's store; then what came out of it.
    async fn step<P: Protocol<Response = R>>(&mut self) -> Result<(), Status> {
        let Some((outputs, version)) = self.advance() else { return Ok(()) };
        for output in outputs {
            match output {
                Output::Response(response) => self.send::<P>(response, version).await?,
                Output::Progress(applied) => self.attached.progress(applied),
                Output::Nacked { id, version, owners, message } => {
                    Counters::add(&self.cache.counters().culprits, 1);
                    let instance = self.attached.instance.clone();
                    self.cache.emit(Event::Nacked { instance, id, version, owners, message });
                }
            }
        }
        Ok(())
    }

    /// The outputs, and the sequence of the store that they are made from; none if the group isn't served yet.
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
        count(self.cache.counters(), stream.take_counts());
        Some((stream.take(), store.sequence()))
    }

    async fn send<P: Protocol<Response = R>>(&self, response: Response, version: u64) -> Result<(), Status> {
        let counters = self.cache.counters();
        Counters::add(&counters.responses, 1);
        Counters::add(&counters.resources, response.resources.len() as u64);
        Counters::add(&counters.removals, response.removed.len() as u64);
        let gone = |_| Status::cancelled("the client left");
        self.responses.send(Ok(P::response(response, version))).await.map_err(gone)
    }
}

fn count(counters: &Counters, counts: Counts) {
    Counters::add(&counters.acks, counts.acks);
    Counters::add(&counters.nacks, counts.nacks);
    Counters::add(&counters.stale_nonces, counts.stale_nonces);
    Counters::add(&counters.forced, counts.forced);
}
