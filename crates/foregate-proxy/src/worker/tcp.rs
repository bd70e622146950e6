//! Connections whose bytes are passed on as they are: TCP, TLS that an endpoint terminates, and what is in TLS.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::affinity;
use super::connection::{ConnectionState, Limits, Order, Protocol};
use super::dial::DialError;
use super::flow::Flow;
use super::host::Host;
use super::io::ClientStream;
use super::link::Link;
use super::logging::Outcome;
use super::pool::{self, Open};
use super::sweep::ticks;
use super::upstream::Upstream;
use crate::config::tcp_proxy::TcpOptions;
use crate::snapshot::{FilterChain, Listener};

/// Passes on the bytes of a client's connection, until both sides have closed it.
pub(super) async fn serve(
    state: Rc<ConnectionState>,
    listener: Arc<Listener>,
    chain: &FilterChain,
    options: Arc<TcpOptions>,
    mut client: ClientStream,
) {
    state.protocol.set(Protocol::Tcp);
    state.follow_chain(&chain.key, listener);
    state.limits.set(Limits {
        idle: ticks(options.idle_timeout),
        lifetime: ticks(options.max_duration),
        ..Limits::default()
    });
    let mut relay = Relay::new(&state);
    let connected = until_ordered(&state, connect(&state, &options)).await;
    let (mut link, lease) = match connected {
        Some(Ok(connected)) => connected,
        Some(Err(flags)) => return relay.flags = flags,
        None => return,
    };
    relay.upstream = Some(Rc::clone(&lease.host));
    let broken = until_ordered(&state, relay.run(&mut client, &mut link, &lease)).await;
    if let Some(Err(error)) = broken {
        tracing::debug!(client = %state.remote, %error, "a connection broke");
        // Who was cut off is told so: it must not look as if all had been said.
        if error.kind() == io::ErrorKind::ConnectionReset {
            client.reset_at_end();
            link.reset_at_end();
        }
    }
}

/// Something on the way, unless the connection has to end first.
async fn until_ordered<F: Future>(state: &ConnectionState, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        // A drain waits for the end of what is under way, and that is the whole connection.
        if matches!(state.take_order(cx), Some(Order::Kill | Order::Timeout)) {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// An endpoint that a connection is counted for.
struct Lease {
    host: Rc<Host>,
    upstream: Rc<Upstream>,
    _open: Open,
}

impl Lease {
    fn new(host: Rc<Host>, upstream: Rc<Upstream>, open: Open) -> Self {
        host.active.set(host.active.get() + 1);
        upstream.active.set(upstream.active.get() + 1);
        Self { host, upstream, _open: open }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.host.active.set(self.host.active.get().saturating_sub(1));
        self.upstream.active.set(self.upstream.active.get().saturating_sub(1));
    }
}

/// Connects to an endpoint; otherwise says why not, in Envoy's letters.
async fn connect(state: &ConnectionState, options: &TcpOptions) -> Result<(Link, Lease), &'static str> {
    let instance = &state.listener.instance;
    let cluster = options.target.choose();
    let upstream =
        cluster.and_then(|slot| instance.upstream(&instance.snapshot(), slot.number, &state.worker.registry));
    let upstream = upstream.ok_or("NC")?;
    let hash = options.hash_source_ip.then(|| affinity::of_address(state.remote.ip()));
    let mut avoid: Option<Rc<Host>> = None;
    for _ in 0..options.attempts {
        let mut host = upstream.choose(hash, avoid.as_ref());
        if host.is_none() && upstream.cluster().warming {
            host = upstream.choose_when_warm(hash).await;
        }
        let Some(host) = host else {
            upstream.stats.no_endpoint.inc();
            return Err("UH");
        };
        if upstream.open.get() >= upstream.cluster().config.limits.connections {
            return Err("UO");
        }
        match pool::connect(&upstream, &host).await {
            Ok((link, open)) => {
                upstream.judge(&host, Some(200));
                return Ok((link, Lease::new(host, Rc::clone(&upstream), open)));
            }
            Err(DialError::Timeout | DialError::Io(_) | DialError::Tls(_)) => {
                upstream.judge(&host, None);
                avoid = Some(host);
            }
        }
    }
    Err("UF,URX")
}

/// What is counted of a connection, and logged when it is over.
struct Relay<'a> {
    state: &'a ConnectionState,
    start: Instant,
    /// From the client, and to it.
    flows: [Flow; 2],
    flags: &'static str,
    upstream: Option<Rc<Host>>,
}

impl<'a> Relay<'a> {
    fn new(state: &'a ConnectionState) -> Self {
        Self { state, start: Instant::now(), flows: Default::default(), flags: "", upstream: None }
    }

    async fn run(&mut self, client: &mut ClientStream, link: &mut Link, lease: &Lease) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll(cx, client, link, lease)).await
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut ClientStream,
        link: &mut Link,
        lease: &Lease,
    ) -> Poll<io::Result<()>> {
        let state = self.state;
        let [up, down] = &mut self.flows;
        let listener = &state.listener.stats;
        let cluster = &lease.upstream.stats;
        let moved = || state.quiet_since.set(state.worker.tick.get());
        let sent = up.poll(cx, (&mut *client, &mut *link), &state.worker, |count| {
            moved();
            listener.received.add(count as u64);
            cluster.sent.add(count as u64);
        })?;
        let received = down.poll(cx, (link, client), &state.worker, |count| {
            moved();
            listener.sent.add(count as u64);
            cluster.received.add(count as u64);
        })?;
        if sent.is_pending() || received.is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(up.refused.take().or(down.refused.take()).map_or(Ok(()), Err))
    }
}

impl Drop for Relay<'_> {
    fn drop(&mut self) {
        let Self { state, start, flows, flags, upstream } = self;
        if !flags.is_empty() {
            state.listener.stats.unconnected.inc();
        }
        state.worker.log.passed(
            state.server_name.as_deref().unwrap_or_default().as_bytes(),
            &Outcome {
                instance: &state.listener.instance.shared.name,
                listener: &state.listener.name,
                status: 0,
                flags,
                bytes_in: flows[0].bytes,
                bytes_out: flows[1].bytes,
                micros: u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
                upstream: upstream.as_ref().map_or("", |host| &host.text),
            },
        );
    }
}
