//! What the API tells of engines: `/foregate/metrics`, `/foregate/xds`, and what each gateway is configured with.

use std::fmt::Write;

use foregate_apiserver::{Extra, Server};
use foregate_envoy::Resource;
use foregate_xds::Cache;
use serde_json::{Value, json};

use super::metrics::Source;

/// Serves `/foregate/metrics`: those of this process's engines, for Prometheus.
pub fn mount_metrics(server: &Server, source: Source) {
    server.mount("metrics", move |_| {
        let source = source.clone();
        async move {
            let body = source.render().await.into();
            Some(Extra { content_type: "text/plain; version=0.0.4; charset=utf-8", body })
        }
    });
}

/// Serves `/foregate/xds`: what the xDS server has sent, for Prometheus.
pub fn mount_xds(server: &Server, cache: &Cache) {
    let cache = cache.clone();
    server.mount("xds", move |_| {
        let body = xds(&cache).into();
        async move { Some(Extra { content_type: "text/plain; version=0.0.4; charset=utf-8", body }) }
    });
}

fn xds(cache: &Cache) -> String {
    let (stats, mut text) = (cache.stats(), String::new());
    text += "# HELP foregate_xds_sent_bytes_total Bytes of resources sent to engines and nodes, by type.\n\
             # TYPE foregate_xds_sent_bytes_total counter\n";
    for (kind, bytes) in cache.sent_bytes() {
        let _ = writeln!(text, "foregate_xds_sent_bytes_total{{type_url=\"{}\"}} {bytes}", kind.type_url());
    }
    for (name, kind, help, value) in [
        ("streams", "gauge", "Streams that are open.", stats.streams),
        ("responses_total", "counter", "Responses sent.", stats.responses),
        ("resources_total", "counter", "Resources sent.", stats.resources),
        ("removals_total", "counter", "Removals sent.", stats.removals),
        ("acks_total", "counter", "Responses that were accepted.", stats.acks),
        ("nacks_total", "counter", "Responses that were refused.", stats.nacks),
        ("forced_total", "counter", "Resources sent before what they name was accepted.", stats.forced),
    ] {
        let _ = writeln!(text, "# HELP foregate_xds_{name} {help}\n# TYPE foregate_xds_{name} {kind}");
        let _ = writeln!(text, "foregate_xds_{name} {value}");
    }
    text
}

/// Serves `/foregate/gateways/NAMESPACE/NAME/config`: every resource that a GatewayProxy's engines get now, without what
/// Envoy marks as sensitive.
pub fn mount_gateways(server: &Server, cache: &Cache) {
    let cache = cache.clone();
    server.mount("gateways", move |path| {
        let cache = cache.clone();
        async move {
            let group = path.strip_suffix("/config")?.to_owned();
            // Printing thousands of resources takes its time: not on a thread that others wait for.
            tokio::task::spawn_blocking(move || config(&group, &cache.dump(&group))).await.ok()?
        }
    });
}

/// None: there is no such gateway, or it has nothing yet.
fn config(group: &str, resources: &[Resource]) -> Option<Extra> {
    if resources.is_empty() {
        return None;
    }
    let all: Vec<Value> = resources.iter().map(resource).collect();
    let body = json!({ "gateway": group, "resources": all }).to_string().into();
    Some(Extra { content_type: "application/json", body })
}

fn resource(resource: &Resource) -> Value {
    let needs = resource.needs.iter().map(|id| json!({ "typeUrl": id.kind.type_url(), "name": &*id.name }));
    let message = foregate_envoy::to_json(resource.id.kind, &resource.body);
    json!({
        "typeUrl": resource.id.kind.type_url(),
        "name": &*resource.id.name,
        "version": &*resource.version,
        "needs": needs.collect::<Vec<_>>(),
        "resource": message.unwrap_or_else(|error| json!({ "error": error.to_string() })),
    })
}
