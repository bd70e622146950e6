//! Connections to endpoints: made when none is free, given back when a response has been read to its end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::Either;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::sync::{Notify, oneshot};

use super::attempt::Failure;
use super::body::RequestBody;
use super::dial::{self, DialError, Speak};
use super::host::{Connecting, Host};
use super::link::Link;
use super::multiplexed::{Multiplexed, to_http1, to_http2};
use super::plain::PlainConnection;
use super::single::Connection;
pub(super) use super::single::Upgraded;
use super::upstream::Upstream;
use crate::config::hcm::SchemeOf;
use crate::metrics::ClusterStats;

/// A connection that carries a request.
pub(super) enum Carrier {
    /// The request has it for itself.
    Own(Connection),
    /// The request has it for itself, and has no body.
    Plain(Box<PlainConnection>),
    /// Others use it too.
    Shared(Rc<Multiplexed>),
}

/// A connection that was made for all who waited for it.
#[derive(Clone)]
pub(super) enum Made {
    /// Only the first of them can have it.
    Own(Rc<RefCell<Option<Connection>>>),
    /// The same, for requests without a body.
    Plain(Rc<RefCell<Option<Box<PlainConnection>>>>),
    /// All can use it, as far as there is room.
    Shared(Rc<Multiplexed>),
}

/// What comes of sending a request.
pub(super) type Sent = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

/// A connection in use; it goes back to its host when [`Lease::release`] says so, and is closed otherwise.
pub(super) struct Lease {
    carrier: Option<Carrier>,
    pub(super) host: Rc<Host>,
    pub(super) upstream: Rc<Upstream>,
}

impl Lease {
    pub(super) fn new(carrier: Carrier, host: &Rc<Host>, upstream: &Rc<Upstream>) -> Self {
        host.active.set(host.active.get() + 1);
        upstream.active.set(upstream.active.get() + 1);
        if let Carrier::Shared(connection) = &carrier {
            connection.enter();
        }
        Self { carrier: Some(carrier), host: Rc::clone(host), upstream: Rc::clone(upstream) }
    }

    /// Whether others use the connection too.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.carrier, Some(Carrier::Shared(_)))
    }

    /// Sends a request, in the form that the connection wants.
    #[inline]
    pub(super) fn send(
        &mut self,
        mut request: Request<RequestBody>,
        scheme: SchemeOf,
    ) -> impl Future<Output = Sent> + use<> {
        match &mut self.carrier {
            Some(Carrier::Own(connection)) => {
                to_http1(&mut request);
                Either::Left(connection.sender.try_send_request(request))
            }
            Some(Carrier::Shared(connection)) => {
                let own = (scheme == SchemeOf::Endpoint).then(|| self.upstream.cluster().config.tls.is_some());
                to_http2(&mut request, own);
                // In a box, so that the usual kind needs no room for it.
                Either::Right(connection.send(request).boxed_local())
            }
            // Nobody sends on a connection that was given away, nor a whole request on one for heads; to wait for ever is
            // harmless.
            Some(Carrier::Plain(_)) | None => Either::Right(std::future::pending().boxed_local()),
        }
    }

    /// The connection, if it is one for requests without a body.
    #[inline]
    pub(super) fn plain(&mut self) -> Option<&mut PlainConnection> {
        match &mut self.carrier {
            Some(Carrier::Plain(connection)) => Some(connection),
            _ => None,
        }
    }

    /// The response has been read to its end: somebody else may have the connection.
    #[inline]
    pub(super) fn release(mut self, tick: u32) {
        match self.carrier.take() {
            Some(Carrier::Own(connection)) => {
                let used = connection.used.get() + 1;
                connection.used.set(used);
                connection.since.set(tick);
                if self.upstream.may_keep(used, connection.opened, tick) {
                    self.host.give_back(connection);
                }
            }
            Some(Carrier::Plain(mut connection)) => {
                connection.rest(tick);
                if connection.may_follow() && self.upstream.may_keep(connection.used, connection.opened, tick) {
                    self.host.give_back_plain(connection);
                }
            }
            shared => self.carrier = shared,
        }
    }

    pub(super) fn into_upgraded(mut self) -> Option<oneshot::Receiver<Upgraded>> {
        match self.carrier.take() {
            Some(Carrier::Own(connection)) => Some(connection.upgraded()),
            _ => None,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.host.active.set(self.host.active.get().saturating_sub(1));
        self.upstream.active.set(self.upstream.active.get().saturating_sub(1));
        if let Some(Carrier::Shared(connection)) = &self.carrier {
            connection.leave(self.upstream.tick());
            self.host.freed.notify_one();
        }
    }
}

