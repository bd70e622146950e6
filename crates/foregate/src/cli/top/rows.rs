//! What happened between two samples.

use std::collections::BTreeMap;
use std::time::Duration;

use foregate_translate::explain::RouteOrigin;
use serde::Serialize;

use super::text::{Counters, Sample};
use crate::cli::table::{BAD, Cell, DIM, Table, WARN};

/// Requests that no route has counted: redirects, fixed answers, and what no route took.
const REST: &str = "not forwarded";

/// Gateways by the names that metrics have of them.
pub struct Names {
    /// Name in metrics, and how people say it.
    pub known: Vec<(String, String)>,
    /// Only these are shown.
    pub only: bool,
}

impl Names {
    /// None: it isn't asked for.
    fn find(&self, label: &str) -> Option<String> {
        let found = self.known.iter().find(|(name, _)| name == label).map(|(_, display)| display.clone());
        if self.only { found } else { Some(found.unwrap_or_else(|| label.to_owned())) }
    }
}

/// One route's traffic.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The gateway.
    pub gateway: String,
    /// The user's route, or what else it is.
    pub route: String,
    /// Its rule and match, e.g. `0.1`.
    pub rule: String,
    /// Requests per second.
    pub rps: f64,
    /// Percentage of them that failed: 5xx, or no answer at all.
    pub errors: f64,
    /// Percentage of them that were answered with 4xx.
    pub client_errors: f64,
    /// Half of them were as fast, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_millis: Option<f64>,
    /// 99 of 100 were as fast, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_millis: Option<f64>,
    /// Requests since the engine has known the route.
    pub total: f64,
}

impl Row {
    /// What happened between two samples, busiest first.
    pub fn between(before: &Sample, now: &Sample, time: Duration, names: &Names) -> Vec<Self> {
        let (before, now) = (by_route(before, names), by_route(now, names));
        let none = Counters::default();
        let mut rows: Vec<Self> = now
            .iter()
            .map(|(key, counters)| row(&key.0, &key.1, before.get(key).unwrap_or(&none), counters, time))
            .collect();
        rows.sort_by(|a, b| {
            b.rps.total_cmp(&a.rps).then_with(|| (&a.gateway, &a.route, &a.rule).cmp(&(&b.gateway, &b.route, &b.rule)))
        });
        rows
    }
}

/// Counters by gateway, as people say it, and route. Envoy counts a route's requests where it forwards them: what its
/// listeners have counted besides is the rest.
fn by_route(sample: &Sample, names: &Names) -> BTreeMap<(String, String), Counters> {
    let named = |all: &BTreeMap<(String, String), Counters>| -> Vec<((String, String), Counters)> {
        let named = all
            .iter()
            .filter_map(|((gateway, of), counters)| Some(((names.find(gateway)?, of.clone()), counters.clone())));
        named.collect()
    };
    let mut routes: BTreeMap<_, _> = named(&sample.routes).into_iter().collect();
    let mut rest: BTreeMap<String, Counters> = BTreeMap::new();
    for ((gateway, listener), counters) in named(&sample.listeners) {
        if routes.keys().any(|(other, _)| *other == gateway) {
            rest.entry(gateway).or_default().add(&counters, 1.0);
        } else {
            routes.insert((gateway, listener), counters);
        }
    }
    for ((gateway, _), counters) in &routes {
        if let Some(rest) = rest.get_mut(gateway) {
            rest.add(counters, -1.0);
        }
    }
    let rest = rest.into_iter().filter(|(_, counters)| counters.total() > 0.0);
    routes.extend(rest.map(|(gateway, counters)| ((gateway, REST.to_owned()), counters)));
    routes
}

fn row(gateway: &str, route: &str, before: &Counters, now: &Counters, time: Duration) -> Row {
    // An engine that was restarted counts from nothing again.
    let since = |now: f64, before: f64| if now >= before { now - before } else { now };
    let classes = now
        .classes
        .iter()
        .map(|(class, count)| (class.as_str(), since(*count, before.classes.get(class).copied().unwrap_or(0.0))));
    let classes: Vec<(&str, f64)> = classes.collect();
    let requests: f64 = classes.iter().map(|(_, count)| count).fold(0.0, |sum, count| sum + count);
    let share = |wanted: &[&str]| {
        let some: f64 = classes
            .iter()
            .filter(|(class, _)| wanted.contains(class))
            .map(|(_, count)| count)
            .fold(0.0, |sum, count| sum + count);
        if requests > 0.0 { some * 100.0 / requests } else { 0.0 }
    };
    let was = |bound: f64| before.buckets.iter().find(|(other, _)| *other == bound).map_or(0.0, |(_, count)| *count);
    let buckets: Vec<(f64, f64)> =
        now.buckets.iter().map(|(bound, count)| (*bound, since(*count, was(*bound)))).collect();
    let (route, rule) = match RouteOrigin::parse(route) {
        Some(it) => (format!("{} {}/{}", it.kind, it.namespace, it.name), format!("{}.{}", it.rule, it.match_index)),
        None => (route.to_owned(), String::new()),
    };
    Row {
        gateway: gateway.to_owned(),
        route,
        rule,
        rps: requests / time.as_secs_f64().max(0.001),
        errors: share(&["5xx", "none"]),
        client_errors: share(&["4xx"]),
        p50_millis: quantile(&buckets, 0.5),
        p99_millis: quantile(&buckets, 0.99),
        total: now.total(),
    }
}

