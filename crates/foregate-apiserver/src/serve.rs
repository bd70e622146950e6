//! The TLS listener.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::auth::ca::{self, Authority, CaError, SERVER_LIFE};
use crate::auth::{Caller, token::Tokens};
use crate::core::Core;
use crate::metrics::RequestLabels;
use crate::rest;
use crate::server::Server;

/// For a TLS handshake, and for the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// For open requests to end at a shutdown; watches end at once.
const DRAIN: Duration = Duration::from_secs(5);
/// Connections at the same time.
const CONNECTIONS: usize = 4096;

/// The server can't be reached from outside.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket.
    #[error("the API's socket: {0}")]
    Socket(#[from] std::io::Error),
    /// The certificate.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// TLS.
    #[error("TLS: {0}")]
    Tls(String),
}

impl Server {
    /// Serves over TLS until `shutdown` is cancelled, or the server ends.
    ///
    /// # Errors
    /// [`ServeError`]: the socket or the certificate can't be used.
    pub async fn serve(&self, listener: TcpListener, shutdown: CancellationToken) -> Result<(), ServeError> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let acceptor = acceptor(&self.authority, &self.names, address)?;
        let graceful = GracefulShutdown::new();
        let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
        let stopped = self.stopped();
        let ending = CancellationToken::new();
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &places) => accepted,
                () = shutdown.cancelled() => break,
                () = stopped.cancelled() => break,
            };
            let Some((stream, place)) = accepted else { continue };
            let (core, tokens, acceptor) = (self.core.clone(), self.tokens.clone(), acceptor.clone());
            let (watcher, ending) = (graceful.watcher(), ending.clone());
            tokio::spawn(async move {
                if let Some(tls) = handshake(acceptor, stream).await {
                    connection(core, tokens, tls, watcher, ending).await;
                }
                drop(place);
            });
        }
        drop(listener);
        ending.cancel();
        let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
        Ok(())
    }
}

impl Server {
    /// Who this server is, for another port of the same process that listens at `address`: the same names, signed by the
    /// same authority, made anew long before it ends.
    ///
    /// # Errors
    /// [`ServeError`]: the certificate can't be made.
    pub fn certificates(&self, address: SocketAddr) -> Result<Arc<dyn ResolvesServerCert>, ServeError> {
        Ok(Arc::new(Certificates::new(&self.authority, &self.names, address)?))
    }
}

async fn accept(
    listener: &tokio::net::TcpListener,
    places: &Arc<tokio::sync::Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            tracing::warn!(%error, "a connection to the API could not be accepted");
            // Out of file descriptors, most likely: give others the time to end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    let _ = stream.set_nodelay(true);
    match tokio::time::timeout(HEAD_TIME, acceptor.accept(stream)).await {
        Ok(Ok(tls)) => Some(tls),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake with the API failed");
            None
        }
        Err(_) => None,
    }
}

async fn connection(
    core: Arc<Core>,
    tokens: Arc<Tokens>,
    tls: TlsStream<TcpStream>,
    watcher: Watcher,
    ending: CancellationToken,
) {
    let identity = tls.get_ref().1.peer_certificates().and_then(|c| c.first()).and_then(ca::subject);
    let identity = Arc::new(identity);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(rest::Ending(ending.clone()));
        let (core, tokens, identity) = (core.clone(), tokens.clone(), identity.clone());
        async move {
            let caller = who(request.headers(), &tokens, identity.as_ref());
            let method = request.method().to_string();
            let response = rest::handle(core.clone(), caller, request).await;
            let labels = RequestLabels { method, code: response.status().as_u16().into() };
            core.metrics.requests.get_or_create(&labels).inc();
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let builder = protocols();
    let served = watcher.watch(builder.serve_connection(TokioIo::new(tls), service).into_owned()).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the API ended");
    }
}

/// HTTP/1.1 and HTTP/2, within limits.
fn protocols() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_headers(128);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .max_header_list_size(64 << 10)
        .max_concurrent_streams(1000);
    builder
}

/// A token in the request goes before the connection's certificate; a bad token is no one.
fn who(headers: &HeaderMap, tokens: &Tokens, identity: &Option<Caller>) -> Option<Caller> {
    match headers.get(AUTHORIZATION) {
        None => identity.clone(),
        Some(value) => {
            let token = value.to_str().ok()?.strip_prefix("Bearer ")?;
            let (user, groups) = tokens.check(token.trim())?;
            Some(Caller::new(user, groups))
        }
    }
}

/// The server's certificate, made anew long before it ends.
struct Certificates {
    authority: Arc<Authority>,
    names: Vec<String>,
    current: ArcSwap<(Instant, Arc<CertifiedKey>)>,
}

impl Certificates {
    fn new(authority: &Arc<Authority>, more: &[String], address: SocketAddr) -> Result<Self, ServeError> {
        let mut names = ca::names(&[address.ip()]);
        names.extend_from_slice(more);
        let first = certified(authority, &names)?;
        let current = ArcSwap::from_pointee((Instant::now(), first));
        Ok(Self { authority: authority.clone(), names, current })
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificates({:?})", self.names)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.load();
        if current.0.elapsed() > SERVER_LIFE / 3
            && let Ok(new) = certified(&self.authority, &self.names)
        {
            self.current.store(Arc::new((Instant::now(), new.clone())));
            return Some(new);
        }
        Some(current.1.clone())
    }
}

fn certified(authority: &Authority, names: &[String]) -> Result<Arc<CertifiedKey>, ServeError> {
    let (certificate, key) = authority.server(names)?;
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(|e| ServeError::Tls(e.to_string()))?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate], key)))
}

fn acceptor(authority: &Arc<Authority>, more: &[String], address: SocketAddr) -> Result<TlsAcceptor, ServeError> {
    let tls = |e: &dyn std::fmt::Display| ServeError::Tls(e.to_string());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.certificate.as_bytes()).map_err(|e| tls(&e))?;
    roots.add(root).map_err(|e| tls(&e))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|e| tls(&e))?;
    let certificates = Certificates::new(authority, more, address)?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| tls(&e))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
