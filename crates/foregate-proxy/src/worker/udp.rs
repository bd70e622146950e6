//! Datagrams that are passed on as they are. Who sends from one address and port is one client; its datagrams go to one
//! endpoint, over a socket of its own, until neither has said anything for a while.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::SendFlags;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::accept::{current, listener_state};
use super::connection::ListenerState;
use super::host::Host;
use super::instance::{Instance, SocketOwner};
use super::logging::Outcome;
use super::pool::Open;
use super::upstream::Upstream;
use super::{Worker, affinity};
use crate::config::udp_proxy::UdpOptions;
use crate::limit::SessionPermit;
use crate::slots::Slot;
use crate::snapshot::Address;

/// Datagrams in a row before others have their turn.
const TURN: u32 = 64;

/// Datagrams go now or never, so that the runtime needn't know whether there is room.
const AT_ONCE: SendFlags = SendFlags::DONTWAIT;

/// A socket that clients send to.
struct Receiver {
    worker: Rc<Worker>,
    owner: SocketOwner,
    socket: UdpSocket,
    sessions: RefCell<HashMap<SocketAddr, Rc<Session>>>,
    stop: CancellationToken,
}

/// Takes datagrams from a socket until it is closed.
pub(super) fn listen(
    worker: &Rc<Worker>,
    instance: &Rc<Instance>,
    key: u64,
    slot: Arc<Slot>,
    socket: std::net::UdpSocket,
) {
    let socket = match UdpSocket::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(listener = %slot.name, %error, "can't use a socket");
            return;
        }
    };
    let owner: SocketOwner = Rc::new(RefCell::new(listener_state(worker, instance, slot)));
    let stop = CancellationToken::new();
    instance.opened(key, stop.clone(), Rc::clone(&owner));
    let receiver = Receiver { worker: Rc::clone(worker), owner, socket, sessions: RefCell::default(), stop };
    tokio::task::spawn_local(Rc::new(receiver).run());
}

impl Receiver {
    async fn run(self: Rc<Self>) {
        loop {
            let readable = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                readable = self.socket.readable() => readable,
            };
            if let Err(error) = readable.and_then(|()| self.receive()) {
                tracing::debug!(%error, "can't receive datagrams");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        // Answers can only come from the socket that was written to: with it, its clients are new ones.
        self.sessions.borrow_mut().clear();
    }

    /// Takes what there is.
    fn receive(self: &Rc<Self>) -> io::Result<()> {
        let listener = Rc::clone(&self.owner.borrow());
        let options = current(&listener).and_then(|config| config.udp.clone());
        for _ in 0..TURN {
            let mut scratch = self.worker.scratch.borrow_mut();
            let (length, client) = match self.socket.try_recv_from(&mut scratch) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // An answer didn't reach its client: that is about this one only.
                Err(error) if is_unreachable(&error) => continue,
                Err(error) => return Err(error),
            };
            let Some(options) = options.as_ref().filter(|options| length <= options.max_from_client) else {
                listener.stats.unmatched.inc();
                continue;
            };
            match self.session(client, &listener, options) {
                Some(session) => session.send(&scratch[..length]),
                None => listener.stats.unconnected.inc(),
            }
        }
        Ok(())
    }

    /// A client's session, which may begin now.
    fn session(
        self: &Rc<Self>,
        client: SocketAddr,
        listener: &Rc<ListenerState>,
        options: &Arc<UdpOptions>,
    ) -> Option<Rc<Session>> {
        let known = self.sessions.borrow().get(&client).cloned();
        if let Some(session) = known {
            if !session.host.is_gone() {
                return Some(session);
            }
            self.end(&session);
        }
        let session = Rc::new(Session::new(&self.worker, listener, client, options)?);
        self.sessions.borrow_mut().insert(client, Rc::clone(&session));
        tokio::task::spawn_local(Rc::clone(self).answer(Rc::clone(&session), options.idle_timeout));
        Some(session)
    }

    fn end(&self, session: &Rc<Session>) {
        session.stop.cancel();
        let mut sessions = self.sessions.borrow_mut();
        if sessions.get(&session.client).is_some_and(|other| Rc::ptr_eq(other, session)) {
            sessions.remove(&session.client);
        }
    }

