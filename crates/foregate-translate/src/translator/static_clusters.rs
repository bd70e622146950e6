//! Static clusters that a gateway's template adds.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use foregate_envoy::pb::envoy::config::cluster::v3::Cluster;
use foregate_envoy::{ResourceId, ResourceKind};
use prost::Message;
use serde_json::{Value, json};

use super::Translator;
use super::work::Work;
use crate::Problem;
use crate::envoy::{check, cluster};
use crate::index::{Proxy, Rendered, Statics};
use crate::template::Templates;

/// Where they are.
const FIELD: &str = "spec.template.envoy.clusters";

impl Translator {
    /// Renders the static clusters of every gateway whose listeners may have changed: both see the gateway.
    pub(super) fn publish_static_clusters(&mut self, work: &mut Work) {
        let keys: Vec<_> = work.listeners.iter().cloned().collect();
        for key in keys {
            let Some(proxy) = self.index.proxies.get_mut(&key) else { continue };
            let data = json!({ "gateway": proxy.data });
            if proxy.statics.as_ref().is_some_and(|it| !it.rendered.stale && it.rendered.data == data) {
                continue;
            }
            let (made, problem) = render(proxy, &data);
            let names = match made {
                Some(made) => {
                    let names: Vec<Arc<str>> = made.keys().cloned().collect();
                    let old = proxy.statics.take().map(|it| it.names).unwrap_or_default();
                    for name in old.into_iter().filter(|name| !names.contains(name)) {
                        work.retract(&key, ResourceId::new(ResourceKind::Cluster, name));
                    }
                    for (name, body) in made {
                        let id = ResourceId::new(ResourceKind::Cluster, name);
                        work.publish(&key, Self::encoded(id, &body, [], [proxy.owner()]));
                    }
                    names
                }
                None => proxy.statics.take().map(|it| it.names).unwrap_or_default(),
            };
            let rendered = Rendered { data, problem, stale: false };
            proxy.statics = Some(Statics { rendered, names });
        }
    }
}

type Made = BTreeMap<Arc<str>, Bytes>;

fn render(proxy: &Proxy, data: &Value) -> (Option<Made>, Option<String>) {
    let mut problem = None;
    for templates in proxy.templates.candidates_or_current() {
        match render_with(templates, data) {
            Ok(made) => return (Some(made), problem),
            Err(reason) => problem = problem.or(Some(reason.to_string())),
        }
    }
    (None, problem)
}

fn render_with(templates: &Templates, data: &Value) -> Result<Made, Problem> {
    let parsed = templates.parsed.as_ref().map_err(Clone::clone)?;
    let Some(template) = &parsed.clusters else { return Ok(Made::new()) };
    let mut data = data.clone();
    data["values"] = parsed.values.clone();
    let text = template.render(&data).map_err(|error| Problem::template(FIELD, error.to_string()))?;
    if text.trim().is_empty() {
        return Ok(Made::new());
    }
    let list: Vec<Value> = serde_saphyr::from_str(&text)
        .map_err(|error| Problem::template(FIELD, format!("as rendered: not a list of clusters: {error}")))?;
    let mut made = Made::new();
    for (index, item) in list.iter().enumerate() {
        let message: Cluster = foregate_envoy::decode_json(cluster::TYPE, item).map_err(|diagnostics| {
            let all = diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            Problem::template(FIELD, format!("as rendered, item {index}: {all}"))
        })?;
        let mut body = message.encode_to_vec();
        foregate_envoy::canonical::sort(cluster::TYPE, &mut body);
        check(cluster::TYPE, &body, FIELD).map_err(Problem::into_template)?;
        made.insert(message.name.as_str().into(), body.into());
    }
    Ok(made)
}
