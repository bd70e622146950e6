//! A GatewayRoute for connections or datagrams: the shares of its one rule.

use std::sync::Arc;

use foregate_api::route::GatewayRouteSpec;

use super::hostname::ANY;
use crate::Problem;
use crate::ir::Share;

/// The shares of a route. A backend without a cluster is an unresolved share; one of weight 0 is none.
pub(crate) fn resolve(
    spec: &GatewayRouteSpec,
    cluster: &dyn Fn(&str) -> Option<Arc<str>>,
) -> Result<Arc<[Share]>, Problem> {
    let rule = match spec.rules.as_slice() {
        [] => return Ok([].into()),
        [rule] => rule,
        [_, _, ..] => {
            let reason = "a connection isn't told apart by rules: there can be one only";
            return Err(Problem::unsupported("spec.rules[1]", reason));
        }
    };
    for (field, there) in [("matches", !rule.matches.is_empty()), ("filters", !rule.filters.is_empty())] {
        if there {
            return Err(Problem::unsupported(format!("spec.rules[0].{field}"), "are for requests only"));
        }
    }
    let used = rule.backends.iter().filter(|backend| backend.weight > 0);
    let shares =
        used.map(|backend| Share { cluster: backend.backend.as_deref().and_then(cluster), weight: backend.weight });
    Ok(shares.collect())
}

/// Checks a server name: one that an engine refuses would take its whole listener along.
pub(crate) fn check_server_name(name: &str) -> Result<(), Problem> {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    if name == ANY || (!rest.is_empty() && !rest.contains('*') && !rest.contains(char::is_whitespace)) {
        return Ok(());
    }
    let reason = format!("{name:?} isn't a server name; use a name, *. and a name, or *");
    Err(Problem::invalid("spec.attachments", reason))
}
