//! The Prometheus text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::counter::{BUCKETS, Counter};
use super::{ClusterStats, ControlStats, Entry, ListenerStats, ROUTE_BUCKETS, Registry, RouteStats};

const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Everything, as text.
pub(crate) fn render(registry: &Registry) -> String {
    registry.clean();
    let mut out = String::with_capacity(16 * 1024);
    listeners(&mut out, &registry.listeners.lock().entries);
    clusters(&mut out, &registry.clusters.lock().entries);
    routes(&mut out, &registry.routes.lock().entries);
    instances(&mut out, &registry.instances.lock().entries);
    head(&mut out, "connections_shed_total", "counter", "Connections closed at once, as there were too many.");
    let _ = writeln!(out, "foregate_proxy_connections_shed_total {}", registry.limit.shed.get());
    head(&mut out, "access_log_dropped_total", "counter", "Access log lines that found no room.");
    let _ = writeln!(out, "foregate_proxy_access_log_dropped_total {}", registry.log_dropped.get());
    head(&mut out, "spans_exported_total", "counter", "Spans that collectors have taken.");
    let _ = writeln!(out, "foregate_proxy_spans_exported_total {}", registry.spans_exported.get());
    head(&mut out, "spans_dropped_total", "counter", "Spans that found no room, or no collector that takes them.");
    let _ = writeln!(out, "foregate_proxy_spans_dropped_total {}", registry.spans_dropped.get());
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP foregate_proxy_{name} {help}\n# TYPE foregate_proxy_{name} {kind}");
}

type Shards<'a, S> = BTreeMap<(Arc<str>, Arc<str>), Vec<&'a S>>;

/// The workers' shards of the same thing, together.
fn grouped<S>(entries: &[Entry<S>]) -> Shards<'_, S> {
    let mut groups: Shards<'_, S> = BTreeMap::new();
    for entry in entries {
        let key = (Arc::clone(&entry.instance), Arc::clone(&entry.name));
        groups.entry(key).or_default().push(&*entry.stats);
    }
    groups
}

fn sum<S>(shards: &[&S], pick: impl Fn(&S) -> &Counter) -> u64 {
    shards.iter().fold(0, |sum, shard| sum.wrapping_add(pick(shard).get()))
}

