//! Deadlines: every tick looks at all connections, so that no request pays for a timer.

use std::rc::Rc;
use std::time::Duration;

use super::connection::{ConnectionState, ListenerState, Order, Phase};
use super::{TICK, Worker};

/// A duration in ticks, at least one; 0 for none.
pub(super) fn ticks(duration: Option<Duration>) -> u32 {
    duration
        .map_or(0, |duration| u32::try_from(duration.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u32::MAX).max(1))
}

impl Worker {
    /// Ends what has taken too long.
    pub(super) fn sweep(&self) {
        let now = self.tick.get();
        let mut late = Vec::new();
        self.connections.borrow_mut().retain(|connection| {
            let Some(connection) = connection.upgrade() else { return false };
            late.extend(overdue(&connection, now).map(|order| (Rc::clone(&connection), order)));
            true
        });
        for (connection, order) in late {
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
    pub(super) async fn drain(self: Rc<Self>, listener: Rc<ListenerState>, limit: Duration) {
        listener.draining.set(true);
        self.order_all(&listener, Order::Drain);
        let empty = async {
            loop {
                let notified = listener.empty.notified();
                if listener.open.get() == 0 {
                    break;
                }
                notified.await;
            }
        };
        if tokio::time::timeout(limit, empty).await.is_err() {
            self.order_all(&listener, Order::Kill);
        }
    }

    fn order_all(&self, listener: &Rc<ListenerState>, order: Order) {
        let connections: Vec<_> = self.connections.borrow().iter().filter_map(std::rc::Weak::upgrade).collect();
        for connection in connections {
            if Rc::ptr_eq(&connection.listener, listener) {
                connection.order(order);
            }
        }
    }
}

fn overdue(connection: &ConnectionState, now: u32) -> Option<Order> {
    let limits = connection.limits.get();
    // A tick has begun already when something is noted in it: one more makes sure that the time is over.
    let over = |since: u32, limit: u32| limit > 0 && now.wrapping_sub(since) > limit;
    match connection.phase.get() {
        Phase::Idle if over(connection.since.get(), limits.idle) => Some(Order::Drain),
        Phase::Idle if over(connection.opened, limits.lifetime) => Some(Order::Drain),
        Phase::Head if over(connection.since.get(), limits.head) => Some(Order::Timeout),
        Phase::Request if over(connection.last.get(), limits.stream_idle) => Some(Order::Timeout),
        Phase::Request if connection.receiving.get() && over(connection.since.get(), limits.request) => {
            Some(Order::Timeout)
        }
        Phase::Response if over(connection.last.get(), limits.stream_idle) => Some(Order::Kill),
        _ => None,
    }
}