/// Counts a connection from the beginning of its making for as long as it lives.
pub(super) struct Open {
    stats: Arc<ClusterStats>,
    counts: [Rc<Cell<u32>>; 2],
    freed: Rc<Notify>,
    established: bool,
}

impl Open {
    pub(super) fn new(upstream: &Upstream, host: &Host) -> Self {
        let counts = [Rc::clone(&upstream.open), Rc::clone(&host.open)];
        counts.iter().for_each(|count| count.set(count.get() + 1));
        Self { stats: Arc::clone(&upstream.stats), counts, freed: Rc::clone(&host.freed), established: false }
    }

    pub(super) fn established(mut self) -> Self {
        self.established = true;
        self.stats.connections.inc();
        self.stats.connections_active.inc();
        self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.established {
            self.stats.connections_active.dec();
        }
        self.counts.iter().for_each(|count| count.set(count.get().saturating_sub(1)));
        self.freed.notify_one();
    }
}

/// Connections in a row that can take no request although they are new: such an endpoint is given up.
const MOST_USELESS: u32 = 8;

/// A connection to a host, when none is free: a new one, or one that somebody gives back.
pub(super) async fn wait(upstream: &Rc<Upstream>, host: &Rc<Host>, speak: Speak) -> Result<Carrier, Failure> {
    let mut useless = 0;
    while useless < MOST_USELESS {
        let limit = upstream.cluster().config.limits.connections;
        // A host without any connection gets one in any case: nobody would ever come to its requests otherwise.
        if upstream.open.get() >= limit && host.open.get() > 0 {
            host.make_room(speak);
            queue(upstream, host).await?;
        } else if matches!(speak, Speak::Http1 | Speak::Plain) || host.agreed.get() == Some(Speak::Http1) {
            return make(Rc::clone(upstream), Rc::clone(host), speak).await.map(first).map_err(Failure::Connect)?;
        } else {
            let made = connecting(upstream, host, speak).await.unwrap_or(Err(DialError::Timeout));
            match made.map_err(Failure::Connect)? {
                Made::Shared(connection) if connection.has_room() => return Ok(Carrier::Shared(connection)),
                Made::Shared(connection) => useless += u32::from(connection.is_useless()),
                made => {
                    if let Ok(carrier) = first(made) {
                        return Ok(carrier);
                    }
                }
            }
        }
        if let Some(carrier) = host.checkout(speak) {
            return Ok(carrier);
        }
    }
    Err(Failure::Overflow)
}

fn first(made: Made) -> Result<Carrier, Failure> {
    match made {
        Made::Shared(connection) => Ok(Carrier::Shared(connection)),
        Made::Own(connection) => connection.take().map(Carrier::Own).ok_or(Failure::Overflow),
        Made::Plain(connection) => connection.take().map(Carrier::Plain).ok_or(Failure::Overflow),
    }
}

/// Waits until a connection may be free.
async fn queue(upstream: &Upstream, host: &Host) -> Result<(), Failure> {
    if upstream.pending.get() >= upstream.cluster().config.limits.pending {
        return Err(Failure::Overflow);
    }
    struct Waiting<'a>(&'a Cell<u32>);
    impl Drop for Waiting<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }
    upstream.pending.set(upstream.pending.get() + 1);
    let _waiting = Waiting(&upstream.pending);
    host.freed.notified().await;
    Ok(())
}

