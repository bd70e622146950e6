//! ADS over TCP with mutual TLS, for nodes.
//!
//! A client certificate of the platform's authority names a node: common name `system:foregate:node:NAME`,
//! organisation `system:foregate:nodes`, and which of the node's credentials it is. Each stream says in `node.id` which instance it is for, and gets that one's
//! resources if the [`Directory`] has it on this node, and "permission denied" otherwise. Others are turned away at the
//! handshake, or right after it. Only TLS 1.3 is spoken.

use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Fuse, FusedFuture};
use hyper_util::rt::TokioIo;
use parking_lot::RwLock;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::cache::Cache;
use crate::directory::Directory;
use crate::server::{Access, Ads, builder, overdue, service};

/// The user name of a node begins with this.
pub const NODE_USER: &str = "system:foregate:node:";
/// The group of all nodes.
pub const NODES_GROUP: &str = "system:foregate:nodes";

/// How long a client takes to connect at most, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// How often an idle connection is asked whether it lives, and how long it has to answer.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections at the same time: one per node.
const CONNECTIONS: usize = 1024;
/// Streams of one connection: one per instance of the node, and some that are about to end.
const MAX_STREAMS: u32 = 8192;

/// Why xDS can't be served or reached over TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key can't be read.
    #[error("{what}: {detail}")]
    Pem {
        /// Which one.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// TLS doesn't take them.
    #[error("TLS refuses its certificates: {0}")]
    Config(String),
    /// The address isn't one.
    #[error("the platform's xDS address {address:?} is not HOST:PORT, such as gateway.example.com:7444")]
    Address {
        /// What was given.
        address: String,
    },
    /// The socket fails.
    #[error("the xDS port: {0}")]
    Socket(#[from] io::Error),
    /// Serving fails.
    #[error("the xDS server failed: {0}")]
    Serve(#[from] tonic::transport::Error),
}

/// Where a certificate's subject has a user's UID, as in Kubernetes.
const USER_UID: [u64; 8] = [1, 3, 6, 1, 4, 1, 57683, 2];

/// Whom a connection's certificate names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeName {
    /// The node.
    pub node: Arc<str>,
    /// What the certificate is bound to: the UID of its subject. Empty: to nothing.
    pub bound_to: Arc<str>,
}

/// Who a node is towards its platform. Can be exchanged while it is used: connections that are made later show the new
/// one. Clones are the same.
#[derive(Clone, Debug)]
pub struct Identity(Arc<RwLock<Arc<CertifiedKey>>>);

impl Identity {
    /// A certificate chain and its key, PEM.
    ///
    /// # Errors
    /// When one of them can't be read, or they don't belong together.
    pub fn new(certificate: &str, key: &str) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(RwLock::new(certified(certificate, key)?))))
    }

    /// From now on it is this.
    ///
    /// # Errors
    /// As [`Identity::new`]; it stays as it was then.
    pub fn set(&self, certificate: &str, key: &str) -> Result<(), TlsError> {
        *self.0.write() = certified(certificate, key)?;
        Ok(())
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let key = self.0.read().clone();
        key.key.choose_scheme(schemes).is_some().then_some(key)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn certified(certificate: &str, key: &str) -> Result<Arc<CertifiedKey>, TlsError> {
    let pem = |what, detail: &dyn std::fmt::Display| TlsError::Pem { what, detail: detail.to_string() };
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| pem("the node's certificate", &error))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| pem("the node's key", &error))?;
    let key = CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider());
    key.map(Arc::new).map_err(|error| TlsError::Config(error.to_string()))
}

/// A server's side of TLS: `certificates` shows who it is, `client_ca` (PEM) has signed the certificates of its nodes.
///
/// # Errors
/// When `client_ca` is no certificate.
pub fn server_config(
    certificates: Arc<dyn ResolvesServerCert>,
    client_ca: &str,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(client_ca)?), provider.clone())
        .build()
        .map_err(|error| TlsError::Config(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TlsError::Config(error.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// A node's side of TLS, all in PEM: `ca` has signed the server's certificate, `certificate` and `key` are the node's.
///
/// # Errors
/// When one of them can't be read, or they don't belong together.
pub fn client_config(ca: &str, certificate: &str, key: &str) -> Result<Arc<ClientConfig>, TlsError> {
    client_config_of(ca, Identity::new(certificate, key)?)
}

/// The same for an identity that may be exchanged.
///
/// # Errors
/// When `ca` is no certificate.
pub fn client_config_of(ca: &str, identity: Identity) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TlsError::Config(error.to_string()))?
        .with_root_certificates(roots(ca)?)
        .with_client_cert_resolver(Arc::new(identity));
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session is the old one's identity: an exchanged certificate would never be shown.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn roots(ca: &str) -> Result<RootCertStore, TlsError> {
    let pem = |detail: String| TlsError::Pem { what: "the authority's certificate", detail };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let certificate = certificate.map_err(|error| pem(error.to_string()))?;
        roots.add(certificate).map_err(|error| pem(error.to_string()))?;
    }
    if roots.is_empty() { Err(pem("there is none in it".to_owned())) } else { Ok(roots) }
}

