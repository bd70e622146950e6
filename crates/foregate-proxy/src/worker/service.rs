//! A request, from its head to a response: which listener's options count, which route, what it does.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use foregate_envoy::normal_path::{NormalPath, normalize};
use http::header::HOST;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::{Body, Incoming};

use super::accept::is_configured;
use super::asked::{self, Routed};
use super::body::ResponseBody;
use super::connection::{ConnectionState, Limits, Order};
use super::cors::{self, Verdict};
use super::edits;
use super::exchange::{Exchange, Flag};
use super::forward::{self, Job, Outgoing};
use super::head::{self, Taken};
use super::instance::{Held, Local};
use super::local::LocalReply;
use super::logging::Line;
use super::redirect;
use super::stream::{Late, StreamState};
use super::strict;
use super::sweep::ticks;
use super::trace::Trace;
use super::upgrade::{Asked, Pending};
use crate::config::action::Action;
use crate::config::hcm::HttpOptions;
use crate::routing::request::RequestView;
use crate::snapshot::{FilterChain, Listener, NetworkFilter, RouteTable};

/// What a connection's requests share.
pub(super) struct Session {
    pub(super) connection: Rc<ConnectionState>,
    listener: RefCell<Arc<Listener>>,
    /// What its filter chain is called.
    chain: Box<str>,
    http: RefCell<Local<HttpOptions>>,
    /// The filter chain is gone from its listener.
    orphaned: Cell<bool>,
    upgrade: Cell<Option<Pending>>,
}

/// Deadlines of a connection in ticks.
pub(super) fn limits(http: &HttpOptions) -> Limits {
    Limits {
        idle: ticks(http.idle_timeout),
        head: ticks(http.headers_timeout),
        stream_idle: ticks(http.stream_idle_timeout),
        request: ticks(http.request_timeout),
        lifetime: ticks(http.max_connection_duration),
    }
}

impl Session {
    pub(super) fn new(
        connection: Rc<ConnectionState>,
        listener: Arc<Listener>,
        chain: &FilterChain,
        http: Arc<HttpOptions>,
    ) -> Rc<Self> {
        Rc::new(Self {
            connection,
            listener: RefCell::new(listener),
            chain: (&*chain.key).into(),
            http: RefCell::new(Rc::new(http)),
            orphaned: Cell::new(false),
            upgrade: Cell::new(None),
        })
    }

    /// The options that count for the next request: those of the newest version of this connection's filter chain.
    fn options(&self, snapshot: &Held) -> Local<HttpOptions> {
        let newest = snapshot.listeners.get(self.connection.listener.slot.number);
        if let Some(newest) = newest
            && !Arc::ptr_eq(newest, &self.listener.borrow())
        {
            self.follow(newest);
        }
        Rc::clone(&self.http.borrow())
    }

    fn follow(&self, newest: &Arc<Listener>) {
        let chain = newest.chains.iter().find(|chain| *chain.key == *self.chain);
        match chain.map(|chain| &chain.filter) {
            Some(NetworkFilter::Http(http)) => {
                *self.http.borrow_mut() = Rc::new(Arc::clone(http));
                self.connection.limits.set(limits(http));
                self.orphaned.set(false);
            }
            Some(NetworkFilter::Tcp(_)) | None => self.orphaned.set(true),
        }
        *self.listener.borrow_mut() = Arc::clone(newest);
    }

    /// Whether the response that begins now is the connection's last.
    fn is_last(&self, options: &HttpOptions) -> bool {
        self.orphaned.get()
            || self.connection.listener.draining.get()
            || options.max_requests.is_some_and(|max| self.connection.requests.get() >= max)
            || !is_configured(&self.connection.listener)
    }

