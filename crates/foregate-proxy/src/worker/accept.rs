//! From a listening socket to a connection that speaks HTTP.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::LazyConfigAcceptor;
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::connection::{ConnectionState, ListenerState, Order};
use super::instance::{Instance, SocketOwner};
use super::io::{ClientStream, Watched};
use super::service::{self, Session};
use super::upgrade;
use crate::slots::Slot;
use crate::snapshot::{FilterChain, Listener};

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
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let _ = stream.set_nodelay(true);
        let Ok(local) = stream.local_addr() else { return };
        let Some(config) = current(&listener) else { return };
        let Some((stream, chain)) = negotiate(&listener, &config, stream).await else { return };
        let tls = matches!(stream, ClientStream::Tls(_));
        let state = ConnectionState::new(&worker, &listener, (remote, local), tls);
        serve(state, config, chain, stream).await;
    });
}

/// The listener as it is configured now, or was last: who came while it went is served all the same.
fn current(listener: &ListenerState) -> Option<Arc<Listener>> {
    if let Some(newest) = listener.instance.snapshot().listeners.get(listener.slot.number) {
        *listener.config.borrow_mut() = Some(Arc::clone(newest));
    }
    listener.config.borrow().clone()
}

/// Whether the listener is still there.
pub(super) fn is_configured(listener: &ListenerState) -> bool {
    listener.instance.snapshot().listeners.get(listener.slot.number).is_some()
}

/// Finds the filter chain, after a TLS handshake where there is one.
async fn negotiate(
    listener: &ListenerState,
    config: &Listener,
    stream: TcpStream,
) -> Option<(ClientStream, Arc<FilterChain>)> {
    let tls = match (config.expects_tls(), config.expects_plain()) {
        (false, _) => false,
        (true, false) => true,
        (true, true) => {
            let mut first = [0];
            let peeked = tokio::time::timeout(config.handshake_timeout, stream.peek(&mut first)).await;
            matches!(peeked, Ok(Ok(1))) && first[0] == HANDSHAKE
        }
    };
    if !tls {
        return config.chain(false, None).map(|chain| (ClientStream::Plain(stream), Arc::clone(chain)));
    }
    let handshake = tokio::time::timeout(config.handshake_timeout, handshake(config, stream)).await;
    match handshake {
        Ok(Ok(done)) => Some(done),
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

async fn handshake(config: &Listener, stream: TcpStream) -> io::Result<(ClientStream, Arc<FilterChain>)> {
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    let hello = start.client_hello();
    let chain =
        config.chain(true, hello.server_name()).ok_or_else(|| io::Error::other("no filter chain has this name"))?;
    let tls = chain.tls.as_ref().ok_or_else(|| io::Error::other("the filter chain doesn't speak TLS"))?;
    let accepting = start.into_stream(Arc::clone(&tls.config));
    let stream = match chain.handshake_timeout {
        Some(limit) => tokio::time::timeout(limit, accepting).await??,
        None => accepting.await?,
    };
    Ok((ClientStream::Tls(Box::new(stream)), Arc::clone(chain)))
}

/// Speaks HTTP/1.1 with a client until one of them has enough.
async fn serve(state: Rc<ConnectionState>, config: Arc<Listener>, chain: Arc<FilterChain>, stream: ClientStream) {
    let http = Arc::clone(&chain.http);
    state.limits.set(service::limits(&http));
    let session = Session::new(Rc::clone(&state), config, chain);
    let io = TokioIo::new(Watched::new(stream, Rc::clone(&state)));
    let handler = Rc::clone(&session);
    let mut connection = http1::Builder::new()
        .max_headers(http.max_headers)
        .max_buf_size(http.max_header_bytes.max(8192))
        .serve_connection(io, service_fn(move |request| service::handle(Rc::clone(&handler), request)));
    if state.listener.draining.get() {
        state.order(Order::Drain);
    }
    let mut verdict = None;
    let ended = std::future::poll_fn(|cx| {
        match state.take_order(cx) {
            // Before its first request hyper would close it at once: instead, the first response says that it is the
            // last.
            Some(Order::Drain) if state.requests.get() == 0 => state.hurry(),
            Some(Order::Drain) => Pin::new(&mut connection).graceful_shutdown(),
            Some(order) => {
                verdict = Some(order);
                return Poll::Ready(Ok(()));
            }
            None => {}
        }
        Future::poll(Pin::new(&mut connection), cx)
    })
    .await;
    match verdict {
        Some(Order::Timeout) => {
            session.abandon();
            state.listener.stats.bad_requests.inc();
            // Who never said anything isn't told anything either.
            if state.heard.get() {
                too_slow(connection.into_parts().io.into_inner()).await;
            }
        }
        Some(_) => session.abandon(),
        None => {
            if let Err(error) = &ended {
                note_error(&state, error);
            } else if let Some(upgrade) = session.take_upgrade() {
                let parts = connection.into_parts();
                upgrade::splice(&state, parts.io.into_inner(), parts.read_buf, upgrade).await;
            }
        }
    }
}

fn note_error(state: &ConnectionState, error: &hyper::Error) {
    if error.is_parse() || error.is_parse_too_large() {
        state.listener.stats.bad_requests.inc();
    }
    tracing::debug!(listener = %state.listener.name, client = %state.remote, %error, "a client's connection ended");
}

/// Tells a client that it was too slow, and closes.
async fn too_slow(mut io: Watched) {
    let text = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 15\r\ncontent-type: text/plain\r\n\
        connection: close\r\n\r\nrequest timeout";
    let farewell = async {
        let _ = io.write_all(text).await;
        let _ = io.shutdown().await;
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), farewell).await;
}
