//! The asynchronous shell of a stream: requests, changes and time go in, responses and events come out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::cache::Cache;
use crate::dialogue::{Dialogue, TooMany};
use crate::directory::Directory;
use crate::event::Instance;
use crate::wire::Protocol;

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
    let mut dialogue = Dialogue::new(&cache, &instance, P::profile(&first));
    let (inbox, responses) = (dialogue.inbox(), &responses);
    request::<P>(&mut dialogue, first)?;
    step::<P>(&mut dialogue, responses).await?;
    loop {
        let deadline = dialogue.deadline();
        tokio::select! {
            next = requests.message() => match next? {
                Some(next) => request::<P>(&mut dialogue, next)?,
                None => return Ok(()),
            },
            () = inbox.notify.notified() => {}
            () = sleep_until(deadline) => {}
            () = responses.closed() => return Ok(()),
        }
        step::<P>(&mut dialogue, responses).await?;
    }
}

/// Sleeps until then; none: for good.
pub(crate) async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn request<P: Protocol>(dialogue: &mut Dialogue, request: P::Request) -> Result<(), Status> {
    dialogue
        .request(P::request(request))
        .map_err(|TooMany| Status::resource_exhausted("more requests than a client can have before the first response"))
}

async fn step<P: Protocol>(
    dialogue: &mut Dialogue,
    sender: &mpsc::Sender<Result<P::Response, Status>>,
) -> Result<(), Status> {
    let (responses, version) = dialogue.step();
    for response in responses {
        let gone = |_| Status::cancelled("the client left");
        sender.send(Ok(P::response(response, version))).await.map_err(gone)?;
    }
    Ok(())
}
