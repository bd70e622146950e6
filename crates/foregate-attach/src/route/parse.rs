//! What a route's spec says, as far as it says it by itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use foregate_api::backend::SessionPersistence;
use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{HttpRouteRetry, HttpRouteTimeouts, RouteFilter};
use foregate_api::route::{Retry, RouteFilter as EffectiveFilter, RouteMatch};

use super::filter::{self, ParsedFilter};
use super::kind::{Route, RouteKind, Rule};
use crate::backend::{Target, Upstream, parse_session};
use crate::duration;
use crate::gateway::ParentId;
use crate::problem::Problem;
use crate::world::uid;

/// A parsed route.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub rules: Vec<ParsedRule>,
    /// What is wrong with rules that can't be served. They are left out, but for those whose filters are the reason: see
    /// [`refusing`].
    pub dropped: Vec<Problem>,
    /// How many of `rules` do nothing but refuse.
    refusing: usize,
    /// Gateways that it names.
    pub parents: Vec<ParentId>,
    /// What it names as backends.
    pub upstreams: Vec<Upstream>,
    /// (Namespace referred to, own namespace), for references that need a grant.
    pub grants: Vec<(Arc<str>, Arc<str>)>,
}

impl Parsed {
    /// Why nothing of it can be served.
    pub fn refusal(&self) -> Option<&Problem> {
        if self.rules.len() == self.refusing { self.dropped.first() } else { None }
    }
}

/// A rule whose backends aren't resolved yet.
#[derive(Debug)]
pub(crate) struct ParsedRule {
    pub name: Option<String>,
    pub matches: Vec<RouteMatch>,
    pub filters: Vec<ParsedFilter>,
    pub backends: Vec<ParsedBackend>,
    pub request_timeout_millis: Option<u64>,
    pub backend_timeout_millis: Option<u64>,
    pub retry: Option<Retry>,
    pub session: Option<SessionPersistence>,
}

/// A backend of a rule.
#[derive(Debug)]
pub(crate) struct ParsedBackend {
    pub target: Target,
    pub weight: u32,
    pub filters: Vec<ParsedFilter>,
}

/// The route that references are in.
#[derive(Clone, Copy)]
pub(crate) struct From<'a> {
    pub kind: RouteKind,
    pub namespace: &'a Arc<str>,
}

pub(crate) fn parse(object: &dyn Route, from: From<'_>) -> Parsed {
    let own = from.namespace;
    let mut parsed = Parsed::default();
    let uid = uid(object.metadata());
    for (i, rule) in object.rules().into_iter().enumerate() {
        match parse_rule(&rule, from, &format!("{uid}-{i}")) {
            Ok(rule) => parsed.rules.push(rule),
            Err(problem) => {
                parsed.dropped.push(problem);
                let refusing = refusing(&rule, from);
                parsed.refusing += usize::from(refusing.is_some());
                parsed.rules.extend(refusing);
            }
        }
    }
    let targets = parsed.rules.iter().flat_map(ParsedRule::targets);
    let upstreams: BTreeSet<Upstream> = targets.filter_map(Target::upstream).cloned().collect();
    let others: BTreeSet<&Arc<str>> = upstreams.iter().map(|u| &u.key().namespace).filter(|n| *n != own).collect();
    parsed.grants = others.into_iter().map(|other| (other.clone(), own.clone())).collect();
    parsed.upstreams = upstreams.into_iter().collect();
    let parents: BTreeSet<ParentId> = object.parent_refs().iter().filter_map(|p| ParentId::of(p, own)).collect();
    parsed.parents = parents.into_iter().collect();
    parsed
}

impl ParsedRule {
    fn targets(&self) -> impl Iterator<Item = &Target> {
        let filters = self.filters.iter().chain(self.backends.iter().flat_map(|b| &b.filters));
        self.backends.iter().map(|b| &b.target).chain(filters.filter_map(ParsedFilter::target))
    }
}

