//! HTTP/1.1 connections to endpoints: one request at a time.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use hyper::client::conn::http1::{Builder, Parts, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

use super::body::RequestBody;
use super::dial::DialError;
use super::link::Link;
use super::pool::Open;

/// What is left of a connection that was upgraded.
pub(super) type Upgraded = Parts<TokioIo<Link>>;

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
    /// The tick at which it was made.
    pub(super) opened: u32,
    /// The tick since when it is idle.
    pub(super) since: Cell<u32>,
    remains: Rc<Remains>,
}

impl Connection {
    /// Begins HTTP/1.1 on a stream of bytes.
    pub(super) async fn begin(link: Link, open: Open, tick: u32) -> Result<Self, DialError> {
        let (sender, mut connection) = Builder::new()
            .max_buf_size(BUFFER)
            .handshake::<_, RequestBody>(TokioIo::new(link))
            .await
            .map_err(io::Error::other)?;
        let remains: Rc<Remains> = Rc::default();
        let leave = Rc::downgrade(&remains);
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
        Ok(Self { sender, used: Cell::new(0), opened: tick, since: Cell::new(tick), remains })
    }

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