    /// Tells the client that this response is the last: in its head, or by GOAWAY.
    fn say_last(&self, response: &mut Response<ResponseBody>, http2: bool) {
        if http2 {
            if self.connection.ending.get().is_none() {
                self.connection.order(Order::Drain);
            }
        } else if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// The answer to a request that took too long; the request itself is noted when it is dropped.
    fn too_slow(&self, grpc: bool) -> Response<ResponseBody> {
        let reply = LocalReply::new(StatusCode::REQUEST_TIMEOUT, "request timeout", None);
        let (head, text) = reply.into_parts(grpc, true);
        let mut response = head.map(|()| ResponseBody::bare(text));
        head::server_header(response.headers_mut(), &self.http.borrow());
        response
    }

    pub(super) fn upgrade(&self, pending: Pending) {
        self.upgrade.set(Some(pending));
    }

    pub(super) fn take_upgrade(&self) -> Option<Pending> {
        self.upgrade.take()
    }

    /// The connection is closed under its request.
    pub(super) fn abandon(&self) {
        self.upgrade.set(None);
    }
}

/// Answers a request.
pub(super) async fn handle(
    session: Rc<Session>,
    stream: Rc<StreamState>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let connection = &session.connection;
    connection.requests.set(connection.requests.get() + 1);
    stream.begin();
    let snapshot = connection.listener.instance.snapshot();
    let http = session.options(&snapshot);
    let options = &**http;
    let line = begin_line(connection, &request);
    let exchange = Exchange::new(&stream, request.version(), line);
    // Of HTTP/1.1 the parser sees to it.
    stream.silent.set(stream.http2 && request.method() == Method::HEAD);
    let (mut begun, id) = begin(&session, &stream, &snapshot, options, request, exchange);
    let mut additions = Vec::new();
    if matches!(begun, Begun::Ask(_)) {
        begun = Box::pin(asked::run(&session, &stream, &snapshot, options, begun, &mut additions)).await;
    }
    let mut response = match begun {
        Begun::Done(response) => response,
        Begun::Forward(job, mut outgoing, exchange) => forward::run(&job, &mut outgoing, exchange).await,
        // Nobody is left to be asked.
        Begun::Ask(pending) => {
            LocalReply::new(StatusCode::INTERNAL_SERVER_ERROR, "", None).into_response(pending.exchange)
        }
    };
    additions.into_iter().for_each(|addition| addition.apply(response.headers_mut()));
    if let Some(id) = id {
        response.headers_mut().insert(head::X_REQUEST_ID.clone(), id);
    }
    if response.status() == StatusCode::NO_CONTENT {
        // What an endpoint may say, but nobody may pass on (RFC 9110 §8.6).
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    head::server_header(response.headers_mut(), options);
    if session.is_last(options) {
        session.say_last(&mut response, stream.http2);
    }
    Ok(response)
}

/// Answers a request of an HTTP/2 connection, at the latest when it has taken too long.
pub(super) async fn handle_stream(
    session: Rc<Session>,
    stream: Rc<StreamState>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let grpc = head::is_grpc(request.headers());
    let mut handling = std::pin::pin!(handle(Rc::clone(&session), Rc::clone(&stream), request));
    std::future::poll_fn(|cx| match handling.as_mut().poll(cx) {
        Poll::Pending if stream.poll_late(cx) == Some(Late::Answer) => Poll::Ready(Ok(session.too_slow(grpc))),
        other => other,
    })
    .await
}

fn begin_line(connection: &ConnectionState, request: &Request<Incoming>) -> Option<Line> {
    let log = &connection.worker.log;
    log.format?;
    let host = request.uri().authority().map(|a| a.as_str().as_bytes());
    let host = host.or_else(|| request.headers().get(HOST).map(HeaderValue::as_bytes)).unwrap_or_default();
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    log.begin(request.method().as_str(), host, path)
}

/// A request after everything that needs no waiting has been done.
#[allow(clippy::large_enum_variant, reason = "the large one is the usual one; a box would cost every request")]
pub(super) enum Begun<'a> {
    /// It is answered.
    Done(Response<ResponseBody>),
    /// It is to be sent.
    Forward(Job<'a>, Outgoing<'a>, Box<Exchange>),
    /// Somebody is to be asked about it first.
    Ask(Box<asked::Pending<'a>>),
}

/// Takes a request in; also returns the id that the response is to carry.
fn begin<'a>(
    session: &'a Rc<Session>,
    stream: &'a Rc<StreamState>,
    snapshot: &'a Held,
    options: &'a HttpOptions,
    mut request: Request<Incoming>,
    mut exchange: Box<Exchange>,
) -> (Begun<'a>, Option<HeaderValue>) {
    exchange.grpc = head::is_grpc(request.headers());
    let taken = match admit(session, stream, options, &mut request) {
        Ok(taken) => taken,
        Err(reply) => return (Begun::Done(reply.into_response(exchange)), None),
    };
    if options.tracing.is_some() {
        trace(session, &mut request, &mut exchange);
    }
    let id = request.headers().get(&head::X_REQUEST_ID);
    exchange.note_id(id);
    let id = id.filter(|_| options.request_id_in_response).cloned();
    if !options.asks.is_empty() {
        let pending = asked::Pending { request, taken, exchange, routed: None };
        return (Begun::Ask(Box::new(pending)), id);
    }
    (route(session, stream, snapshot, options, request, taken, exchange), id)
}

/// Begins a request's trace, or goes on with its client's.
fn trace(session: &Session, request: &mut Request<Incoming>, exchange: &mut Exchange) {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let line = (&method, &uri, request.headers_mut());
    exchange.trace = Trace::begin(&session.http.borrow(), line, exchange.start());
}

/// Checks a request's head and brings it into its normal form.
fn admit(
    session: &Session,
    stream: &StreamState,
    options: &HttpOptions,
    request: &mut Request<Incoming>,
) -> Result<Taken, LocalReply> {
    strict::check_head(session, options, stream.framing.take(), request)?;
    // Of HTTP/1.1 the parser has counted them.
    if stream.http2 && request.headers().len() > options.max_headers {
        session.connection.listener.stats.bad_requests.inc();
        return Err(LocalReply::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers", Flag::Dpe));
    }
    if request.version() == Version::HTTP_10 && !options.http_10 {
        return Err(LocalReply::new(StatusCode::UPGRADE_REQUIRED, "Upgrade Required", Flag::Dpe).and_close());
    }
    strict::check_target(session.connection.tls, request)?;
    let asked = if request.method() == Method::CONNECT { Some(by_connect(request)?) } else { None };
    absolute_form(request)?;
    check_host(options, request)?;
    if stream.http2 {
        head::join_cookies(request.headers_mut());
    }
    say_empty(request);
    // What is for this connection only is of no use to routes, and not to be passed on.
    let mut taken = head::take_in(request.headers_mut(), &session.connection, options)?;
    let authority = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if let Some(host) = head::host_of(authority, &session.connection, options)
        && let Ok(host) = HeaderValue::from_str(&host)
    {
        request.headers_mut().insert(HOST, host);
    }
    if !options.normalization.is_off() {
        normal_path(options, request)?;
    }
    if !request.uri().path().starts_with('/') {
        return Err(LocalReply::new(StatusCode::NOT_FOUND, "", Flag::Nr));
    }
    taken.upgrade = asked.or(taken.upgrade);
    if taken.upgrade.is_none() {
        say_body(request);
    }
    Ok(taken)
}

/// CONNECT to anywhere is nothing that a gateway does; what is left is a stream of HTTP/2 that is to become something
/// else.
fn by_connect(request: &mut Request<Incoming>) -> Result<Asked, LocalReply> {
    Asked::by_connect(request).ok_or_else(|| LocalReply::new(StatusCode::NOT_FOUND, "", Flag::Nr).and_close())
}

/// `GET http://host/path`, or the authority of HTTP/2: the host of the target counts, and the target goes on as a path.
fn absolute_form(request: &mut Request<Incoming>) -> Result<(), LocalReply> {
    let Some(authority) = request.uri().authority() else { return Ok(()) };
    let mut host = authority.as_str();
    if request.version() != Version::HTTP_2 {
        // Not allowed there (RFC 9113 §8.3.1), and refused with the host.
        host = host.rsplit('@').next().unwrap_or_default();
    }
    let host = HeaderValue::from_str(host).map_err(|_| LocalReply::bad_request("the target's host is not valid"))?;
    request.headers_mut().insert(HOST, host);
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    Ok(())
}

/// In HTTP/1.1 a request that could have a body and has none says so (RFC 9110 §8.6).
fn say_empty(request: &mut Request<Incoming>) {
    let has_meaning = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    if has_meaning && request.body().is_end_stream() {
        request.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from_static("0"));
    }
}

/// A body of unknown length where HTTP/1.1 expects none is sent only if it is announced. HTTP/2 takes that out again.
fn say_body(request: &mut Request<Incoming>) {
    let unexpected = matches!(*request.method(), Method::GET | Method::HEAD) && !request.body().is_end_stream();
    if unexpected && !request.headers().contains_key(header::CONTENT_LENGTH) {
        request.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

fn check_host(options: &HttpOptions, request: &mut Request<Incoming>) -> Result<(), LocalReply> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let first = hosts.next().map(|host| strict::is_host(host.as_bytes()));
    let more = hosts.next().is_some();
    match (first, &options.default_host) {
        (Some(_), _) if more => Err(LocalReply::bad_request("more than one host")),
        (Some(true), _) => Ok(()),
        (Some(false), _) => Err(LocalReply::bad_request("the host is not valid")),
        (None, Some(host)) if request.version() == Version::HTTP_10 => {
            let host = host.clone();
            request.headers_mut().insert(HOST, host);
            Ok(())
        }
        (None, _) => Err(LocalReply::bad_request("missing host")),
    }
}

fn normal_path(options: &HttpOptions, request: &mut Request<Incoming>) -> Result<(), LocalReply> {
    let uri = request.uri();
    let path = uri.path();
    // Most paths are in their normal form: nothing in them that could need one.
    if !path.contains("/.")
        && !path.contains("//")
        && !path.contains(['%', '\\', '^', '{', '|', '}'])
        && path.is_ascii()
    {
        return Ok(());
    }
    match normalize(path, options.normalization) {
        NormalPath::Path(normal) if normal == path => Ok(()),
        NormalPath::Path(normal) => {
            *request.uri_mut() = with_path(uri, &normal)?;
            Ok(())
        }
        NormalPath::Refused => Err(LocalReply::bad_request("the path has no normal form")),
        NormalPath::Redirect(normal) => {
            let target = with_path(uri, &normal)?;
            let reply = LocalReply::new(StatusCode::TEMPORARY_REDIRECT, "", None);
            Err(LocalReply { location: HeaderValue::try_from(target.to_string()).ok(), ..reply })
        }
    }
}

/// The target with another path, and the query that it had.
pub(super) fn with_path(uri: &Uri, path: &str) -> Result<Uri, LocalReply> {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}").parse(),
        None => path.parse(),
    };
    target.map_err(|_| LocalReply::bad_request("the path is not valid"))
}

