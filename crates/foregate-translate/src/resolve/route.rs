//! A GatewayRoute at one attachment.

use std::sync::Arc;

use foregate_api::backend::SessionPersistence;
use foregate_api::route::{Cors, GatewayRouteSpec, HeaderEdit, Mirror, Retry, RouteBackend, RouteFilter, RouteRule};

use super::listeners::AttachPoint;
use super::{auth, matches, redirect};
use crate::Problem;
use crate::ir::{self, Action, Destination, Forward};

/// What a route is resolved against.
pub(crate) struct Context<'a> {
    /// The listener.
    pub point: &'a AttachPoint,
    /// A backend of the route's namespace as it is now, by its name.
    pub backend: &'a dyn Fn(&str) -> Option<Target>,
    /// What such a backend is called.
    pub authority: &'a dyn Fn(&str) -> Option<String>,
    /// Whether the gateway's template has a place for who is asked. Where it hasn't, nobody passes.
    pub can_ask: bool,
}

/// A backend, as a route sees it.
pub(crate) struct Target {
    /// Its cluster.
    pub cluster: Arc<str>,
    /// How it wants a client to be kept with an endpoint.
    pub session: Option<SessionPersistence>,
}

/// Resolves a route. A backend without a cluster is an unresolved share.
pub(crate) fn resolve(spec: &GatewayRouteSpec, context: &Context<'_>) -> Result<ir::Entry, Problem> {
    let origin = &spec.origin;
    let rules = spec.rules.iter().enumerate().map(|(index, rule)| resolve_rule(rule, index, context));
    Ok(ir::Entry {
        route: format!("{}/{}/{}", origin.kind, origin.namespace, origin.name),
        rules: rules.collect::<Result<_, _>>()?,
    })
}

fn resolve_rule(rule: &RouteRule, index: usize, context: &Context<'_>) -> Result<ir::Rule, Problem> {
    let field = format!("spec.rules[{index}]");
    let matched = rule.matches.iter().enumerate();
    let mut matched = matched
        .map(|(at, matched)| matches::resolve(matched, &format!("{field}.matches[{at}]")))
        .collect::<Result<Vec<_>, _>>()?;
    if matched.is_empty() {
        matched.push(ir::Match { path: ir::Path::Any, method: None, headers: Vec::new(), query: Vec::new() });
    }
    let mut filters = Filters::default();
    for (at, filter) in rule.filters.iter().enumerate() {
        filters.add(filter, &format!("{field}.filters[{at}]"), context)?;
    }
    let name = rule.name.clone().unwrap_or_else(|| index.to_string());
    let mut auth = filters.auth.take();
    let (request_headers, response_headers, mut action) = act(rule, filters, &field, context)?;
    if auth.is_some() && !context.can_ask {
        auth = None;
        action = Action::Respond(500);
    }
    Ok(ir::Rule { name, matches: matched, request_headers, response_headers, auth, action })
}

fn act(
    rule: &RouteRule,
    mut filters: Filters,
    field: &str,
    context: &Context<'_>,
) -> Result<(HeaderEdit, HeaderEdit, Action), Problem> {
    if let Some(redirect) = filters.redirect.take() {
        return Ok((filters.request, filters.response, Action::Redirect(redirect)));
    }
    let unresolved_status = unresolved_status(rule, field)?;
    let mut destinations = destinations(rule, &mut filters, field, context)?;
    let headers = (std::mem::take(&mut filters.request), std::mem::take(&mut filters.response));
    if destinations.iter().all(|destination| destination.cluster.is_none()) {
        return Ok((headers.0, headers.1, Action::Respond(unresolved_status)));
    }
    destinations.shrink_to_fit();
    if rule.session_persistence.is_some() {
        destinations.iter_mut().for_each(|destination| destination.session = None);
    }
    let attempt = rule.backend_timeout_millis.filter(|millis| *millis > 0);
    let request = rule.request_timeout_millis.filter(|millis| *millis > 0);
    let retries = rule.retry.as_ref().map(|retry| retries(retry, attempt));
    // Without retries there is one attempt, so that the shorter of the two limits decides.
    let alone = retries.as_ref().is_none_or(|retries| retries.attempts == 0);
    let timeout = match (request, attempt) {
        (Some(request), Some(attempt)) if alone => Some(request.min(attempt)),
        (None, attempt) if alone => attempt,
        (request, _) => request,
    };
    let forward = Forward {
        destinations,
        unresolved_status,
        hostname: filters.hostname,
        path: filters.path,
        mirrors: filters.mirrors,
        cors: filters.cors,
        session: rule.session_persistence.clone(),
        timeout_millis: timeout.unwrap_or(0),
        retries,
    };
    Ok((headers.0, headers.1, Action::Forward(Box::new(forward))))
}

