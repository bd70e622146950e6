//! Envoy's counters of routes, under the names that the built-in engine gives them.
//!
//! Translation gives each route its name as `stat_prefix`, dots written as underscores: Envoy names its counters
//! `vhost.VIRTUAL_HOST.route.STAT_PREFIX.upstream_rq_2xx`. It counts what it forwards. Redirects and fixed answers are
//! in the counters of listeners only. Milliseconds of `upstream_rq_time` are whole, and come a few seconds later.

use std::collections::BTreeMap;
use std::fmt::Write;

/// What is asked for, as a regular expression on Envoy's names.
pub(crate) const FILTER: &str = r"^vhost\..*\.route\..*\.upstream_rq_([1-5]xx|time)$";
/// The rest of the metrics: all but those of virtual hosts' routes, which no tag tells apart where there is a dot in a
/// host name.
pub(crate) const OTHERS: &str = r"^([^v]|v[^h]|vhost\..*\.vcluster\.)";

const REQUESTS: &str = "foregate_route_requests_total";
const DURATION: &str = "foregate_route_request_duration_seconds";

/// What there is of one route, in all of its virtual hosts.
#[derive(Debug, Default)]
struct Route<'a> {
    classes: BTreeMap<&'a str, u64>,
    /// Upper bounds in milliseconds, as Envoy writes them, and how many requests were as fast; from the lowest.
    buckets: Vec<(f64, u64)>,
}

/// An instance's `/stats` with cumulative buckets as text for Prometheus. What isn't of a route is passed over.
pub(crate) fn convert(instance: &str, stats: &str) -> String {
    let mut routes: BTreeMap<String, Route<'_>> = BTreeMap::new();
    for (name, value) in stats.lines().filter_map(|line| line.split_once(": ")) {
        let mut parts = name.rsplitn(4, '.');
        let (Some(stat), Some(prefix), Some("route")) = (parts.next(), parts.next(), parts.next()) else { continue };
        let Some(what) = stat.strip_prefix("upstream_rq_") else { continue };
        let route = routes.entry(prefix.replace('_', ".")).or_default();
        match (what, value.trim().parse::<u64>()) {
            ("time", _) => route.add_buckets(value),
            (class, Ok(count)) => *route.classes.entry(class).or_default() += count,
            _ => {}
        }
    }
    print(instance, &routes)
}

impl Route<'_> {
    /// `B0.5(1,1) B1(1,2) …`: since the last few seconds, and since ever. All have the same bounds.
    fn add_buckets(&mut self, text: &str) {
        let read = |bucket: &str| {
            let (bound, counts) = bucket.strip_prefix('B')?.strip_suffix(')')?.split_once('(')?;
            Some((bound.parse::<f64>().ok()?, counts.split_once(',')?.1.parse::<u64>().ok()?))
        };
        for (at, (bound, count)) in text.split(' ').filter_map(read).enumerate() {
            match self.buckets.get_mut(at) {
                Some(known) if known.0 == bound => known.1 += count,
                Some(_) => {}
                None => self.buckets.push((bound, count)),
            }
        }
    }
}

/// What the line of each counter of an instance's routes begins with.
pub(crate) fn series(instance: &str) -> String {
    format!("{REQUESTS}{{gateway=\"{instance}\",")
}

fn print(instance: &str, routes: &BTreeMap<String, Route<'_>>) -> String {
    let mut text = String::new();
    let labels = |route: &str| format!("gateway=\"{instance}\",route=\"{}\"", escaped(route));
    // Writing to a string doesn't fail.
    let _ = writeln!(text, "# TYPE {REQUESTS} counter");
    for (name, route) in routes {
        for (class, count) in &route.classes {
            let _ = writeln!(text, "{REQUESTS}{{{},code_class=\"{class}\"}} {count}", labels(name));
        }
    }
    let _ = writeln!(text, "# TYPE {DURATION} histogram");
    for (name, route) in routes.iter().filter(|(_, route)| !route.buckets.is_empty()) {
        let labels = labels(name);
        let total = route.buckets.last().map_or(0, |(_, count)| *count);
        for (bound, count) in &route.buckets {
            let _ = writeln!(text, "{DURATION}_bucket{{{labels},le=\"{}\"}} {count}", bound / 1e3);
        }
        let _ = writeln!(text, "{DURATION}_bucket{{{labels},le=\"+Inf\"}} {total}");
        let _ = writeln!(text, "{DURATION}_count{{{labels}}} {total}");
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_what_its_virtual_hosts_have_of_it() {
        let stats = "vhost.http-8080/*.example.com.route.HTTPRoute/shop/web_v1/0/0.upstream_rq_2xx: 2\n\
             vhost.http-8080/a.route.org.route.HTTPRoute/shop/web_v1/0/0.upstream_rq_2xx: 3\n\
             vhost.http-8080/a.route.org.route.HTTPRoute/shop/web_v1/0/0.upstream_rq_5xx: 1\n\
             vhost.http-8080/*.route.HTTPRoute/a/b/0/0.upstream_rq_time: B0.5(0,1) B1.8e+06(0,4)\n\
             vhost.http-8081/*.route.HTTPRoute/a/b/0/0.upstream_rq_time: B0.5(0,1) B1.8e+06(0,1)\n\
             vhost.http-8081/*.route.HTTPRoute/a/b/0/1.upstream_rq_time: No recorded values\n\
             vhost.x.vcluster.other.upstream_rq_2xx: 7\nnothing\n";
        assert_eq!(
            convert("web.local", stats),
            "# TYPE foregate_route_requests_total counter\n\
             foregate_route_requests_total{gateway=\"web.local\",route=\"HTTPRoute/shop/web.v1/0/0\",code_class=\"2xx\"} 5\n\
             foregate_route_requests_total{gateway=\"web.local\",route=\"HTTPRoute/shop/web.v1/0/0\",code_class=\"5xx\"} 1\n\
             # TYPE foregate_route_request_duration_seconds histogram\n\
             foregate_route_request_duration_seconds_bucket{gateway=\"web.local\",route=\"HTTPRoute/a/b/0/0\",le=\"0.0005\"} 2\n\
             foregate_route_request_duration_seconds_bucket{gateway=\"web.local\",route=\"HTTPRoute/a/b/0/0\",le=\"1800\"} 5\n\
             foregate_route_request_duration_seconds_bucket{gateway=\"web.local\",route=\"HTTPRoute/a/b/0/0\",le=\"+Inf\"} 5\n\
             foregate_route_request_duration_seconds_count{gateway=\"web.local\",route=\"HTTPRoute/a/b/0/0\"} 5\n"
        );
    }
}
