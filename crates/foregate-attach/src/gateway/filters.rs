//! Filters of listeners: what is done to requests before they are routed (GEP-5224).

use std::sync::Arc;

use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{GATEWAY_GROUP, Listener, ListenerFilter, ListenerFilterType};
use foregate_api::route::RouteFilter;

use super::{ListenerVerdict, ParentId};
use crate::Attach;
use crate::backend::{BackendId, Referrer, Sending, Upstream};
use crate::external_auth::{self, ParsedAuth};
use crate::problem::{Problem, join};
use crate::target::TargetId;

/// A listener's filters with every reference resolved.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ResolvedFilters {
    /// In the user's order.
    pub effective: Vec<RouteFilter>,
    /// Backends that they use.
    pub backends: Vec<BackendId>,
    /// References that lead nowhere.
    pub problem: Option<Problem>,
}

/// Reads the filters of a listener, of an object of namespace `own`.
pub(super) fn parse(listener: &Listener, own: &Arc<str>) -> Result<Vec<ParsedAuth>, Problem> {
    let given = listener.filters.as_ref().map(|filters| filters.requests.as_slice()).unwrap_or_default();
    let each = given.iter().enumerate();
    each.map(|(at, filter)| parse_one(filter, own, &format!("filters.requests[{at}]"))).collect()
}

fn parse_one(filter: &ListenerFilter, own: &Arc<str>, path: &str) -> Result<ParsedAuth, Problem> {
    let unsupported = |message: String| Err(Problem::new(reason::UNSUPPORTED_VALUE, message));
    match filter.kind {
        ListenerFilterType::ExternalAuth => match &filter.external_auth {
            Some(auth) => external_auth::parse(auth, own, &format!("{path}.externalAuth")),
            None => unsupported(format!("{path}.externalAuth: its type says that it is set, and it isn't")),
        },
        ListenerFilterType::ExtensionRef => {
            let what = filter.extension_ref.as_ref().map(|e| format!("{} {:?}", e.kind, e.name)).unwrap_or_default();
            unsupported(format!("{path}.extensionRef: {what} isn't a kind of filter that Foregate knows; remove it"))
        }
        ListenerFilterType::Unknown => unsupported(format!("{path}.type: not a filter that this version knows")),
    }
}

/// What filters of listeners name as backends.
pub(super) fn upstreams(listeners: &[Listener], own: &Arc<str>) -> Vec<Upstream> {
    let parsed = listeners.iter().filter_map(|listener| parse(listener, own).ok()).flatten();
    let mut all: Vec<Upstream> = parsed.filter_map(|auth| auth.target.upstream().cloned()).collect();
    all.sort();
    all.dedup();
    all
}

impl Attach {
    /// Resolves what the filters of an object's listeners name, from a target. Returns whether anything changed.
    pub(super) fn resolve_listeners_filters(
        &self,
        owner: &ParentId,
        target: TargetId,
        listeners: &mut [ListenerVerdict],
    ) -> bool {
        let mut changed = false;
        for listener in listeners {
            // A listener that isn't accepted names nothing.
            let parsed = if listener.accepted.is_ok() { listener.parsed_filters.as_slice() } else { &[] };
            let resolved = self.resolve_listener_filters(owner, target, parsed);
            if listener.filters != resolved {
                listener.filters = resolved;
                changed = true;
            }
        }
        changed
    }

    fn resolve_listener_filters(&self, owner: &ParentId, target: TargetId, parsed: &[ParsedAuth]) -> ResolvedFilters {
        let from = Referrer { group: GATEWAY_GROUP, kind: owner.kind.as_str(), namespace: &owner.key.namespace };
        let mut resolved = ResolvedFilters::default();
        let mut problems = Vec::new();
        for auth in parsed {
            let name = match self.find_backend(from, &auth.target, Sending { target, usage: auth.usage() }) {
                Ok((name, id)) => {
                    problems.extend(self.backend_refusal(name.as_deref(), &id, &auth.target.path));
                    resolved.backends.push(id);
                    name
                }
                Err(problem) => {
                    problems.push(problem);
                    None
                }
            };
            resolved.effective.push(RouteFilter::ExternalAuth(auth.with(name)));
        }
        resolved.problem = join(problems).err();
        resolved
    }
}
