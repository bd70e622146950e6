//! The asynchronous shell of a stream: requests, changes and time go in, responses and events come out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::cache::{Attached, Cache};
use crate::directory::Directory;
use crate::event::{Event, Instance};
use crate::stats::Counters;
use crate::stream::{Counts, Output, Profile, Request, Response, Stream};
use crate::wire::Protocol;

/// Requests that a client may send before its group is served.
const MAX_EARLY: usize = 4096;

/// How long a client may take to say who it is.
const FIRST_REQUEST: Duration = Duration::from_secs(30);

/// What is known of a client before it has said a word.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    /// It could open the socket of this instance.
    Socket(Instance),
    /// It has the certificate of a node; which of the node's instances it means, it says itself.
    Node {
        /// The node.
        node: Arc<str>,
        /// The instances of all nodes.
        directory: Directory,
    },
}

impl Peer {
    fn instance(&self, name: &str) -> Result<Instance, Status> {
        match self {
            Self::Socket(instance) => Ok(instance.clone()),
            Self::Node { node, directory } => directory.admit(node, name),
        }
    }

    /// Waits until the client may no longer have what it was given.
    async fn revoked(&self, name: &str, instance: &Instance) {
        match self {
            Self::Socket(_) => std::future::pending().await,
            Self::Node { directory, .. } => directory.gone(name, instance).await,
        }
    }
}

/// One stream: what comes in, and where to answer.
pub(crate) struct Talk<P: Protocol> {
    pub(crate) cache: Cache,
    pub(crate) instance: Instance,
    pub(crate) requests: Streaming<P::Request>,
    pub(crate) responses: mpsc::Sender<Result<P::Response, Status>>,
}

/// Runs one stream until the client leaves, fails, may no longer, or the server shuts down.
pub(crate) async fn run<P: Protocol>(
    cache: Cache,
    peer: Peer,
    requests: Streaming<P::Request>,
    responses: mpsc::Sender<Result<P::Response, Status>>,
    shutdown: CancellationToken,
) {
    let last = responses.clone();
    let ended = tokio::select! {
        ended = admit::<P>(cache, &peer, requests, responses) => ended,
        () = shutdown.cancelled() => Err(Status::unavailable("the xDS server is shutting down: connect again")),
    };
    if let Err(status) = ended {
        tracing::debug!(?peer, %status, "xDS stream ends");
        // If the client doesn't read, it will see the end of the connection.
        let _ = last.try_send(Err(status));
    }
}

/// Finds out who asks, and serves that.
async fn admit<P: Protocol>(
    cache: Cache,
    peer: &Peer,
    mut requests: Streaming<P::Request>,
    responses: mpsc::Sender<Result<P::Response, Status>>,
) -> Result<(), Status> {
    let late = |_| Status::deadline_exceeded("no request came: a stream begins with one");
    let Some(first) = tokio::time::timeout(FIRST_REQUEST, requests.message()).await.map_err(late)?? else {
        return Ok(());
    };
    let name = P::node_id(&first).ok_or_else(|| {
        Status::invalid_argument("node: a stream's first request must say who asks (DiscoveryRequest.node)")
    })?;
    let name = name.to_owned();
    let instance = peer.instance(&name)?;
    let talk = Talk { cache, instance: instance.clone(), requests, responses };
    tokio::select! {
        ended = P::serve(talk, first) => ended,
        () = peer.revoked(&name, &instance) => {
            Err(Status::permission_denied(format!("node.id: {name:?} is no longer on this node")))
        }
    }
}

/// Serves a client that speaks plain xDS.
pub(crate) async fn serve<P: Protocol>(talk: Talk<P>, first: P::Request) -> Result<(), Status> {
    let Talk { cache, instance, mut requests, responses } = talk;
    let attached = cache.attach(&instance);
    let inbox = attached.inbox.clone();
    let (profile, responses) = (P::profile(&first), &responses);
    let mut session =
        Session { cache: &cache, attached, profile, joined: false, stream: None, early: Vec::new(), responses };
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
    /// It counts as the instance's engine.
    joined: bool,
    /// None until the group may be served.
    stream: Option<Stream>,
    /// Requests from before: what the client has is compared with a complete cache only.
    early: Vec<Request>,
    responses: &'a mpsc::Sender<Result<R, Status>>,
}

impl<R: Send + 'static> Session<'_, R> {
    async fn request<P: Protocol<Response = R>>(&mut self, request: P::Request) -> Result<(), Status> {
        let Some(request) = P::request(request) else {
            // Envoy asks for what its bootstrap names (runtime, scoped routes): no answer is a valid one.
            tracing::debug!("a request for a type that isn't served");
            Counters::add(&self.cache.counters().unknown_types, 1);
            return Ok(());
        };
        if self.early.len() >= MAX_EARLY {
            return Err(Status::resource_exhausted("more requests than a client can have before the first response"));
        }
        // Who takes only what it names, as gRPC's clients do, says nothing of what the gateway serves.
        if !self.joined && request.is_for_all() {
            self.joined = true;
            self.attached.join();
        }
        self.early.push(request);
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
                Output::Recovered { id, version } => {
                    let instance = self.attached.instance.clone();
                    self.cache.emit(Event::Recovered { instance, id, version });
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
        if let Some(refused) = stream.take_refused() {
            self.attached.refuses(refused);
        }
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