    /// Passes an endpoint's datagrams on to the client, until the session is over.
    async fn answer(self: Rc<Self>, session: Rc<Session>, idle: Duration) {
        loop {
            // Looked at again when it is over: what came in the meantime only has to be noted.
            let deadline = session.last.get() + idle;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = session.stop.cancelled() => break,
                readable = session.socket.readable() => {
                    if let Err(error) = readable.and_then(|()| self.pass_back(&session)) {
                        tracing::debug!(client = %session.client, endpoint = %session.host.text, %error, "no answer");
                        break;
                    }
                }
                () = tokio::time::sleep_until(deadline.into()) => {
                    if session.last.get().elapsed() >= idle {
                        break;
                    }
                }
            }
        }
        self.end(&session);
    }

    fn pass_back(&self, session: &Session) -> io::Result<()> {
        for _ in 0..TURN {
            let mut scratch = self.worker.scratch.borrow_mut();
            let length = match session.socket.try_recv(&mut scratch) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Nobody listens there, at least not now.
                Err(error) if is_unreachable(&error) => {
                    session.upstream.stats.resets.inc();
                    continue;
                }
                Err(error) => return Err(error),
            };
            session.last.set(Instant::now());
            session.upstream.stats.received.add(length as u64);
            if length <= session.max_from_endpoint
                && rustix::net::sendto(&self.socket, &scratch[..length], AT_ONCE, &session.client).is_ok()
            {
                session.listener.stats.sent.add(length as u64);
                session.sent.set(session.sent.get() + length as u64);
            }
        }
        Ok(())
    }
}

/// What ICMP told about an earlier datagram.
fn is_unreachable(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionRefused | Kind::ConnectionReset | Kind::HostUnreachable | Kind::NetworkUnreachable
    )
}

/// A client, and its endpoint.
struct Session {
    worker: Rc<Worker>,
    listener: Rc<ListenerState>,
    client: SocketAddr,
    socket: UdpSocket,
    host: Rc<Host>,
    upstream: Rc<Upstream>,
    max_from_endpoint: usize,
    stop: CancellationToken,
    start: Instant,
    last: Cell<Instant>,
    /// Bytes from the client, and to it.
    received: Cell<u64>,
    sent: Cell<u64>,
    _open: Open,
    _permit: SessionPermit,
}

impl Session {
    /// Chooses an endpoint; `None`: there is none, or there are too many sessions.
    fn new(
        worker: &Rc<Worker>,
        listener: &Rc<ListenerState>,
        client: SocketAddr,
        options: &UdpOptions,
    ) -> Option<Self> {
        let instance = &listener.instance;
        let slot = options.cluster(client)?;
        let upstream = instance.upstream(&instance.snapshot(), slot.number, &worker.registry)?;
        let host = upstream.choose(options.hash_source_ip.then(|| affinity::of_address(client.ip())), None);
        let Some(host) = host else {
            upstream.stats.no_endpoint.inc();
            return None;
        };
        if upstream.open.get() >= upstream.cluster().config.limits.connections {
            return None;
        }
        let permit = SessionPermit::take(&worker.registry)?;
        let open = Open::new(&upstream, &host);
        let socket = match &host.address {
            Address::Socket(address) => connected(*address),
            Address::Pipe(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        let socket = match socket {
            Ok(socket) => socket,
            Err(error) => {
                upstream.stats.connect_failures.inc();
                if host.may_complain(upstream.tick()) {
                    tracing::warn!(cluster = %upstream.name, endpoint = %host.address, %error, "an endpoint can't be reached");
                }
                return None;
            }
        };
        listener.stats.connections.inc();
        listener.stats.connections_active.inc();
        host.active.set(host.active.get() + 1);
        let now = Instant::now();
        Some(Self {
            worker: Rc::clone(worker),
            listener: Rc::clone(listener),
            client,
            socket,
            host,
            upstream,
            max_from_endpoint: options.max_from_endpoint,
            stop: CancellationToken::new(),
            start: now,
            last: Cell::new(now),
            received: Cell::new(0),
            sent: Cell::new(0),
            _open: open.established(),
            _permit: permit,
        })
    }

    /// Passes a client's datagram on; what the kernel has no room for is lost, as elsewhere on the way.
    fn send(&self, datagram: &[u8]) {
        self.last.set(Instant::now());
        self.listener.stats.received.add(datagram.len() as u64);
        self.received.set(self.received.get() + datagram.len() as u64);
        let sent = match rustix::net::send(&self.socket, datagram, AT_ONCE) {
            // What is told is about an earlier one.
            Err(error) if is_unreachable(&error.into()) => rustix::net::send(&self.socket, datagram, AT_ONCE),
            sent => sent,
        };
        if sent.is_ok() {
            self.upstream.stats.sent.add(datagram.len() as u64);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.host.active.set(self.host.active.get().saturating_sub(1));
        self.listener.stats.connections_active.dec();
        self.worker.log.passed(
            b"",
            &Outcome {
                instance: &self.listener.instance.shared.name,
                listener: &self.listener.name,
                status: 0,
                flags: "",
                bytes_in: self.received.get(),
                bytes_out: self.sent.get(),
                micros: u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX),
                upstream: &self.host.text,
            },
        );
    }
}

/// A socket that sends to one address only, and hears from it only.
fn connected(address: SocketAddr) -> io::Result<UdpSocket> {
    let own: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(own)?;
    socket.set_nonblocking(true)?;
    socket.connect(address)?;
    UdpSocket::from_std(socket)
}
