//! Backends of rules: references to Services and Backends, resolved.

use foregate_api::gateway::GATEWAY_GROUP;
use foregate_api::route::{Mirror, RouteBackend, RouteFilter, RouteRule};

use super::filter::ParsedFilter;
use super::parse::ParsedRule;
use super::{RouteId, RouteState};
use crate::Attach;
use crate::backend::{BackendId, Referrer, Sending, Target, Usage};
use crate::problem::Problem;
use crate::target::TargetId;

/// A route's rules with every reference resolved.
#[derive(Default)]
pub(super) struct Resolved {
    pub rules: Vec<RouteRule>,
    /// Backends that it uses, each once.
    pub used: Vec<BackendId>,
    /// References that lead nowhere.
    pub problems: Vec<Problem>,
}

impl Attach {
    pub(super) fn resolve_rules(&self, id: &RouteId, state: &RouteState, target: TargetId, usage: Usage) -> Resolved {
        let mut resolved = Resolved::default();
        let to = Sending { target, usage };
        for rule in &state.parsed.rules {
            let rule = self.resolve_rule(id, rule, to, &mut resolved);
            resolved.rules.push(rule);
        }
        resolved.used.sort();
        resolved.used.dedup();
        resolved
    }

    fn resolve_rule(&self, id: &RouteId, rule: &ParsedRule, to: Sending, resolved: &mut Resolved) -> RouteRule {
        let filters = self.resolve_filters(id, &rule.filters, to, resolved);
        let mut backends = Vec::with_capacity(rule.backends.len());
        for backend in &rule.backends {
            backends.push(RouteBackend {
                backend: self.note(id, &backend.target, to, resolved),
                weight: backend.weight,
                filters: self.resolve_filters(id, &backend.filters, to, resolved),
            });
        }
        RouteRule {
            name: rule.name.clone(),
            matches: rule.matches.clone(),
            backends,
            unresolved_status: id.kind.unresolved_status(),
            filters,
            request_timeout_millis: rule.request_timeout_millis,
            backend_timeout_millis: rule.backend_timeout_millis,
            retry: rule.retry.clone(),
            session_persistence: rule.session.clone(),
        }
    }

    /// A mirror that leads nowhere is left out: what it mirrors is served nonetheless. Who is to be asked and isn't there
    /// stays: nobody passes.
    fn resolve_filters(
        &self,
        id: &RouteId,
        filters: &[ParsedFilter],
        to: Sending,
        resolved: &mut Resolved,
    ) -> Vec<RouteFilter> {
        let mut effective = Vec::with_capacity(filters.len());
        for filter in filters {
            match filter {
                ParsedFilter::Plain(filter) => effective.push(filter.clone()),
                ParsedFilter::Mirror { target, numerator, denominator } => {
                    if let Some(backend) = self.note(id, target, to, resolved) {
                        let (numerator, denominator) = (*numerator, *denominator);
                        effective.push(RouteFilter::Mirror(Mirror { backend, numerator, denominator }));
                    }
                }
                ParsedFilter::Auth(auth) => {
                    let backend = self.note(id, &auth.target, Sending { usage: auth.usage(), ..to }, resolved);
                    effective.push(RouteFilter::ExternalAuth(auth.with(backend)));
                }
            }
        }
        effective
    }

    /// Name of the GatewayBackend, noted as used; or the problem, noted as such.
    fn note(&self, route: &RouteId, target: &Target, to: Sending, resolved: &mut Resolved) -> Option<String> {
        let from = Referrer { group: GATEWAY_GROUP, kind: route.kind.as_str(), namespace: &route.key.namespace };
        match self.find_backend(from, target, to) {
            Ok((name, backend)) => {
                resolved.problems.extend(self.backend_refusal(name.as_deref(), &backend, &target.path));
                resolved.used.push(backend);
                name
            }
            Err(problem) => {
                resolved.problems.push(problem);
                None
            }
        }
    }
}