fn unresolved_status(rule: &RouteRule, field: &str) -> Result<u16, Problem> {
    match rule.unresolved_status.unwrap_or(500) {
        status @ (500 | 503) => Ok(status),
        other => Err(Problem::invalid(format!("{field}.unresolvedStatus"), format!("{other} is neither 500 nor 503"))),
    }
}

fn retries(retry: &Retry, attempt_timeout_millis: Option<u64>) -> ir::Retries {
    ir::Retries {
        attempts: retry.attempts,
        codes: retry.codes.clone(),
        backoff_millis: retry.backoff_millis.filter(|millis| *millis > 0),
        attempt_timeout_millis,
    }
}

fn destinations(
    rule: &RouteRule,
    filters: &mut Filters,
    field: &str,
    context: &Context<'_>,
) -> Result<Vec<Destination>, Problem> {
    let used = || rule.backends.iter().enumerate().filter(|(_, backend)| backend.weight > 0);
    let alone = used().count() == 1;
    let mut destinations = Vec::with_capacity(rule.backends.len());
    for (at, backend) in used() {
        let mut made = destination(backend, alone, filters, &format!("{field}.backendRefs[{at}]"), context)?;
        made.session = rule.session_persistence.clone().or(made.session);
        destinations.push(made);
    }
    Ok(destinations)
}

fn destination(
    backend: &RouteBackend,
    alone: bool,
    rule: &mut Filters,
    field: &str,
    context: &Context<'_>,
) -> Result<Destination, Problem> {
    let mut own = Filters::default();
    for (at, filter) in backend.filters.iter().enumerate() {
        own.add(filter, &format!("{field}.filters[{at}]"), context)?;
    }
    if own.auth.is_some() {
        let field = format!("{field}.filters");
        return Err(Problem::unsupported(field, "nobody is asked for a single backend; use the rule's filters"));
    }
    if own.redirect.is_some() {
        return Err(Problem::unsupported(
            format!("{field}.filters"),
            "a backend can't redirect; use the rule's filters",
        ));
    }
    if alone {
        // All requests of the rule go here: what the backend asks for is what the rule asks for.
        rule.path = own.path.take().or(rule.path.take());
        rule.cors = own.cors.take().or(rule.cors.take());
        rule.mirrors.append(&mut own.mirrors);
    }
    let target = backend.backend.as_deref().and_then(|name| (context.backend)(name));
    let (cluster, session) = target.map(|target| (target.cluster, target.session)).unzip();
    Ok(Destination {
        cluster,
        weight: backend.weight,
        hostname: own.hostname,
        request_headers: own.request,
        response_headers: own.response,
        path: own.path,
        mirrors: own.mirrors,
        cors: own.cors,
        session: session.flatten(),
    })
}

/// The sum of a list of filters.
#[derive(Default)]
struct Filters {
    request: HeaderEdit,
    response: HeaderEdit,
    redirect: Option<ir::Redirect>,
    hostname: Option<String>,
    path: Option<foregate_api::route::PathEdit>,
    mirrors: Vec<ir::MirrorTarget>,
    cors: Option<Cors>,
    auth: Option<ir::Auth>,
}

