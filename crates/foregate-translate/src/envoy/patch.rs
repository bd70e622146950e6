//! An operator's patches: YAML that is merged into virtual hosts and routes.

use foregate_template::Template;
use serde_json::{Value, json};

use super::{route, virtual_host};
use crate::Problem;
use crate::ir::{Entry, Match, Rule};

/// Where the patch for routes is.
pub(super) const ROUTE_FIELD: &str = "spec.template.envoy.routePatch";
/// Where the patch for virtual hosts is.
pub(super) const VIRTUAL_HOST_FIELD: &str = "spec.template.envoy.virtualHostPatch";

/// The patch for the routes of one gateway.
pub(crate) struct RoutePatch<'a> {
    pub template: &'a Template,
    /// `.gateway`.
    pub gateway: &'a Value,
    /// `.values`.
    pub values: &'a Value,
}

impl RoutePatch<'_> {
    /// The patch for one route, encoded. Appended to the route's own bytes it is merged into it: values replace,
    /// messages merge, lists grow.
    pub(super) fn render(&self, entry: &Entry, rule: &Rule, matched: &Match, index: u32) -> Result<Vec<u8>, Problem> {
        let data = json!({
            "gateway": self.gateway,
            "values": self.values,
            "route": {
                "name": route::name(entry, rule, index),
                "origin": entry.route,
                "rule": rule.name,
                "match": matched,
                "action": rule.action,
            },
        });
        encode(self.template, &data, route::TYPE, ROUTE_FIELD)
    }
}

/// The patch for the virtual hosts of one gateway.
pub(crate) struct VirtualHostPatch<'a> {
    pub template: &'a Template,
    /// `.gateway`.
    pub gateway: &'a Value,
    /// `.values`.
    pub values: &'a Value,
}

impl VirtualHostPatch<'_> {
    /// The patch for one virtual host, encoded.
    pub(super) fn render(&self, name: &str, domain: &str) -> Result<Vec<u8>, Problem> {
        let data = json!({
            "gateway": self.gateway,
            "values": self.values,
            "virtualHost": { "name": name, "domain": domain },
        });
        encode(self.template, &data, virtual_host::TYPE, VIRTUAL_HOST_FIELD)
    }
}

/// A message with a patch behind it, as one message in canonical form: what is read of it (a revision keeps its JSON)
/// gives the same bytes again.
pub(super) fn merged(type_name: &str, body: Vec<u8>) -> Vec<u8> {
    // It was decoded to be checked.
    foregate_envoy::decode(type_name, &body).map_or(body, |message| foregate_envoy::canonical::encode(&message))
}

fn encode(template: &Template, data: &Value, type_name: &str, field: &str) -> Result<Vec<u8>, Problem> {
    let text = template.render(data).map_err(|error| Problem::template(field, error.to_string()))?;
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    match foregate_envoy::from_yaml(type_name, &text) {
        Ok(message) => Ok(foregate_envoy::canonical::encode(&message)),
        Err(diagnostics) => {
            let all = diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            Err(Problem::template(field, format!("as rendered: {all}")))
        }
    }
}
