//! ADS on a unix socket.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use foregate_envoy::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use foregate_envoy::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use futures::Stream;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::cache::Cache;
use crate::directory::Directory;
use crate::event::Instance;
use crate::relay::announce;
use crate::session::{self, Peer};
use crate::socket::Socket;
use crate::tls::NodeName;
use crate::wire::{Delta, Protocol, StateOfTheWorld};

/// Responses that a stream may have ahead of its client: one of each kind.
const QUEUE: usize = 8;
/// How often an idle connection is asked whether it lives, and how long it has to answer.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams that one connection may have. Clients need one.
const MAX_STREAMS: u32 = 16;
/// How long connections have to end at shutdown.
const GRACE: Duration = Duration::from_secs(5);

/// Why a server doesn't serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It can't listen.
    #[error("can't listen on the xDS socket {}: {source}", path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Serving failed.
    #[error("the xDS server on {} failed: {source}", path.display())]
    Serve {
        /// Where.
        path: PathBuf,
        /// Why.
        source: tonic::transport::Error,
    },
}

/// A unix socket of mode 0600 that listens: who connects waits until it is served.
#[derive(Debug)]
pub struct UnixSocket {
    path: PathBuf,
    socket: Socket,
    listener: UnixListener,
}

impl UnixSocket {
    /// Listens at `path`. A stale socket file is replaced; the file is removed when this is dropped.
    ///
    /// # Errors
    /// When another server listens there, or the path can't be used: it may have 107 bytes at most.
    pub async fn bind(path: &Path) -> Result<Self, ServeError> {
        let listen = |source| ServeError::Listen { path: path.to_owned(), source };
        let (socket, listener) = Socket::bind(path).await.map_err(listen)?;
        Ok(Self { path: path.to_owned(), socket, listener })
    }
}

/// [`UnixSocket::bind`], then [`serve`].
///
/// # Errors
/// As theirs.
pub async fn serve_unix(
    cache: Cache,
    path: &Path,
    identity: Instance,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    serve(cache, UnixSocket::bind(path).await?, identity, shutdown).await
}

/// Serves one instance on a unix socket until `shutdown`: who can open the socket is `identity`, whatever node id it
/// sends. Open streams end with status "unavailable"; the socket file is removed.
///
/// # Errors
/// When the socket fails.
pub async fn serve(
    cache: Cache,
    socket: UnixSocket,
    identity: Instance,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let UnixSocket { path, socket, listener } = socket;
    // Streams end with the shutdown, and when this future is dropped.
    let stop = shutdown.child_token();
    let _stop_streams = stop.clone().drop_guard();
    let access = Access::Socket(identity);
    let serving = builder(MAX_STREAMS)
        .add_service(service(Ads { cache, access, stop }))
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), shutdown.cancelled());
    let served = tokio::select! {
        served = serving => served,
        () = overdue(&shutdown) => Ok(()),
    };
    drop(socket);
    served.map_err(|source| ServeError::Serve { path, source })
}

/// HTTP/2 as all servers here speak it.
pub(crate) fn builder(max_streams: u32) -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(max_streams)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
}

/// The service, with the bound of its requests.
pub(crate) fn service(ads: Ads) -> AggregatedDiscoveryServiceServer<Ads> {
    let max_request_bytes = ads.cache.options().max_request_bytes;
    AggregatedDiscoveryServiceServer::new(ads).max_decoding_message_size(max_request_bytes)
}

/// Connections had time to end after the shutdown. One whose client doesn't read would never.
pub(crate) async fn overdue(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

/// The service, for a server of one instance or of all nodes.
pub(crate) struct Ads {
    pub(crate) cache: Cache,
    pub(crate) access: Access,
    pub(crate) stop: CancellationToken,
}

/// How clients are known.
pub(crate) enum Access {
    /// By the socket.
    Socket(Instance),
    /// By their node's certificate, of which the connection knows.
    Certificate(Directory),
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Ads {
    fn start<P: Protocol>(&self, request: Request<Streaming<P::Request>>) -> Result<Responses<P::Response>, Status> {
        let peer = match &self.access {
            Access::Socket(instance) => Peer::Socket(instance.clone()),
            Access::Certificate(directory) => {
                let name = request.extensions().get::<NodeName>();
                let name = name.ok_or_else(|| Status::unauthenticated("a node's certificate is missing"))?;
                directory.confirm(name)?;
                if request.metadata().contains_key(announce::HEADER) {
                    return self.hold(name, directory);
                }
                Peer::Node { node: name.node.clone(), directory: directory.clone() }
            }
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(session::run::<P>(self.cache.clone(), peer, request.into_inner(), sender, self.stop.clone()));
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }
}

impl Ads {
    /// A stream that says nothing: while it is open, the node's agent runs.
    fn hold<T: Send + 'static>(&self, name: &NodeName, directory: &Directory) -> Result<Responses<T>, Status> {
        let presence = directory.enter(&name.node)?;
        let (name, directory, stop) = (name.clone(), directory.clone(), self.stop.clone());
        Ok(Box::pin(futures::stream::once(async move {
            let _presence = presence;
            tokio::select! {
                () = directory.revoked(&name) => Err(Status::permission_denied("the node was removed, or its credential revoked")),
                () = stop.cancelled() => Err(Status::unavailable("the xDS server is shutting down: connect again")),
            }
        })))
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        self.start::<StateOfTheWorld>(request).map(Response::new)
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        self.start::<Delta>(request).map(Response::new)
    }
}