/// `id` tells it from all other rules.
fn parse_rule(rule: &Rule<'_>, from: From<'_>, id: &str) -> Result<ParsedRule, Problem> {
    let (path, own) = (rule.path.as_str(), from.namespace);
    let matches = rule.matches.clone()?;
    let filters = rule.filters.iter().enumerate();
    let filters: Vec<ParsedFilter> =
        filters.map(|(i, f)| filter::parse(f, from, &format!("{path}.filters[{i}]"))).collect::<Result<_, _>>()?;
    filter::compatible(&filters, &matches, path)?;
    let mut backends = Vec::with_capacity(rule.backends.len());
    for (i, reference) in rule.backends.iter().enumerate() {
        let path = format!("{path}.backendRefs[{i}]");
        let filters = backend_filters(reference.filters, from, &matches, &path)?;
        let weight = reference.weight.unwrap_or(1);
        backends.push(ParsedBackend { target: Target::new(reference.target, own, path), weight, filters });
    }
    let (request_timeout_millis, backend_timeout_millis) = match rule.timeouts {
        Some(timeouts) => parse_timeouts(timeouts, path)?,
        None => (None, None),
    };
    let retry = rule.retry.map(|retry| parse_retry(retry, path)).transpose()?.filter(|retry| retry.attempts > 0);
    let session = rule.session.map(|session| parse_session(session, id, &format!("{path}.sessionPersistence")));
    let session = session.transpose().map_err(|why| Problem::new(reason::UNSUPPORTED_VALUE, why))?;
    let name = rule.name.map(str::to_owned);
    Ok(ParsedRule { name, matches, filters, backends, request_timeout_millis, backend_timeout_millis, retry, session })
}

/// What stands in for a rule with a filter that can't be applied: the rule without backends, which answers 500. Left
/// out, its requests would go to a rule that matches less closely, past the filter; the Gateway API wants an error
/// (HTTPRouteFilter.extensionRef).
fn refusing(rule: &Rule<'_>, from: From<'_>) -> Option<ParsedRule> {
    let path = rule.path.as_str();
    let matches = rule.matches.clone().ok()?;
    let filters: Result<Vec<ParsedFilter>, Problem> =
        rule.filters.iter().map(|f| filter::parse(f, from, path)).collect();
    let sound = filters.and_then(|filters| filter::compatible(&filters, &matches, path)).is_ok()
        && rule.backends.iter().all(|backend| backend_filters(backend.filters, from, &matches, path).is_ok());
    (!sound).then(|| ParsedRule {
        name: rule.name.map(str::to_owned),
        matches,
        filters: Vec::new(),
        backends: Vec::new(),
        request_timeout_millis: None,
        backend_timeout_millis: None,
        retry: None,
        session: None,
    })
}

fn backend_filters(
    filters: &[RouteFilter],
    from: From<'_>,
    matches: &[RouteMatch],
    path: &str,
) -> Result<Vec<ParsedFilter>, Problem> {
    let mut parsed = Vec::with_capacity(filters.len());
    for (i, filter) in filters.iter().enumerate() {
        let path = format!("{path}.filters[{i}]");
        match filter::parse(filter, from, &path)? {
            ParsedFilter::Plain(EffectiveFilter::Redirect(_)) | ParsedFilter::Auth(_) => {
                let message = format!("filter {:?} isn't supported on a backend; use it on the rule", filter.kind);
                return Err(Problem::new(reason::UNSUPPORTED_VALUE, message).at(&path));
            }
            other => parsed.push(other),
        }
    }
    filter::compatible(&parsed, matches, path)?;
    Ok(parsed)
}

fn parse_timeouts(timeouts: &HttpRouteTimeouts, path: &str) -> Result<(Option<u64>, Option<u64>), Problem> {
    let request = millis(timeouts.request.as_deref(), path, "timeouts.request")?;
    let backend = millis(timeouts.backend_request.as_deref(), path, "timeouts.backendRequest")?;
    match (request, backend) {
        (Some(request), Some(backend)) if request != 0 && backend > request => Err(Problem::new(
            reason::UNSUPPORTED_VALUE,
            format!("{path}.timeouts: backendRequest must not be longer than request"),
        )),
        both => Ok(both),
    }
}

fn parse_retry(retry: &HttpRouteRetry, path: &str) -> Result<Retry, Problem> {
    Ok(Retry {
        attempts: retry.attempts.unwrap_or(1),
        codes: retry.codes.clone(),
        backoff_millis: millis(retry.backoff.as_deref(), path, "retry.backoff")?,
    })
}

fn millis(text: Option<&str>, path: &str, field: &str) -> Result<Option<u64>, Problem> {
    let Some(text) = text else { return Ok(None) };
    duration::millis(text).map(Some).ok_or_else(|| {
        let message = format!("{path}.{field}: {text:?} isn't a duration; write it like 1h, 10s or 500ms");
        Problem::new(reason::UNSUPPORTED_VALUE, message)
    })
}
