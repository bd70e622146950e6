//! Connections to endpoints: made when none is idle, given back when a response has been read to its end.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::{Builder, Parts, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::body::RequestBody;
use super::host::Host;
use super::plain::Plain;
use super::upstream::Upstream;
use crate::config::cluster::ClusterConfig;
use crate::metrics::ClusterStats;

/// What is left of a connection that was upgraded.
pub(super) type Upgraded = Parts<TokioIo<Plain>>;

/// Where a connection's task leaves what remains, and who waits for it: either may come first.
#[derive(Default)]
struct Remains {
    parts: Cell<Option<Upgraded>>,
    waiter: Cell<Option<oneshot::Sender<Upgraded>>>,
}

/// Most bytes of a response's head, and of what is read at once.
const BUFFER: usize = 64 * 1024;

/// A connection to an endpoint.
pub(super) struct Connection {
    pub(super) sender: SendRequest<RequestBody>,
    /// Requests that it has carried.
    pub(super) used: Cell<u32>,
    /// The tick since when it is idle.
    pub(super) since: Cell<u32>,
    remains: Rc<Remains>,
}

impl Connection {
    /// After a 101, gives the bare connection.
    pub(super) fn upgraded(self) -> oneshot::Receiver<Upgraded> {
        let (sender, receiver) = oneshot::channel();
        match self.remains.parts.take() {
            Some(parts) => drop(sender.send(parts)),
            None => self.remains.waiter.set(Some(sender)),
        }
        receiver
    }
}

/// A connection in use; it goes back to its host when [`Lease::release`] says so, and is closed otherwise.
pub(super) struct Lease {
    connection: Option<Connection>,
    pub(super) host: Rc<Host>,
    pub(super) upstream: Rc<Upstream>,
    max_requests: Option<u32>,
}

impl Lease {
    pub(super) fn new(connection: Connection, host: Rc<Host>, upstream: Rc<Upstream>, config: &ClusterConfig) -> Self {
        host.active.set(host.active.get() + 1);
        upstream.active.set(upstream.active.get() + 1);
        Self { connection: Some(connection), host, upstream, max_requests: config.max_requests_per_connection }
    }

    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }

    /// The response has been read to its end: somebody else may have the connection.
    #[inline]
    pub(super) fn release(mut self, tick: u32) {
        if let Some(connection) = self.connection.take() {
            let used = connection.used.get() + 1;
            connection.used.set(used);
            connection.since.set(tick);
            if self.max_requests.is_none_or(|max| used < max) {
                self.host.give_back(connection);
            }
        }
    }

    pub(super) fn into_upgraded(mut self) -> Option<oneshot::Receiver<Upgraded>> {
        self.connection.take().map(Connection::upgraded)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.host.active.set(self.host.active.get().saturating_sub(1));
        self.upstream.active.set(self.upstream.active.get().saturating_sub(1));
    }
}

/// Counts an open connection for as long as it lives.
struct Open {
    stats: Arc<ClusterStats>,
    open: Rc<Cell<u32>>,
}

impl Open {
    fn new(upstream: &Upstream) -> Self {
        upstream.stats.connections.inc();
        upstream.stats.connections_active.inc();
        upstream.open.set(upstream.open.get() + 1);
        Self { stats: Arc::clone(&upstream.stats), open: Rc::clone(&upstream.open) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.stats.connections_active.dec();
        self.open.set(self.open.get().saturating_sub(1));
    }
}

/// Connects to a host.
pub(super) async fn connect(upstream: &Upstream, host: &Host, timeout: Duration) -> io::Result<Connection> {
    let connected = tokio::time::timeout(timeout, TcpStream::connect(host.address)).await;
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            upstream.stats.connect_failures.inc();
            return Err(error);
        }
        Err(_) => {
            upstream.stats.connect_failures.inc();
            return Err(io::ErrorKind::TimedOut.into());
        }
    };
    let _ = stream.set_nodelay(true);
    let (sender, mut connection) = Builder::new()
        .max_buf_size(BUFFER)
        .handshake::<_, RequestBody>(TokioIo::new(Plain(stream)))
        .await
        .map_err(io::Error::other)?;
    let remains: Rc<Remains> = Rc::default();
    let leave = Rc::downgrade(&remains);
    let open = Open::new(upstream);
    tokio::task::spawn_local(async move {
        let ended = std::future::poll_fn(|cx| Future::poll(Pin::new(&mut connection), cx)).await;
        drop(open);
        if ended.is_ok()
            && let Some(remains) = leave.upgrade()
        {
            match remains.waiter.take() {
                Some(waiter) => drop(waiter.send(connection.into_parts())),
                None => remains.parts.set(Some(connection.into_parts())),
            }
        }
    });
    Ok(Connection { sender, used: Cell::new(0), since: Cell::new(0), remains })
}