pub(super) fn route<'a>(
    session: &'a Rc<Session>,
    stream: &'a Rc<StreamState>,
    snapshot: &'a Held,
    options: &'a HttpOptions,
    request: Request<Incoming>,
    taken: Taken,
    mut exchange: Box<Exchange>,
) -> Begun<'a> {
    let table = snapshot.routes.get(options.routes.number);
    let view = view(session, &request);
    let host = table.and_then(|table| virtual_host(table, view.authority).map(|host| (table, host)));
    let found = host.and_then(|(table, host)| host.routes.find(&view).map(|route| (table, host, route)));
    let Some((table, host, route)) = found else {
        return Begun::Done(LocalReply::new(StatusCode::NOT_FOUND, "", Flag::Nr).into_response(exchange));
    };
    if options.asks.is_empty() && host.filters.switched.iter().any(|(_, on)| *on) {
        // It relies on filters that the listener hasn't got.
        return Begun::Done(LocalReply::new(StatusCode::INTERNAL_SERVER_ERROR, "", None).into_response(exchange));
    }
    if let Some(slot) = &route.slot {
        exchange.note_route(&slot.name);
        let connection = &session.connection;
        exchange.route = Some(connection.listener.instance.route_stats(slot, &connection.worker.registry));
    }
    let levels = [&route.filters, &host.filters, &table.options.filters];
    let forwards = matches!(route.action, Action::Forward(_));
    let verdict = if options.cors && forwards { cors::look(&view, levels) } else { Verdict::Nothing };
    let readable = match verdict {
        Verdict::Answer(headers) => return Begun::Done(cors_answer(headers, exchange)),
        Verdict::Readable(readable) => Some(readable),
        Verdict::Nothing => None,
    };
    let routed = Routed { table, host, route, readable };
    if asked::of_route(levels).is_some() {
        return Begun::Ask(Box::new(asked::Pending { request, taken, exchange, routed: Some(routed) }));
    }
    act(session, stream, snapshot, options, request, taken, (routed, exchange))
}

