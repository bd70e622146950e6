//! Backends of rules: references to Services and Backends, resolved.

use foregate_api::gateway::GATEWAY_GROUP;
use foregate_api::gateway::conditions::reason;
use foregate_api::route::{Mirror, RouteBackend, RouteFilter, RouteRule};

use super::filter::ParsedFilter;
use super::parse::{ParsedRule, Target};
use super::{RouteId, RouteState};
use crate::Attach;
use crate::backend::{BackendId, Found, Sending, Upstream, Usage};
use crate::grants::Reference;
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

    /// A mirror that leads nowhere is left out: what it mirrors is served nonetheless.
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
            }
        }
        effective
    }

    /// Name of the GatewayBackend, noted as used; or the problem, noted as such.
    fn note(&self, route: &RouteId, target: &Target, to: Sending, resolved: &mut Resolved) -> Option<String> {
        match self.resolve_target(route, target, to) {
            Ok((name, backend)) => {
                let feedback = &self.targets.get(to.target).feedback;
                let refused = name.as_deref().and_then(|name| feedback.backends.get(name));
                if let Some(refused) = refused {
                    let message = format!("{backend}: {}", refused.message);
                    resolved.problems.push(Problem::new(reason::UNSUPPORTED_PROTOCOL, message).at(&target.path));
                }
                resolved.used.push(backend);
                name
            }
            Err(problem) => {
                resolved.problems.push(problem);
                None
            }
        }
    }

    fn resolve_target(&self, route: &RouteId, target: &Target, to: Sending) -> Result<Found, Problem> {
        let (upstream, port) = target.named.clone()?;
        let permitted = self.world.grants.permit(&Reference {
            from_group: GATEWAY_GROUP,
            from_kind: route.kind.as_str(),
            from_namespace: &route.key.namespace,
            to_group: upstream.group(),
            to_kind: upstream.kind(),
            to: upstream.key(),
        });
        if !permitted {
            let message = format!(
                "{upstream} is in another namespace, and no ReferenceGrant there lets {}s of {} name it",
                route.kind.as_str(),
                route.key.namespace
            );
            return Err(Problem::new(reason::REF_NOT_PERMITTED, message).at(&target.path));
        }
        let found = match &upstream {
            Upstream::Service(service) => self.find_service(service, port, to),
            Upstream::Backend(backend) => self.find_direct(backend, to),
            Upstream::XBackend(backend) => self.find_xbackend(backend, to),
        };
        found.map_err(|problem| problem.at(&target.path))
    }
}
