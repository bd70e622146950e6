//! From a listening socket to a connection whose filter chain is known.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{Accept, LazyConfigAcceptor, TlsAcceptor};
use tokio_util::sync::CancellationToken;

use super::client_hello::First;
use super::connection::{ConnectionState, ListenerState, Order, Protocol};
use super::detect::detect;
use super::instance::{Instance, SocketOwner};
use super::io::{ClientStream, Watched};
use super::service::{self, Session};
use super::{Worker, client_hello, http1, http2, tcp};
use crate::config::hcm::{Codec, HttpOptions};
use crate::limit::Permit;
use crate::slots::Slot;
use crate::snapshot::{FilterChain, Listener, Look, NetworkFilter};

/// First byte of a TLS handshake record.
const HANDSHAKE: u8 = 22;

/// Accepts connections from a socket until it is closed.
pub(super) fn listen(
    worker: &Rc<Worker>,
    instance: &Rc<Instance>,
    key: u64,
    slot: Arc<Slot>,
    socket: std::net::TcpListener,
) {
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(listener = %slot.name, %error, "can't use a listening socket");
            return;
        }
    };
    let owner: SocketOwner = Rc::new(RefCell::new(listener_state(worker, instance, slot)));
    let stop = CancellationToken::new();
    instance.opened(key, stop.clone(), Rc::clone(&owner));
    tokio::task::spawn_local(accept_all(Rc::clone(worker), owner, socket, stop));
}

/// A listener that nobody has connected to yet.
pub(super) fn listener_state(worker: &Worker, instance: &Rc<Instance>, slot: Arc<Slot>) -> Rc<ListenerState> {
    Rc::new(ListenerState {
        instance: Rc::clone(instance),
        name: Arc::clone(&slot.name),
        stats: worker.registry.listener(&instance.shared.name, &slot.name),
        config: RefCell::new(instance.snapshot().listeners.get(slot.number).cloned()),
        slot,
        draining: false.into(),
        open: 0.into(),
        empty: tokio::sync::Notify::new(),
    })
}

async fn accept_all(worker: Rc<Worker>, owner: SocketOwner, socket: TcpListener, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) => accepted_one(&worker, &owner, stream, remote),
            // Out of descriptors or memory, or a client that gave up: go on, but don't spin.
            Err(error) => {
                tracing::debug!(%error, "can't accept a connection");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    // Who is in the kernel's queue already has a connection, as far as they know: they are served, once. The kernel is
    // asked itself, as the runtime only knows of connections that it has been told of.
    let Ok(socket) = socket.into_std() else { return };
    while let Ok((stream, remote)) = socket.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            accepted_one(&worker, &owner, stream, remote);
        }
    }
}

fn accepted_one(worker: &Rc<Worker>, owner: &SocketOwner, stream: TcpStream, remote: SocketAddr) {
    let listener = Rc::clone(&owner.borrow());
    listener.stats.connections.inc();
    let Some(permit) = Permit::take(&worker.registry) else { return };
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let _permit = permit;
        let _ = stream.set_nodelay(true);
        let Ok(local) = stream.local_addr() else { return };
        let Some(config) = current(&listener) else { return };
        let Some(accepted) = negotiate(&worker, &listener, &config, stream).await else { return };
        let Accepted { stream, chain, server_name } = accepted;
        let tls = matches!(stream, ClientStream::Tls(_));
        let state = ConnectionState::new(&worker, &listener, (remote, local), tls, server_name);
        match &chain.filter {
            NetworkFilter::Http(http) => serve(state, config, &chain, http, stream).await,
            NetworkFilter::Tcp(options) => tcp::serve(state, config, &chain, Arc::clone(options), stream).await,
        }
    });
}

/// The listener as it is configured now, or was last: who came while it went is served all the same.
pub(super) fn current(listener: &ListenerState) -> Option<Arc<Listener>> {
    if let Some(newest) = listener.instance.snapshot().listeners.get(listener.slot.number) {
        *listener.config.borrow_mut() = Some(Arc::clone(newest));
    }
    listener.config.borrow().clone()
}

/// Whether the listener is still there.
pub(super) fn is_configured(listener: &ListenerState) -> bool {
    listener.instance.snapshot().listeners.get(listener.slot.number).is_some()
}