/// In milliseconds, between the bounds of its bucket by rule of three.
fn quantile(buckets: &[(f64, f64)], share: f64) -> Option<f64> {
    let total = buckets.iter().map(|(_, count)| *count).fold(0.0, f64::max);
    if total <= 0.0 {
        return None;
    }
    let wanted = total * share;
    let mut low = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= wanted {
            if bound.is_infinite() {
                return Some(low.0 * 1000.0);
            }
            let within = (wanted - low.1) / (count - low.1).max(f64::EPSILON);
            return Some((low.0 + (bound - low.0) * within) * 1000.0);
        }
        low = (*bound, *count);
    }
    None
}

/// The line above the table.
pub fn heading(rows: &[Row]) -> String {
    let all: f64 = rows.iter().map(|row| row.rps).sum();
    let failed: f64 = rows.iter().map(|row| row.rps * row.errors / 100.0).sum();
    format!("{} requests/s, {} failed/s, {} routes", number(all), number(failed), rows.len())
}

/// Rows as a table.
pub fn table(rows: &[Row], room: Option<usize>) -> String {
    let mut table = Table::new(["gateway", "route", "rule", "req/s", "5xx %", "4xx %", "p50 ms", "p99 ms", "total"]);
    let millis = |value: Option<f64>| value.map(number).unwrap_or_else(|| "-".to_owned());
    for row in rows {
        let percent = |value: f64, style| Cell::new(number(value), if value > 0.0 { style } else { DIM });
        table.row([
            Cell::new(row.gateway.as_str(), DIM),
            // Nearly all are: the name alone tells as much.
            row.route.strip_prefix("HTTPRoute ").unwrap_or(&row.route).into(),
            row.rule.as_str().into(),
            number(row.rps).into(),
            percent(row.errors, BAD),
            percent(row.client_errors, WARN),
            millis(row.p50_millis).into(),
            millis(row.p99_millis).into(),
            Cell::new(format!("{:.0}", row.total), DIM),
        ]);
    }
    if table.is_empty() { "no route has had a request yet\n".to_owned() } else { table.render(room) }
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value {
        _ if value <= 0.0 => "0".to_owned(),
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ok: u32, bad: u32, fast: u32, all: u32) -> Sample {
        Sample::parse(&format!(
            "# TYPE foregate_route_requests_total counter\n\
             foregate_route_requests_total{{gateway=\"t/p\",route=\"HTTPRoute/a/b/0/1\",code_class=\"2xx\"}} {ok}\n\
             foregate_route_requests_total{{gateway=\"t/p\",route=\"HTTPRoute/a/b/0/1\",code_class=\"5xx\"}} {bad}\n\
             foregate_route_request_duration_seconds_bucket{{gateway=\"t/p\",route=\"HTTPRoute/a/b/0/1\",le=\"0.01\"}} {fast}\n\
             foregate_route_request_duration_seconds_bucket{{gateway=\"t/p\",route=\"HTTPRoute/a/b/0/1\",le=\"0.1\"}} {all}\n\
             foregate_route_request_duration_seconds_bucket{{gateway=\"t/p\",route=\"HTTPRoute/a/b/0/1\",le=\"+Inf\"}} {all}\n\
             other{{a=\"b\\\"c\"}} 1\nplain 2\n"
        ))
    }

    #[test]
    fn what_envoy_does_not_forward_is_the_rest() {
        let listener = "envoy_http_downstream_rq_xx{gateway=\"t/p\",envoy_response_code_class=\"2\",\
             envoy_http_conn_manager_prefix=\"http-80\"}";
        let route = "foregate_route_requests_total{gateway=\"p.n\",route=\"HTTPRoute/a/b/0/1\",code_class=\"2xx\"}";
        let names = |known: &[&str]| Names {
            known: known.iter().map(|name| ((*name).to_owned(), "web".to_owned())).collect(),
            only: true,
        };
        let rows = |before: &str, now: &str, known: &[&str]| {
            let (before, now) = (Sample::parse(before), Sample::parse(now));
            let rows = Row::between(&before, &now, Duration::from_secs(1), &names(known));
            rows.into_iter().map(|row| (row.route, row.rps, row.total)).collect::<Vec<_>>()
        };
        let now = format!("{listener} 9\n{route} 6\n");
        let both = rows(&format!("{listener} 4\n{route} 3\n"), &now, &["t/p", "p.n"]);
        assert_eq!(both, [("HTTPRoute a/b".to_owned(), 3.0, 6.0), (REST.to_owned(), 2.0, 3.0)]);
        assert_eq!(rows("", &now, &["t/p"]), [("listener http-80".to_owned(), 9.0, 9.0)]);
        assert_eq!(rows("", &format!("{listener} 6\n{route} 6\n"), &["t/p", "p.n"]).len(), 1);
    }

    #[test]
    fn rates_come_from_two_samples() {
        let names = Names { known: vec![("t/p".into(), "default/web".into())], only: false };
        let rows = Row::between(&sample(10, 0, 10, 10), &sample(28, 2, 20, 30), Duration::from_secs(2), &names);
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!(
            (row.gateway.as_str(), row.route.as_str(), row.rule.as_str()),
            ("default/web", "HTTPRoute a/b", "0.1")
        );
        assert_eq!((row.rps, row.errors, row.total), (10.0, 10.0, 30.0));
        assert_eq!(row.p50_millis, Some(10.0));
        assert!(row.p99_millis.is_some_and(|p99| p99 > 90.0 && p99 < 100.0), "{row:?}");
        let restarted = Row::between(&sample(28, 2, 20, 30), &sample(5, 0, 5, 5), Duration::from_secs(1), &names);
        assert_eq!(restarted.first().map(|row| row.rps), Some(5.0));
        let other = Names { known: Vec::new(), only: true };
        assert!(Row::between(&sample(1, 0, 1, 1), &sample(2, 0, 2, 2), Duration::from_secs(1), &other).is_empty());
    }
}