/// The connection that is being made to a host, if one is and has room for another request, else a new one.
fn connecting(upstream: &Rc<Upstream>, host: &Rc<Host>, speak: Speak) -> Connecting {
    if let Some((connecting, waiting)) = &mut *host.connecting.borrow_mut()
        && *waiting < host.room.get()
    {
        *waiting += 1;
        return connecting.clone();
    }
    let (sender, receiver) = oneshot::channel();
    let connecting = receiver.shared();
    host.connecting.replace(Some((connecting.clone(), 1)));
    let made = connecting.clone();
    let (upstream, host) = (Rc::clone(upstream), Rc::clone(host));
    // On its own, so that it goes on when the one who asked for it doesn't wait any longer.
    tokio::task::spawn_local(async move {
        let result = make(upstream, Rc::clone(&host), speak).await;
        // Unless a newer one is being made by now.
        let mut slot = host.connecting.borrow_mut();
        if slot.as_ref().is_some_and(|(newest, _)| newest.ptr_eq(&made)) {
            *slot = None;
        }
        let _ = sender.send(result);
    });
    connecting
}

/// A connection of a client's own, counted like any other.
pub(super) async fn connect(upstream: &Rc<Upstream>, host: &Rc<Host>) -> Result<(Link, Open), DialError> {
    let open = Open::new(upstream, host);
    let config = Arc::clone(&upstream.cluster().config);
    let dialing = tokio::time::timeout(config.connect_timeout, dial::dial(&config, host, Speak::Bytes)).await;
    match dialing.unwrap_or(Err(DialError::Timeout)) {
        Ok((link, _)) => Ok((link, open.established())),
        Err(error) => {
            failed(upstream, host, &error);
            Err(error)
        }
    }
}

async fn make(upstream: Rc<Upstream>, host: Rc<Host>, speak: Speak) -> Result<Made, DialError> {
    let limit = upstream.cluster().config.connect_timeout;
    let made = tokio::time::timeout(limit, establish(&upstream, &host, speak)).await;
    let made = made.unwrap_or(Err(DialError::Timeout));
    if let Err(error) = &made {
        failed(&upstream, &host, error);
    }
    made
}

/// Counts a connection that couldn't be made.
fn failed(upstream: &Upstream, host: &Host, error: &DialError) {
    upstream.stats.connect_failures.inc();
    if matches!(error, DialError::Tls(_)) {
        upstream.stats.tls_failures.inc();
    }
    if host.may_complain(upstream.tick()) {
        tracing::warn!(cluster = %upstream.name, endpoint = %host.address, %error, "an endpoint can't be reached");
    }
}

async fn establish(upstream: &Rc<Upstream>, host: &Rc<Host>, speak: Speak) -> Result<Made, DialError> {
    let open = Open::new(upstream, host);
    let config = Arc::clone(&upstream.cluster().config);
    let (link, spoken) = dial::dial(&config, host, speak).await?;
    let open = open.established();
    if speak == Speak::Either {
        host.agreed.set(Some(spoken));
    }
    let tick = upstream.tick();
    if spoken == Speak::Plain {
        let connection = Box::new(PlainConnection::new(link, open, tick));
        return Ok(Made::Plain(Rc::new(RefCell::new(Some(connection)))));
    }
    if spoken != Speak::Http2 {
        let connection = Connection::begin(link, open, tick).await?;
        return Ok(Made::Own(Rc::new(RefCell::new(Some(connection)))));
    }
    let max_requests = config.http.max_requests_per_connection;
    let connection = Multiplexed::begin(link, open, &config.http.http2, max_requests, tick).await?;
    host.room.set(connection.room().max(1));
    host.share(&connection);
    Ok(Made::Shared(connection))
}
