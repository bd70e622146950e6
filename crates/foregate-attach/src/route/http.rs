//! HTTPRoutes.

use std::any::Any;

use foregate_api::gateway::{HTTPRoute, HttpRouteRule, ParentReference, RouteStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::kind::{Route, Rule};
use super::matching;

impl Route for HTTPRoute {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn parent_refs(&self) -> &[ParentReference] {
        &self.spec.parent_refs
    }

    fn hostnames(&self) -> &[String] {
        &self.spec.hostnames
    }

    fn status(&self) -> Option<&RouteStatus> {
        self.status.as_ref()
    }

    fn rules(&self) -> Vec<Rule<'_>> {
        static EVERY_REQUEST: [HttpRouteRule; 1] = [HttpRouteRule {
            name: None,
            matches: Vec::new(),
            filters: Vec::new(),
            backend_refs: Vec::new(),
            timeouts: None,
            retry: None,
        }];
        let rules = if self.spec.rules.is_empty() { &EVERY_REQUEST[..] } else { &self.spec.rules };
        rules.iter().enumerate().map(|(i, rule)| one(i, rule)).collect()
    }

    fn has_spec_of(&self, other: &dyn Route) -> bool {
        (other as &dyn Any).downcast_ref::<Self>().is_some_and(|other| self.spec == other.spec)
    }
}

fn one(i: usize, rule: &HttpRouteRule) -> Rule<'_> {
    let path = format!("spec.rules[{i}]");
    Rule {
        name: rule.name.as_deref(),
        matches: matching::parse(&rule.matches, &path),
        filters: &rule.filters,
        backends: &rule.backend_refs,
        timeouts: rule.timeouts.as_ref(),
        retry: rule.retry.as_ref(),
        path,
    }
}