/// Does what the route says.
pub(super) fn act<'a>(
    session: &'a Rc<Session>,
    stream: &'a Rc<StreamState>,
    snapshot: &'a Held,
    options: &'a HttpOptions,
    request: Request<Incoming>,
    taken: Taken,
    (routed, mut exchange): (Routed<'a>, Box<Exchange>),
) -> Begun<'a> {
    let Routed { table, host, route, mut readable } = routed;
    let place = edits::Place { options, table, host, route, weighted: None };
    if !matches!(route.action, Action::Forward(_)) {
        place.remember(&mut exchange, (request.method(), request.uri()), request.headers());
    }
    let mut response = match &route.action {
        Action::Direct(status, text) => LocalReply::direct(*status, text.clone()).into_response(exchange),
        Action::Redirect(to) => {
            let location = redirect::location(to, &view(session, &request), &route.matcher.path);
            redirect::respond(to, &location, exchange)
        }
        Action::Forward(to) => {
            let job = Job { session, stream, snapshot, options, table, host, route, forward: to };
            match forward::begin(&job, request, taken, &mut readable, &mut exchange) {
                Ok(outgoing) => return Begun::Forward(job, outgoing, exchange),
                Err(reply) => {
                    let mut response = reply.into_response(exchange);
                    edits::edit_response(&mut response, place);
                    readable.iter().for_each(|readable| readable.say(response.headers_mut()));
                    return Begun::Done(response);
                }
            }
        }
    };
    edits::edit_response(&mut response, place);
    Begun::Done(response)
}

/// A request as routes see it.
fn view<'a>(session: &Session, request: &'a Request<Incoming>) -> RequestView<'a> {
    RequestView {
        luck: Default::default(),
        method: request.method(),
        authority: request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
        scheme: if session.connection.tls { "https" } else { "http" },
        path: request.uri().path(),
        query: request.uri().query(),
        headers: request.headers(),
    }
}

/// The answer to a page's question. Routes don't change it: it is the listener's own.
fn cors_answer(headers: http::HeaderMap, exchange: Box<Exchange>) -> Response<ResponseBody> {
    let mut response = LocalReply::new(StatusCode::OK, "", None).into_response(exchange);
    response.headers_mut().extend(headers);
    response
}

pub(super) fn virtual_host<'a>(
    table: &'a RouteTable,
    authority: &str,
) -> Option<&'a Arc<crate::config::vhost::VirtualHost>> {
    let host = if table.options.ignore_port { strict::without_port(authority) } else { authority };
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return table.domains.find(&host.to_ascii_lowercase());
    }
    table.domains.find(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, F: Future>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    /// A request's future is moved once, whole, when it begins.
    #[test]
    fn the_state_of_a_request_is_small() {
        let size = size(handle);
        assert!(size <= 4000, "{size} bytes");
    }
}
