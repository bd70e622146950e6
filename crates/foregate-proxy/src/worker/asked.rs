//! Requests that somebody is asked about, on their way: before they are routed, and after.

use std::rc::Rc;
use std::sync::Arc;

use http::header::HOST;
use http::{Request, StatusCode};
use hyper::body::Incoming;

use super::ask::{Addition, Asking, Refused};
use super::cors::Readable;
use super::edits;
use super::exchange::Exchange;
use super::head::Taken;
use super::instance::Held;
use super::local::LocalReply;
use super::service::{self, Begun, Session, virtual_host};
use super::stream::StreamState;
use crate::config::ext_authz::Authorizer;
use crate::config::hcm::{Asked, HttpOptions};
use crate::config::per_filter::{PerFilter, Setting};
use crate::config::route::Route;
use crate::config::vhost::VirtualHost;
use crate::snapshot::RouteTable;

/// A request that waits for an answer.
pub(super) struct Pending<'a> {
    pub(super) request: Request<Incoming>,
    pub(super) taken: Taken,
    pub(super) exchange: Box<Exchange>,
    /// Its route, if it has got one.
    pub(super) routed: Option<Routed<'a>>,
}

/// A request's route.
pub(super) struct Routed<'a> {
    pub(super) table: &'a RouteTable,
    pub(super) host: &'a VirtualHost,
    pub(super) route: &'a Route,
    /// The page that the request is of may read the response.
    pub(super) readable: Option<Box<Readable<'a>>>,
}

/// Who is asked on a route: the most specific level that says something says it.
pub(super) fn of_route(levels: [&PerFilter; 3]) -> Option<&Authorizer> {
    match levels.into_iter().find_map(|level| level.auth.as_deref()) {
        Some(Setting::On(authorizer)) => Some(authorizer),
        Some(Setting::Off) | None => None,
    }
}

/// Asks whoever is to be asked, in order; `additions` are for the response.
pub(super) async fn run<'a>(
    session: &'a Rc<Session>,
    stream: &'a Rc<StreamState>,
    snapshot: &'a Held,
    options: &'a HttpOptions,
    begun: Begun<'a>,
    additions: &mut Vec<Addition>,
) -> Begun<'a> {
    let asking = Asking { session, stream, snapshot };
    let Begun::Ask(pending) = begun else { return begun };
    let mut pending = *pending;
    if pending.routed.is_none() {
        if let Err(refused) = before_routing(&asking, options, &mut pending, additions).await {
            return Begun::Done(refused.into_response(pending.exchange));
        }
        let Pending { request, taken, exchange, .. } = pending;
        match service::route(session, stream, snapshot, options, request, taken, exchange) {
            Begun::Ask(next) => pending = *next,
            done => return done,
        }
    }
    let Pending { mut request, mut taken, mut exchange, routed } = pending;
    let Some(routed) = routed else {
        let reply = LocalReply::new(StatusCode::INTERNAL_SERVER_ERROR, "", None);
        return Begun::Done(reply.into_response(exchange));
    };
    let levels = [&routed.route.filters, &routed.host.filters, &routed.table.options.filters];
    let asked = match of_route(levels) {
        // The listener doesn't know of such routes: nobody passes.
        Some(_) if !options.may_ask => Err(LocalReply::new(StatusCode::INTERNAL_SERVER_ERROR, "", None).into()),
        Some(authorizer) => asking.ask(authorizer, &mut request, &mut taken, additions).await,
        None => Ok(()),
    };
    let Err(refused) = asked else {
        return service::act(session, stream, snapshot, options, request, taken, (routed, exchange));
    };
    let place = edits::Place { options, table: routed.table, host: routed.host, route: routed.route, weighted: None };
    place.remember(&mut exchange, (request.method(), request.uri()), request.headers());
    let mut response = refused.into_response(exchange);
    edits::edit_response(&mut response, place);
    routed.readable.iter().for_each(|readable| readable.say(response.headers_mut()));
    Begun::Done(response)
}

/// Those of the listener. Nobody can change the host, and so they are the same from the first to the last.
async fn before_routing(
    asking: &Asking<'_>,
    options: &HttpOptions,
    pending: &mut Pending<'_>,
    additions: &mut Vec<Addition>,
) -> Result<(), Refused> {
    let authority = pending.request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let table = asking.snapshot.routes.get(options.routes.number);
    let host = table.and_then(|table| virtual_host(table, authority));
    let switched = switches(host, table);
    // A filter that a virtual host relies on and that isn't there lets nobody pass.
    let is_known = |name: &str| options.asks.iter().any(|asked| *asked.name == *name);
    if switched.iter().flat_map(|level| level.iter()).any(|(name, on)| *on && !is_known(name)) {
        return Err(LocalReply::new(StatusCode::INTERNAL_SERVER_ERROR, "", None).into());
    }
    for asked in options.asks.iter().filter(|asked| is_on(asked, &switched)) {
        asking.ask(&asked.authorizer, &mut pending.request, &mut pending.taken, additions).await?;
    }
    Ok(())
}

type Switches<'a> = [&'a [(Box<str>, bool)]; 2];

/// What virtual host and route configuration say, the more specific first.
fn switches<'a>(host: Option<&'a Arc<VirtualHost>>, table: Option<&'a Arc<RouteTable>>) -> Switches<'a> {
    [
        host.map(|host| &*host.filters.switched).unwrap_or_default(),
        table.map(|table| &*table.options.filters.switched).unwrap_or_default(),
    ]
}

fn is_on(asked: &Asked, switched: &Switches<'_>) -> bool {
    let said = |level: &&[(Box<str>, bool)]| level.iter().find(|(name, _)| *name == asked.name).map(|(_, on)| *on);
    switched.iter().find_map(said).unwrap_or(!asked.off)
}
