//! What of Prometheus' text format is about routes.

use std::collections::BTreeMap;

/// Counters of routes and of listeners.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// By gateway (as the metric names it) and route.
    pub routes: BTreeMap<(String, String), Counters>,
    /// Envoy's, by gateway and listener.
    pub listeners: BTreeMap<(String, String), Counters>,
}

/// Counters of one route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// Requests by class of their status: `2xx`, …, `none`.
    pub classes: BTreeMap<String, f64>,
    /// Upper bounds in seconds, and how many requests were as fast.
    pub buckets: Vec<(f64, f64)>,
}

impl Sample {
    /// Reads it; lines that say something else are passed over.
    pub fn parse(text: &str) -> Self {
        let mut sample = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((head, value)) = line.rsplit_once(' ') else { continue };
            let (Some((name, labels)), Ok(value)) = (head.split_once('{'), value.parse::<f64>()) else { continue };
            sample.take(name, &read(labels.trim_end_matches('}')), value);
        }
        sample
    }

    fn take(&mut self, name: &str, labels: &BTreeMap<String, String>, value: f64) {
        let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
        let listener = || format!("listener {}", label("envoy_http_conn_manager_prefix"));
        let (key, class, unit) = match name {
            "foregate_route_requests_total" => ((label("gateway"), label("route")), Some(label("code_class")), 1.0),
            "foregate_route_request_duration_seconds_bucket" => ((label("gateway"), label("route")), None, 1.0),
            // Envoy counts by route only what it forwards.
            "envoy_http_downstream_rq_xx" => {
                ((label("gateway"), listener()), Some(format!("{}xx", label("envoy_response_code_class"))), 1.0)
            }
            "envoy_http_downstream_rq_time_bucket" => ((label("gateway"), listener()), None, 0.001),
            _ => return,
        };
        if key.1 == "listener admin" || key.1 == "listener " {
            return;
        }
        let of = if name.starts_with("envoy_") { &mut self.listeners } else { &mut self.routes };
        let counters = of.entry(key).or_default();
        match class {
            Some(class) => *counters.classes.entry(class).or_default() += value,
            None => {
                let bound = label("le").parse::<f64>().map_or(f64::INFINITY, |bound| bound * unit);
                counters.buckets.push((bound, value));
            }
        }
    }
}

impl Counters {
    /// Adds so many times what others have counted; none is less than nothing.
    pub fn add(&mut self, other: &Self, times: f64) {
        for (class, count) in &other.classes {
            let known = self.classes.entry(class.clone()).or_default();
            *known = (*known + count * times).max(0.0);
        }
    }

    /// All requests.
    pub fn total(&self) -> f64 {
        self.classes.values().sum()
    }
}

/// `a="b",c="d"`.
fn read(labels: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut rest = labels;
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = after.char_indices();
        let mut end = after.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => value.extend(chars.next().map(|(_, c)| if c == 'n' { '\n' } else { c })),
                '"' => {
                    end = at + 1;
                    break;
                }
                other => value.push(other),
            }
        }
        all.insert(name.trim_start_matches(',').trim().to_owned(), value);
        rest = &after[end..];
    }
    all
}
