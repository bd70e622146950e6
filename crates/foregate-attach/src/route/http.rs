//! HTTPRoutes.

use foregate_api::gateway::{HttpRouteRule, HttpRouteSpec, ParentReference};

use super::kind::{RouteSpec, Rule, RuleBackend};
use super::matching;

impl RouteSpec for HttpRouteSpec {
    fn parent_refs(&self) -> &[ParentReference] {
        &self.parent_refs
    }

    fn use_default_gateways(&self) -> Option<&str> {
        self.use_default_gateways.as_deref()
    }

    fn hostnames(&self) -> &[String] {
        &self.hostnames
    }

    fn rules<'a>(&'a self, own: &'a str) -> Vec<Rule<'a>> {
        static EVERY_REQUEST: [HttpRouteRule; 1] = [HttpRouteRule {
            name: None,
            matches: Vec::new(),
            filters: Vec::new(),
            backend_refs: Vec::new(),
            timeouts: None,
            retry: None,
            session_persistence: None,
        }];
        let rules = if self.rules.is_empty() { &EVERY_REQUEST[..] } else { &self.rules };
        rules.iter().enumerate().map(|(i, rule)| one(i, rule, own)).collect()
    }
}

fn one<'a>(i: usize, rule: &'a HttpRouteRule, own: &'a str) -> Rule<'a> {
    let path = format!("spec.rules[{i}]");
    Rule {
        name: rule.name.as_deref(),
        matches: matching::parse(&rule.matches, &path),
        filters: &rule.filters,
        backends: rule.backend_refs.iter().map(|given| RuleBackend::http(given, own)).collect(),
        timeouts: rule.timeouts.as_ref(),
        retry: rule.retry.as_ref(),
        session: rule.session_persistence.as_ref(),
        path,
    }
}