impl Filters {
    fn add(&mut self, filter: &RouteFilter, field: &str, context: &Context<'_>) -> Result<(), Problem> {
        match filter {
            RouteFilter::RequestHeaders(edit) => {
                let (edit, host) = without_host(edit, field)?;
                self.hostname = host.or(self.hostname.take());
                append(&mut self.request, edit);
            }
            RouteFilter::ResponseHeaders(edit) => append(&mut self.response, edit.clone()),
            RouteFilter::Redirect(redirect) => {
                self.redirect = Some(redirect::resolve(redirect, context.point, field)?);
            }
            RouteFilter::Rewrite(rewrite) => {
                self.hostname = rewrite.hostname.clone().or(self.hostname.take());
                self.path = rewrite.path.clone().or(self.path.take());
            }
            RouteFilter::Mirror(mirror) => self.mirror(mirror, field, context)?,
            RouteFilter::Cors(cors) => self.cors = Some(cors.clone()),
            // A second one must not take the place of the first.
            RouteFilter::ExternalAuth(_) if self.auth.is_some() => {
                return Err(Problem::unsupported(
                    field,
                    "a rule asks one service; use the listener's filters for another",
                ));
            }
            RouteFilter::ExternalAuth(auth) => self.auth = Some(auth::resolve(auth, context)),
        }
        Ok(())
    }

    /// A mirror whose backend isn't there gets nothing: the request itself is served all the same.
    fn mirror(&mut self, mirror: &Mirror, field: &str, context: &Context<'_>) -> Result<(), Problem> {
        if mirror.denominator == 0 || mirror.numerator > mirror.denominator {
            let share = format!("{} of {} isn't a share of the requests", mirror.numerator, mirror.denominator);
            return Err(Problem::invalid(format!("{field}.fraction"), share));
        }
        if let Some(Target { cluster, .. }) = (context.backend)(&mirror.backend)
            && mirror.numerator > 0
        {
            let (numerator, denominator) = (mirror.numerator, mirror.denominator);
            self.mirrors.push(ir::MirrorTarget { cluster, numerator, denominator });
        }
        Ok(())
    }
}

fn append(to: &mut HeaderEdit, edit: HeaderEdit) {
    to.set.extend(edit.set);
    to.add.extend(edit.add);
    to.remove.extend(edit.remove);
}

/// Engines route by `Host` and refuse to edit it as a header: setting it is a rewrite, the rest makes no sense.
fn without_host(edit: &HeaderEdit, field: &str) -> Result<(HeaderEdit, Option<String>), Problem> {
    let is_host = |name: &str| name.eq_ignore_ascii_case("host");
    if edit.add.iter().any(|header| is_host(&header.name)) || edit.remove.iter().any(|name| is_host(name)) {
        let reason = "Host can't be added to or removed; set it, or use a URL rewrite";
        return Err(Problem::unsupported(field, reason));
    }
    let mut edit = edit.clone();
    let host = edit.set.iter().find(|header| is_host(&header.name)).map(|header| header.value.clone());
    edit.set.retain(|header| !is_host(&header.name));
    Ok((edit, host))
}

/// Names of all backends that a route names, those of filters included.
pub(crate) fn backends(spec: &GatewayRouteSpec) -> impl Iterator<Item = &str> {
    spec.rules.iter().flat_map(|rule| {
        let named = rule.backends.iter().filter_map(|backend| backend.backend.as_deref());
        let nested = rule.backends.iter().flat_map(|backend| &backend.filters);
        let filters = rule.filters.iter().chain(nested).filter_map(|filter| match filter {
            RouteFilter::Mirror(mirror) => Some(mirror.backend.as_str()),
            RouteFilter::ExternalAuth(auth) => auth.backend.as_deref(),
            _ => None,
        });
        named.chain(filters)
    })
}