/// A connection whose filter chain is known.
struct Accepted {
    stream: ClientStream,
    chain: Arc<FilterChain>,
    /// The name that its TLS asked for.
    server_name: Option<Box<str>>,
}

/// Finds the filter chain, after a TLS handshake where there is one.
async fn negotiate(
    worker: &Worker,
    listener: &ListenerState,
    config: &Listener,
    stream: TcpStream,
) -> Option<Accepted> {
    match tokio::time::timeout(config.handshake_timeout, find(worker, listener, config, stream)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            listener.stats.handshake_failures.inc();
            tracing::debug!(listener = %listener.name, %error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            listener.stats.handshake_failures.inc();
            None
        }
    }
}

async fn find(
    worker: &Worker,
    listener: &ListenerState,
    config: &Listener,
    stream: TcpStream,
) -> io::Result<Option<Accepted>> {
    let none = || {
        listener.stats.unmatched.inc();
        Ok(None)
    };
    let (tls, server_name) = match config.look() {
        Look::Nowhere => (false, None),
        Look::Handshake => return handshake(config, stream).await.map(Some),
        Look::First => {
            let mut first = [0];
            if stream.peek(&mut first).await? == 1 && first[0] == HANDSHAKE {
                return handshake(config, stream).await.map(Some);
            }
            (false, None)
        }
        Look::Hello => match client_hello::peek(&stream, &worker.scratch).await? {
            Some(First::Hello(name)) => (true, name),
            Some(First::TooLong) => return Err(io::Error::other("the client hello is too long")),
            _ => (false, None),
        },
    };
    let Some(chain) = config.chain(tls, server_name.as_deref()) else { return none() };
    let chain = Arc::clone(chain);
    let stream = match &chain.tls {
        Some(settings) => terminate(&chain, TlsAcceptor::from(Arc::clone(&settings.config)).accept(stream)).await?,
        None => ClientStream::Plain(stream),
    };
    let server_name = server_name.or_else(|| stream.server_name().map(Into::into));
    Ok(Some(Accepted { stream, chain, server_name }))
}

/// For listeners that never let TLS through: the name is seen in the handshake itself.
async fn handshake(config: &Listener, stream: TcpStream) -> io::Result<Accepted> {
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    let hello = start.client_hello();
    let server_name = hello.server_name().map(Into::into);
    let chain =
        config.chain(true, hello.server_name()).ok_or_else(|| io::Error::other("no filter chain has this name"))?;
    let tls = chain.tls.as_ref().ok_or_else(|| io::Error::other("the filter chain doesn't speak TLS"))?;
    let stream = terminate(chain, start.into_stream(Arc::clone(&tls.config))).await?;
    Ok(Accepted { stream, chain: Arc::clone(chain), server_name })
}

async fn terminate(chain: &FilterChain, accepting: Accept<TcpStream>) -> io::Result<ClientStream> {
    let stream = match chain.handshake_timeout {
        Some(limit) => tokio::time::timeout(limit, accepting).await??,
        None => accepting.await?,
    };
    Ok(ClientStream::Tls(Box::new(stream)))
}

/// Speaks with a client until one of them has enough.
async fn serve(
    state: Rc<ConnectionState>,
    config: Arc<Listener>,
    chain: &FilterChain,
    http: &Arc<HttpOptions>,
    stream: ClientStream,
) {
    state.limits.set(service::limits(http));
    let known = match (http.codec, stream.alpn()) {
        (Codec::Http1, _) | (Codec::Auto, Some(b"http/1.1" | b"http/1.0")) => Some(Protocol::Http1),
        (Codec::Http2, _) | (Codec::Auto, Some(b"h2")) => Some(Protocol::Http2),
        (Codec::Auto, _) => None,
    };
    let mut io = Watched::new(stream, Rc::clone(&state));
    if state.listener.draining.get() {
        state.order(Order::Drain);
    }
    let protocol = match known {
        Some(known) => known,
        None => match detect(&state, &mut io).await {
            Some(detected) => detected,
            None => return,
        },
    };
    state.protocol.set(protocol);
    let session = Session::new(Rc::clone(&state), config, chain, Arc::clone(http));
    if protocol == Protocol::Http2 {
        http2::serve(session, io, http).await;
    } else {
        http1::serve(session, io, http).await;
    }
}
