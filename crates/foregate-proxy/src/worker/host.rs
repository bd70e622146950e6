//! One endpoint: its address and its connections that can take requests.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::Notify;

use super::dial::{DialError, Speak};
use super::multiplexed::Multiplexed;
use super::outlier::Record;
use super::plain::PlainConnection;
use super::pool::{Carrier, Made};
use super::single::Connection;
use crate::snapshot::Endpoint;

/// Idle connections kept per host and worker.
const MAX_IDLE: usize = 256;

/// A connection that is being made, for all who wait for it.
pub(super) type Connecting = futures::future::Shared<tokio::sync::oneshot::Receiver<Result<Made, DialError>>>;

/// One endpoint.
pub(super) struct Host {
    pub(super) address: crate::snapshot::Address,
    /// What it is called.
    pub(super) name: std::sync::Arc<str>,
    /// The address, for the access log.
    pub(super) text: Box<str>,
    /// The newest last: it is the one most likely to be alive, and in caches.
    idle: RefCell<Vec<Connection>>,
    /// Those for requests without a body.
    #[allow(clippy::vec_box, reason = "they go in and out as they are")]
    plain: RefCell<Vec<Box<PlainConnection>>>,
    /// HTTP/2 connections.
    shared: RefCell<Vec<Rc<Multiplexed>>>,
    /// An HTTP/2 connection, or one that may become one, that is being made, and how many requests wait for it.
    pub(super) connecting: RefCell<Option<(Connecting, u32)>>,
    /// Requests that a connection takes at a time, as far as is known.
    pub(super) room: Cell<u32>,
    /// What the last TLS handshake agreed on.
    pub(super) agreed: Cell<Option<Speak>>,
    /// Requests under way.
    pub(super) active: Cell<u32>,
    /// Connections that are open.
    pub(super) open: Rc<Cell<u32>>,
    /// Told when a connection may have become free.
    pub(super) freed: Rc<Notify>,
    /// What has been seen of it.
    pub(super) record: Record,
    gone: Cell<bool>,
    /// The tick of the last line in the log about it.
    complained: Cell<Option<u32>>,
}

impl Host {
    pub(super) fn new(endpoint: &Endpoint) -> Rc<Self> {
        Rc::new(Self {
            address: endpoint.address.clone(),
            name: std::sync::Arc::clone(&endpoint.name),
            text: endpoint.address.to_string().into(),
            idle: RefCell::new(Vec::new()),
            plain: RefCell::new(Vec::new()),
            shared: RefCell::new(Vec::new()),
            connecting: RefCell::new(None),
            room: Cell::new(u32::MAX),
            agreed: Cell::new(None),
            active: Cell::new(0),
            open: Rc::new(Cell::new(0)),
            freed: Rc::new(Notify::new()),
            record: Record::default(),
            gone: Cell::new(false),
            complained: Cell::new(None),
        })
    }

    /// A connection that is open and can take a request.
    #[inline]
    pub(super) fn checkout(&self, speak: Speak) -> Option<Carrier> {
        match (speak, self.agreed.get()) {
            (Speak::Plain, _) => self.take_plain().map(Carrier::Plain),
            (Speak::Http1, _) | (Speak::Either, Some(Speak::Http1)) => self.take_idle().map(Carrier::Own),
            _ => self.with_room().map(Carrier::Shared),
        }
    }

    #[inline]
    fn take_idle(&self) -> Option<Connection> {
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

    #[inline]
    fn take_plain(&self) -> Option<Box<PlainConnection>> {
        let mut plain = self.plain.borrow_mut();
        loop {
            let mut connection = plain.pop()?;
            if !connection.is_stale() {
                return Some(connection);
            }
        }
    }

    fn with_room(&self) -> Option<Rc<Multiplexed>> {
        let mut shared = self.shared.borrow_mut();
        let mut at = 0;
        while let Some(connection) = shared.get(at) {
            if connection.is_spent() {
                shared.swap_remove(at);
            } else if connection.has_room() {
                return Some(Rc::clone(connection));
            } else {
                at += 1;
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
        drop(idle);
        self.freed.notify_one();
    }

    /// Takes back one for requests without a body.
    #[inline]
    pub(super) fn give_back_plain(&self, connection: Box<PlainConnection>) {
        let mut plain = self.plain.borrow_mut();
        if !self.gone.get() && plain.len() < MAX_IDLE {
            plain.push(connection);
        }
        drop(plain);
        self.freed.notify_one();
    }

    /// Closes an idle connection that is of no use for what is to be spoken, if there is one.
    pub(super) fn make_room(&self, speak: Speak) {
        match speak {
            Speak::Plain => drop(self.idle.borrow_mut().pop()),
            Speak::Http1 => drop(self.plain.borrow_mut().pop()),
            Speak::Http2 | Speak::Either | Speak::Bytes => {
                drop((self.idle.borrow_mut().pop(), self.plain.borrow_mut().pop()));
            }
        }
    }

    /// Lets others use a connection.
    pub(super) fn share(&self, connection: &Rc<Multiplexed>) {
        if !self.gone.get() {
            self.shared.borrow_mut().push(Rc::clone(connection));
        }
    }

    /// Lets connections go that are closed, idle since a tick that is too long ago, or too old.
    pub(super) fn prune(&self, idle_too_long: impl Fn(u32) -> bool, too_old: impl Fn(u32) -> bool) {
        self.idle.borrow_mut().retain(|connection| {
            !connection.sender.is_closed() && !idle_too_long(connection.since.get()) && !too_old(connection.opened)
        });
        self.plain.borrow_mut().retain_mut(|connection| {
            !connection.is_stale() && !idle_too_long(connection.since) && !too_old(connection.opened)
        });
        self.shared.borrow_mut().retain(|connection| {
            !connection.is_spent()
                && !connection.idle_since().is_some_and(&idle_too_long)
                && !too_old(connection.opened)
        });
    }

    /// Whether the log may have another line about it: one a minute.
    pub(super) fn may_complain(&self, now: u32) -> bool {
        let minute = super::sweep::ticks(Some(std::time::Duration::from_secs(60)));
        let may = self.complained.get().is_none_or(|last| now.wrapping_sub(last) >= minute);
        if may {
            self.complained.set(Some(now));
        }
        may
    }

    /// Whether it is no endpoint any more.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// It is no endpoint any more: idle connections close, others when they are done.
    pub(super) fn retire(&self) {
        self.gone.set(true);
        self.idle.borrow_mut().clear();
        self.plain.borrow_mut().clear();
        self.shared.borrow_mut().clear();
    }
}