/// The node that a verified certificate names.
pub fn node_of(certificate: &CertificateDer<'_>) -> Option<NodeName> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = parsed.subject();
    let is_node = subject.iter_organization().any(|group| group.as_str().is_ok_and(|group| group == NODES_GROUP));
    let user = subject.iter_common_name().next()?.as_str().ok()?;
    let node = user.strip_prefix(NODE_USER).filter(|name| is_node && !name.is_empty())?.into();
    let uid = x509_parser::der_parser::oid::Oid::from(&USER_UID).ok()?;
    let bound_to = subject.iter_by_oid(&uid).next().map(|uid| uid.as_str()).transpose().ok()?.unwrap_or_default();
    Some(NodeName { node, bound_to: bound_to.into() })
}

/// A node's connection to the platform's xDS port `HOST:PORT`: made when it is needed, and again when it is lost. The
/// host must be in the server's certificate.
///
/// # Errors
/// When the address isn't one.
pub fn channel(address: &str, config: Arc<ClientConfig>) -> Result<Channel, TlsError> {
    let bad = || TlsError::Address { address: address.to_owned() };
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    port.parse::<u16>().map_err(|_| bad())?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = ServerName::try_from(host.to_owned()).map_err(|_| bad())?;
    let (address, connector) = (address.to_owned(), TlsConnector::from(config));
    let connect = tower::service_fn(move |_: Uri| {
        let (address, connector, name) = (address.clone(), connector.clone(), name.clone());
        async move {
            let connect = async {
                let stream = TcpStream::connect(&address).await?;
                stream.set_nodelay(true)?;
                connector.connect(name, stream).await.map(TokioIo::new)
            };
            let late = || io::Error::new(io::ErrorKind::TimedOut, "the platform's xDS port doesn't answer");
            tokio::time::timeout(CONNECT, connect).await.unwrap_or_else(|_| Err(late()))
        }
    });
    Ok(Endpoint::from_static("http://xds.invalid")
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(8 << 20)
        .connect_with_connector_lazy(connect))
}

/// Serves nodes until `shutdown`. Open streams end with status "unavailable" then.
///
/// # Errors
/// When the socket fails.
pub async fn serve_tls(
    cache: Cache,
    listener: TcpListener,
    config: Arc<ServerConfig>,
    directory: Directory,
    shutdown: CancellationToken,
) -> Result<(), TlsError> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    // Streams end with the shutdown, and when this future is dropped.
    let stop = shutdown.child_token();
    let _stop_streams = stop.clone().drop_guard();
    let (sender, connections) = mpsc::channel(16);
    let acceptor = TlsAcceptor::from(config);
    tokio::spawn(accept(listener, acceptor, directory.clone(), sender, stop.clone()));
    let access = Access::Certificate(directory);
    // A machine that has vanished is to be noticed soon.
    let mut server =
        builder(MAX_STREAMS).http2_keepalive_interval(Some(KEEPALIVE)).http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT));
    let serving = server.add_service(service(Ads { cache, access, stop })).serve_with_incoming_shutdown(
        ReceiverStream::new(connections).map(Ok::<Connection, io::Error>),
        shutdown.cancelled(),
    );
    tokio::select! {
        served = serving => Ok(served?),
        () = overdue(&shutdown) => Ok(()),
    }
}

async fn accept(
    listener: tokio::net::TcpListener,
    acceptor: TlsAcceptor,
    directory: Directory,
    connections: mpsc::Sender<Connection>,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (acceptor, directory, connections) = (acceptor.clone(), directory.clone(), connections.clone());
                tokio::spawn(async move {
                    if let Some(connection) = handshake(acceptor, directory, stream, place).await {
                        // Fails when the server has ended meanwhile.
                        let _ = connections.send(connection).await;
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a node's connection could not be accepted");
                // Out of file descriptors, most likely: give others the time to end.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    directory: Directory,
    stream: TcpStream,
    place: OwnedSemaphorePermit,
) -> Option<Connection> {
    let from = stream.peer_addr().ok();
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(?from, %error, "a TLS handshake on the xDS port failed");
            return None;
        }
        Err(_) => return None,
    };
    let node = stream.get_ref().1.peer_certificates().and_then(|chain| node_of(chain.first()?));
    if node.is_none() {
        tracing::warn!(?from, "a client whose certificate is no node's was turned away from the xDS port");
    }
    let node = node?;
    let name = node.clone();
    let revoked: BoxFuture<'static, ()> = Box::pin(async move { directory.revoked(&name).await });
    let revoked = revoked.fuse();
    Some(Connection { stream: Box::new(stream), node, revoked, _place: place })
}

/// A node's connection. It ends with the node's credential, so that the next one is made with another.
struct Connection {
    stream: Box<TlsStream<TcpStream>>,
    node: NodeName,
    revoked: Fuse<BoxFuture<'static, ()>>,
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = NodeName;

    fn connect_info(&self) -> NodeName {
        self.node.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.revoked.is_terminated() || self.revoked.poll_unpin(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut *self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}
