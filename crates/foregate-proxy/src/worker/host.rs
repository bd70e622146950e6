//! One endpoint: its address and its idle connections.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use super::pool::Connection;

/// Idle connections kept per host and worker.
const MAX_IDLE: usize = 256;

/// One endpoint.
pub(super) struct Host {
    pub(super) address: SocketAddr,
    /// The address, for the access log.
    pub(super) text: Box<str>,
    /// The newest last: it is the one most likely to be alive, and in caches.
    idle: RefCell<Vec<Connection>>,
    /// Requests under way.
    pub(super) active: Cell<u32>,
    gone: Cell<bool>,
}

impl Host {
    pub(super) fn new(address: SocketAddr) -> Rc<Self> {
        Rc::new(Self {
            address,
            text: address.to_string().into(),
            idle: RefCell::new(Vec::new()),
            active: Cell::new(0),
            gone: Cell::new(false),
        })
    }

    /// An idle connection that is open and ready.
    #[inline]
    pub(super) fn checkout(&self) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            if idle[at].sender.is_closed() {
                idle.swap_remove(at);
                at = at.min(idle.len());
            } else if idle[at].sender.is_ready() {
                return Some(idle.remove(at));
            }
        }
        None
    }

    /// Takes a connection back.
    #[inline]
    pub(super) fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if !self.gone.get() && idle.len() < MAX_IDLE && !connection.sender.is_closed() {
            idle.push(connection);
        }
    }

    /// Lets connections go that are closed, or idle since before a tick.
    pub(super) fn prune(&self, before: impl Fn(u32) -> bool) {
        self.idle.borrow_mut().retain(|connection| !connection.sender.is_closed() && !before(connection.since.get()));
    }

    /// It is no endpoint any more: idle connections close, others when they are done.
    pub(super) fn retire(&self) {
        self.gone.set(true);
        self.idle.borrow_mut().clear();
    }
}
