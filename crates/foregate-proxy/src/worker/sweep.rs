//! Deadlines: every tick looks at all connections, so that no request pays for a timer.

use std::rc::{Rc, Weak};
use std::time::Duration;

use super::accept::is_configured;
use super::connection::{ConnectionState, Limits, ListenerState, Order, Protocol};
use super::stream::{Late, Phase, StreamState};
use super::{TICK, Worker};

/// Who has been busy within so long a time may be sending a request at this moment.
const LIVELY: Duration = Duration::from_secs(1);
/// Ticks that an HTTP/2 connection without requests gets to close after it was told to.
const FAREWELL: u32 = 20;

/// A duration in ticks, at least one; 0 for none.
pub(super) fn ticks(duration: Option<Duration>) -> u32 {
    duration
        .map_or(0, |duration| u32::try_from(duration.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u32::MAX).max(1))
}

impl Worker {
    /// Ends what has taken too long.
    pub(super) fn sweep(&self) {
        let now = self.tick.get();
        let (mut orders, mut late) = (Vec::new(), Vec::new());
        self.connections.borrow_mut().retain(|connection| {
            let Some(connection) = connection.upgrade() else { return false };
            orders.extend(overdue(&connection, now, &mut late).map(|order| (Rc::clone(&connection), order)));
            true
        });
        for (stream, why) in late {
            stream.end(why);
        }
        for (connection, order) in orders {
            connection.order(order);
        }
        if now.is_multiple_of(8) {
            self.prune(now);
        }
    }

    /// Closes connections to endpoints that have been idle for too long.
    fn prune(&self, now: u32) {
        for instance in self.instances.borrow().values() {
            instance.prune(now);
        }
    }

    /// Waits until a listener's connections are done, and closes those that aren't in time.
    ///
    /// A connection that is closed between two requests fails a request that is on its way already. As long as the
    /// listener's routes are there, because the whole instance goes, clients that were busy a moment ago are told with
    /// their next response; only those that stay idle are closed.
    pub(super) async fn drain(self: Rc<Self>, listener: Rc<ListenerState>, limit: Duration) {
        listener.draining.set(true);
        let empty = async {
            loop {
                let notified = listener.empty.notified();
                if listener.open.get() == 0 {
                    break;
                }
                notified.await;
            }
        };
        let mut empty = std::pin::pin!(tokio::time::timeout(limit, empty));
        if is_configured(&listener) {
            let now = self.tick.get();
            self.order_all(&listener, Order::Drain, |connection| !is_lively(connection, now));
            if tokio::time::timeout(LIVELY.min(limit), &mut empty).await.is_ok_and(|empty| empty.is_ok()) {
                return;
            }
        }
        self.order_all(&listener, Order::Drain, |_| true);
        if empty.await.is_err() {
            self.order_all(&listener, Order::Kill, |_| true);
        }
    }

    fn order_all(&self, listener: &Rc<ListenerState>, order: Order, whom: impl Fn(&ConnectionState) -> bool) {
        let connections: Vec<_> = self.connections.borrow().iter().filter_map(std::rc::Weak::upgrade).collect();
        for connection in connections {
            if Rc::ptr_eq(&connection.listener, listener) && whom(&connection) {
                connection.order(order);
            }
        }
    }
}

/// Whether a client of HTTP/1.1 sends requests one after the other. To one of HTTP/2 GOAWAY says which still count.
fn is_lively(connection: &ConnectionState, now: u32) -> bool {
    let rests = |stream: Rc<StreamState>| {
        stream.phase.get() == Phase::Idle && Limits::over(now, stream.since.get(), ticks(Some(LIVELY)))
    };
    connection.protocol.get() == Protocol::Http1
        && connection.requests.get() > 0
        && !connection.streams.borrow().first().and_then(Weak::upgrade).is_some_and(rests)
}

/// What has to happen to a connection, or to one of its streams, at this tick.
fn overdue(connection: &ConnectionState, now: u32, late: &mut Vec<(Rc<StreamState>, Late)>) -> Option<Order> {
    let limits = connection.limits.get();
    match connection.protocol.get() {
        Protocol::Unknown => Limits::over(now, connection.quiet_since.get(), limits.head).then_some(Order::Kill),
        Protocol::Http1 => {
            let stream = connection.streams.borrow().first()?.upgrade()?;
            let over = |since, limit| Limits::over(now, since, limit);
            match stream.phase.get() {
                Phase::Idle if over(stream.since.get(), limits.idle) => Some(Order::Drain),
                Phase::Idle if over(connection.opened, limits.lifetime) => Some(Order::Drain),
                Phase::Head if over(stream.since.get(), limits.head) => Some(Order::Timeout),
                _ => {
                    let why = stream.overdue(now)?;
                    late.push((stream, why));
                    Some(if why == Late::Answer { Order::Timeout } else { Order::Kill })
                }
            }
        }
        Protocol::Http2 => overdue_http2(connection, now, late),
        Protocol::Tcp => overdue_tcp(connection, now),
    }
}

/// A connection whose filter chain is gone may go on for as long as others get when their listener goes.
fn overdue_tcp(connection: &ConnectionState, now: u32) -> Option<Order> {
    connection.look_after_chain(now);
    let limits = connection.limits.get();
    let drain = ticks(Some(connection.listener.instance.shared.drain));
    let over = |since, limit| Limits::over(now, since, limit);
    let idle = over(connection.quiet_since.get(), limits.idle);
    let orphaned = connection.ending.get().is_some_and(|since| over(since, drain));
    (idle || orphaned || over(connection.opened, limits.lifetime)).then_some(Order::Kill)
}

/// Streams end one by one. A connection without any is told to go when it has been idle for too long, and closed if it
/// doesn't.
fn overdue_http2(connection: &ConnectionState, now: u32, late: &mut Vec<(Rc<StreamState>, Late)>) -> Option<Order> {
    let limits = connection.limits.get();
    let streams = connection.streams.borrow();
    for stream in streams.iter().filter_map(Weak::upgrade) {
        late.extend(stream.overdue(now).map(|why| (stream, why)));
    }
    if let Some(since) = connection.ending.get() {
        return (streams.is_empty() && Limits::over(now, since.max(connection.quiet_since.get()), FAREWELL))
            .then_some(Order::Kill);
    }
    let over = |since, limit| Limits::over(now, since, limit);
    let quiet = connection.quiet_since.get();
    let idle = streams.is_empty() && over(quiet, limits.idle);
    let silent = connection.requests.get() == 0 && over(quiet, limits.head);
    (idle || silent || over(connection.opened, limits.lifetime)).then_some(Order::Drain)
}
