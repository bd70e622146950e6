//! Counters, in Prometheus' text format.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Labels of a request.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub method: String,
    pub code: u32,
}

/// The server's counters.
pub(crate) struct Metrics {
    registry: Registry,
    pub requests: Family<RequestLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("foregate_apiserver");
        let requests = Family::default();
        registry.register("requests", "Requests answered", requests.clone());
        Self { registry, requests }
    }
}

impl Metrics {
    /// All of them, and what the watch logs hold.
    pub fn text(&self, log: (usize, usize)) -> String {
        let mut out = String::new();
        if encode(&mut out, &self.registry).is_err() {
            out.clear();
        }
        let own = format!(
            "# TYPE foregate_apiserver_watch_log_events gauge\nforegate_apiserver_watch_log_events {}\n\
             # TYPE foregate_apiserver_watch_log_bytes gauge\nforegate_apiserver_watch_log_bytes {}\n",
            log.0, log.1
        );
        match out.strip_suffix("# EOF\n") {
            Some(head) => format!("{head}{own}# EOF\n"),
            None => out + &own,
        }
    }
}
