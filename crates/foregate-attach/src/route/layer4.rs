//! TLSRoutes, TCPRoutes and UDPRoutes: rules without matches and filters.

use foregate_api::gateway::{L4RouteRule, ParentReference, TcpRouteSpec, TlsRouteSpec, UdpRouteSpec};

use super::kind::{RouteSpec, Rule, RuleBackend};

impl RouteSpec for TlsRouteSpec {
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
        rules(&self.rules, own)
    }
}

impl RouteSpec for TcpRouteSpec {
    fn parent_refs(&self) -> &[ParentReference] {
        &self.parent_refs
    }

    fn use_default_gateways(&self) -> Option<&str> {
        self.use_default_gateways.as_deref()
    }

    fn hostnames(&self) -> &[String] {
        &[]
    }

    fn rules<'a>(&'a self, own: &'a str) -> Vec<Rule<'a>> {
        rules(&self.rules, own)
    }
}

impl RouteSpec for UdpRouteSpec {
    fn parent_refs(&self) -> &[ParentReference] {
        &self.parent_refs
    }

    fn use_default_gateways(&self) -> Option<&str> {
        self.use_default_gateways.as_deref()
    }

    fn hostnames(&self) -> &[String] {
        &[]
    }

    fn rules<'a>(&'a self, own: &'a str) -> Vec<Rule<'a>> {
        rules(&self.rules, own)
    }
}

/// The API takes one rule only; were there more, nothing could tell their connections apart.
fn rules<'a>(given: &'a [L4RouteRule], own: &'a str) -> Vec<Rule<'a>> {
    let first = given.first().map(|rule| Rule {
        path: "spec.rules[0]".to_owned(),
        name: rule.name.as_deref(),
        matches: Ok(Vec::new()),
        filters: &[],
        backends: rule.backend_refs.iter().map(|given| RuleBackend::plain(given, own)).collect(),
        timeouts: None,
        retry: None,
        session: None,
    });
    first.into_iter().collect()
}
