//! Backends of rules: references to Services, resolved.

use foregate_api::gateway::GATEWAY_GROUP;
use foregate_api::gateway::conditions::reason;
use foregate_api::route::{Mirror, RouteBackend, RouteFilter, RouteRule};

use super::RouteState;
use super::filter::ParsedFilter;
use super::parse::{ParsedRule, Target};
use crate::grants::Reference;
use crate::problem::Problem;
use crate::{Attach, Key, service};

/// A route's rules with every reference resolved.
#[derive(Default)]
pub(super) struct Resolved {
    pub rules: Vec<RouteRule>,
    /// Service ports that it uses, each once.
    pub used: Vec<(Key, u16)>,
    /// References that lead nowhere.
    pub problems: Vec<Problem>,
}

impl Attach {
    pub(super) fn resolve_rules(&self, key: &Key, state: &RouteState) -> Resolved {
        let mut resolved = Resolved::default();
        for rule in &state.parsed.rules {
            let rule = self.resolve_rule(key, rule, &mut resolved);
            resolved.rules.push(rule);
        }
        resolved.used.sort();
        resolved.used.dedup();
        resolved
    }

    fn resolve_rule(&self, key: &Key, rule: &ParsedRule, resolved: &mut Resolved) -> RouteRule {
        let mut filters = Vec::with_capacity(rule.filters.len());
        for filter in &rule.filters {
            match filter {
                ParsedFilter::Plain(filter) => filters.push(filter.clone()),
                // A mirror that leads nowhere is left out: what it mirrors is served nonetheless.
                ParsedFilter::Mirror { target, numerator, denominator } => {
                    if let Some(backend) = self.note(key, target, resolved) {
                        let (numerator, denominator) = (*numerator, *denominator);
                        filters.push(RouteFilter::Mirror(Mirror { backend, numerator, denominator }));
                    }
                }
            }
        }
        let backends = rule.backends.iter().map(|backend| RouteBackend {
            backend: self.note(key, &backend.target, resolved),
            weight: backend.weight,
            filters: backend.filters.clone(),
        });
        RouteRule {
            name: rule.name.clone(),
            matches: rule.matches.clone(),
            backends: backends.collect(),
            filters,
            request_timeout_millis: rule.request_timeout_millis,
            backend_timeout_millis: rule.backend_timeout_millis,
            retry: rule.retry.clone(),
        }
    }

    /// Name of the GatewayBackend, noted as used; or the problem, noted as such.
    fn note(&self, key: &Key, target: &Target, resolved: &mut Resolved) -> Option<String> {
        match self.resolve_target(key, target) {
            Ok((name, port)) => {
                resolved.used.push((target.service.clone(), port));
                if let Some(refused) = self.feedback.backends.get(name.as_str()) {
                    let message = format!("port {port} of Service {}: {}", target.service, refused.message);
                    resolved.problems.push(Problem::new(reason::UNSUPPORTED_PROTOCOL, message).at(&target.path));
                }
                Some(name)
            }
            Err(problem) => {
                resolved.problems.push(problem);
                None
            }
        }
    }

    fn resolve_target(&self, key: &Key, target: &Target) -> Result<(String, u16), Problem> {
        let port = target.port.clone()?;
        let service = &target.service;
        let permitted = self.world.grants.permit(&Reference {
            from_group: GATEWAY_GROUP,
            from_kind: "HTTPRoute",
            from_namespace: &key.namespace,
            to_group: "",
            to_kind: "Service",
            to: service,
        });
        if !permitted {
            let message = format!(
                "Service {service} is in another namespace, and no ReferenceGrant there lets HTTPRoutes of {} name it",
                key.namespace
            );
            return Err(Problem::new(reason::REF_NOT_PERMITTED, message).at(&target.path));
        }
        let Some(object) = self.world.services.get(service) else {
            let message = format!("Service {service} doesn't exist");
            return Err(Problem::new(reason::BACKEND_NOT_FOUND, message).at(&target.path));
        };
        service::check(object, service, port).map_err(|problem| problem.at(&target.path))?;
        Ok((self.backend_name(object, port), port))
    }
}
