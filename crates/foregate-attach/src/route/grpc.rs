//! GRPCRoutes: a call of a method is a request for the path `/service/method`.

use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{
    GrpcMethodMatch, GrpcRouteMatch, GrpcRouteRule, GrpcRouteSpec, ParentReference, ValueMatchType,
};
use foregate_api::route::{PathMatch, PathMatchKind, RouteMatch};

use super::kind::{RouteSpec, Rule, RuleBackend};
use super::matching;
use crate::problem::Problem;

impl RouteSpec for GrpcRouteSpec {
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
        self.rules.iter().enumerate().map(|(i, rule)| one(i, rule, own)).collect()
    }
}

fn one<'a>(i: usize, rule: &'a GrpcRouteRule, own: &'a str) -> Rule<'a> {
    let path = format!("spec.rules[{i}]");
    Rule {
        name: rule.name.as_deref(),
        matches: matches(&rule.matches, &path),
        filters: &rule.filters,
        backends: rule.backend_refs.iter().map(|given| RuleBackend::http(given, own)).collect(),
        timeouts: None,
        retry: None,
        session: rule.session_persistence.as_ref(),
        path,
    }
}

/// None match every call.
fn matches(given: &[GrpcRouteMatch], path: &str) -> Result<Vec<RouteMatch>, Problem> {
    if given.is_empty() {
        return Ok(vec![RouteMatch::default()]);
    }
    given.iter().enumerate().map(|(i, m)| one_match(m, &format!("{path}.matches[{i}]"))).collect()
}

fn one_match(given: &GrpcRouteMatch, path: &str) -> Result<RouteMatch, Problem> {
    Ok(RouteMatch {
        path: given.method.as_ref().map(|m| method(m, &format!("{path}.method"))).transpose()?.flatten(),
        headers: matching::headers(&given.headers, path)?,
        ..RouteMatch::default()
    })
}

/// Longer services come before longer methods, as the standard wants it: a match of both is exact, one of the service
/// alone a prefix, one of the method alone an expression, and they have precedence in this order.
fn method(given: &GrpcMethodMatch, path: &str) -> Result<Option<PathMatch>, Problem> {
    let service = given.service.as_deref().filter(|s| !s.is_empty());
    let method = given.method.as_deref().filter(|m| !m.is_empty());
    let (kind, value) = match (given.kind.unwrap_or_default(), service, method) {
        (_, None, None) => return Ok(None),
        (ValueMatchType::Exact, Some(service), Some(method)) => (PathMatchKind::Exact, format!("/{service}/{method}")),
        (ValueMatchType::Exact, Some(service), None) => (PathMatchKind::PathPrefix, format!("/{service}")),
        (ValueMatchType::Exact, None, Some(method)) => {
            (PathMatchKind::RegularExpression, format!("/[^/]+/{}", regex::escape(method)))
        }
        (ValueMatchType::RegularExpression, service, method) => {
            (PathMatchKind::RegularExpression, expression(service, method, path)?)
        }
        (ValueMatchType::Unknown, ..) => {
            let message = format!("{path}.type: not known to this version");
            return Err(Problem::new(reason::UNSUPPORTED_VALUE, message));
        }
    };
    Ok(Some(PathMatch { kind, value }))
}

fn expression(service: Option<&str>, method: Option<&str>, path: &str) -> Result<String, Problem> {
    let mut whole = String::new();
    for (field, part) in [("service", service), ("method", method)] {
        match part {
            Some(part) => {
                matching::check_expression(part, &format!("{path}.{field}"))?;
                // An expression with alternatives stays within its part.
                whole.push_str(&format!("/(?:{part})"));
            }
            None => whole.push_str("/[^/]+"),
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn methods_are_paths() {
        use PathMatchKind::{Exact, PathPrefix, RegularExpression};
        let table = [
            ("Exact", Some("a.S"), Some("M"), Some((Exact, "/a.S/M"))),
            ("Exact", Some("a.S"), None, Some((PathPrefix, "/a.S"))),
            ("Exact", None, Some("M"), Some((RegularExpression, "/[^/]+/M"))),
            ("Exact", None, None, None),
            ("Exact", Some(""), Some(""), None),
            ("RegularExpression", Some("a|b"), Some("G.*"), Some((RegularExpression, "/(?:a|b)/(?:G.*)"))),
            ("RegularExpression", Some("a"), None, Some((RegularExpression, "/(?:a)/[^/]+"))),
            ("RegularExpression", None, Some("b"), Some((RegularExpression, "/[^/]+/(?:b)"))),
        ];
        for (kind, service, name, expected) in table {
            let given = serde_json::json!({ "type": kind, "service": service, "method": name });
            let given: GrpcMethodMatch = serde_json::from_value(given).unwrap();
            let expected = expected.map(|(kind, value)| PathMatch { kind, value: value.to_owned() });
            assert_eq!(method(&given, "m").unwrap(), expected, "{kind} {service:?} {name:?}");
        }
    }

    #[test]
    fn expressions_are_checked_part_by_part() {
        let given = GrpcMethodMatch {
            kind: Some(ValueMatchType::RegularExpression),
            service: Some("a)(b".to_owned()),
            method: None,
        };
        assert!(method(&given, "m").unwrap_err().message.starts_with("m.service: "));
    }
}