/// `instance="…",listener="…"`
fn labels(key: &(Arc<str>, Arc<str>), what: &str) -> String {
    format!("instance=\"{}\",{what}=\"{}\"", escaped(&key.0), escaped(&key.1))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

type Row<S> = (&'static str, &'static str, &'static str, fn(&S) -> &Counter);

fn rows<S>(out: &mut String, groups: &Shards<'_, S>, what: &str, rows: &[Row<S>]) {
    for (name, kind, help, pick) in rows {
        head(out, name, kind, help);
        for (key, shards) in groups {
            let _ = writeln!(out, "foregate_proxy_{name}{{{}}} {}", labels(key, what), sum(shards, pick));
        }
    }
}

fn by_class<S>(out: &mut String, groups: &Shards<'_, S>, what: &str, name: &str, pick: fn(&S) -> &[Counter; 6]) {
    for (key, shards) in groups {
        for (class, label) in CLASSES.iter().enumerate() {
            let count = sum(shards, |shard| &pick(shard)[class]);
            if count > 0 {
                let _ = writeln!(out, "foregate_proxy_{name}{{{},code_class=\"{label}\"}} {count}", labels(key, what));
            }
        }
    }
}

fn listeners(out: &mut String, entries: &[Entry<ListenerStats>]) {
    let groups = grouped(entries);
    head(out, "requests_total", "counter", "Requests by listener and class of their status.");
    by_class(out, &groups, "listener", "requests_total", |stats| &stats.requests);
    rows(
        out,
        &groups,
        "listener",
        &[
            ("request_bytes_total", "counter", "Bytes of request bodies.", |s| &s.bytes_in),
            ("response_bytes_total", "counter", "Bytes of response bodies.", |s| &s.bytes_out),
            ("connections_total", "counter", "Connections accepted.", |s| &s.connections),
            ("connections_active", "gauge", "Connections that are open.", |s| &s.connections_active),
            ("requests_active", "gauge", "Requests under way.", |s| &s.requests_active),
            ("tls_handshake_failures_total", "counter", "TLS handshakes that failed.", |s| &s.handshake_failures),
            ("bad_requests_total", "counter", "What was not HTTP, too large or too slow.", |s| &s.bad_requests),
            ("unmatched_total", "counter", "Connections that no filter chain is for.", |s| &s.unmatched),
            ("unconnected_total", "counter", "Connections that no endpoint took.", |s| &s.unconnected),
            ("asked_passed_total", "counter", "Requests that a service was asked about and let pass.", |s| &s.asked[0]),
            ("asked_denied_total", "counter", "Requests that a service was asked about and did not.", |s| &s.asked[1]),
            ("asked_failed_total", "counter", "Questions about requests without an answer.", |s| &s.asked[2]),
            ("received_bytes_total", "counter", "Bytes of clients over TCP and UDP.", |s| &s.received),
            ("sent_bytes_total", "counter", "Bytes to clients over TCP and UDP.", |s| &s.sent),
        ],
    );
    head(out, "request_duration_seconds", "histogram", "From a request's head to the end of its response.");
    for (key, shards) in &groups {
        histogram(out, &labels(key, "listener"), shards);
    }
}

fn histogram(out: &mut String, labels: &str, shards: &[&ListenerStats]) {
    let name = "foregate_proxy_request_duration_seconds";
    let mut total = 0;
    for (index, bound) in BUCKETS.iter().enumerate() {
        total += sum(shards, |shard| &shard.duration.buckets[index]);
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{}\"}} {total}", *bound as f64 / 1e6);
    }
    total += sum(shards, |shard| &shard.duration.buckets[BUCKETS.len()]);
    let micros = sum(shards, |shard| &shard.duration.sum);
    let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {total}");
    let _ = writeln!(out, "{name}_sum{{{labels}}} {}", micros as f64 / 1e6);
    let _ = writeln!(out, "{name}_count{{{labels}}} {total}");
}

fn clusters(out: &mut String, entries: &[Entry<ClusterStats>]) {
    let groups = grouped(entries);
    head(out, "upstream_requests_total", "counter", "Requests by cluster and class of their status.");
    by_class(out, &groups, "cluster", "upstream_requests_total", |stats| &stats.requests);
    rows(
        out,
        &groups,
        "cluster",
        &[
            ("upstream_connections_total", "counter", "Connections made.", |s| &s.connections),
            ("upstream_connections_active", "gauge", "Connections that are open.", |s| &s.connections_active),
            ("upstream_connect_failures_total", "counter", "Connections that couldn't be made.", |s| {
                &s.connect_failures
            }),
            ("upstream_tls_failures_total", "counter", "TLS handshakes that failed.", |s| &s.tls_failures),
            ("upstream_resets_total", "counter", "Connections that broke before a response.", |s| &s.resets),
            ("upstream_timeouts_total", "counter", "Requests that took too long.", |s| &s.timeouts),
            ("upstream_retries_total", "counter", "Requests that were sent again.", |s| &s.retries),
            ("upstream_no_endpoint_total", "counter", "Requests that found no endpoint.", |s| &s.no_endpoint),
            ("upstream_ejections_total", "counter", "Endpoints left out, as they only failed.", |s| &s.ejections),
            ("upstream_mirrored_total", "counter", "Copies of requests.", |s| &s.mirrored),
            ("upstream_sent_bytes_total", "counter", "Bytes to endpoints over TCP and UDP.", |s| &s.sent),
            ("upstream_received_bytes_total", "counter", "Bytes of endpoints over TCP and UDP.", |s| &s.received),
        ],
    );
}

/// Their names are the same whoever runs the gateway, so they have no prefix of the engine.
fn routes(out: &mut String, entries: &[Entry<RouteStats>]) {
    let groups = grouped(entries);
    let requests = "foregate_route_requests_total";
    let _ = writeln!(out, "# HELP {requests} Requests by route and class of their status.\n# TYPE {requests} counter");
    let label = |(gateway, route): &(Arc<str>, Arc<str>)| {
        format!("gateway=\"{}\",route=\"{}\"", escaped(gateway), escaped(route))
    };
    for (key, shards) in &groups {
        for (class, name) in CLASSES.iter().enumerate() {
            let count = sum(shards, |shard| &shard.requests[class]);
            if count > 0 {
                let _ = writeln!(out, "{requests}{{{},code_class=\"{name}\"}} {count}", label(key));
            }
        }
    }
    let duration = "foregate_route_request_duration_seconds";
    let _ = writeln!(out, "# HELP {duration} From a request's head to the end of its response.");
    let _ = writeln!(out, "# TYPE {duration} histogram");
    for (key, shards) in &groups {
        let labels = label(key);
        let mut total = 0;
        for (index, bound) in ROUTE_BUCKETS.iter().enumerate() {
            total += sum(shards, |shard| &shard.buckets[index]);
            let _ = writeln!(out, "{duration}_bucket{{{labels},le=\"{}\"}} {total}", *bound as f64 / 1e6);
        }
        total += sum(shards, |shard| &shard.buckets[ROUTE_BUCKETS.len()]);
        let _ = writeln!(out, "{duration}_bucket{{{labels},le=\"+Inf\"}} {total}");
        let _ = writeln!(out, "{duration}_sum{{{labels}}} {}", sum(shards, |shard| &shard.sum) as f64 / 1e6);
        let _ = writeln!(out, "{duration}_count{{{labels}}} {total}");
    }
}

fn instances(out: &mut String, entries: &[Entry<ControlStats>]) {
    let rows: [Row<ControlStats>; 4] = [
        ("config_generation", "gauge", "Version of the configuration that serves.", |s| &s.generation),
        ("xds_nacks_total", "counter", "Responses that were refused.", |s| &s.nacks),
        ("xds_acks_total", "counter", "Responses that were accepted.", |s| &s.acks),
        ("xds_connected", "gauge", "Whether the stream is up.", |s| &s.connected),
    ];
    for (name, kind, help, pick) in rows {
        head(out, name, kind, help);
        for entry in entries {
            let instance = escaped(&entry.instance);
            let _ = writeln!(out, "foregate_proxy_{name}{{instance=\"{instance}\"}} {}", pick(&entry.stats).get());
        }
    }
}
