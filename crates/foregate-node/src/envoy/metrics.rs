//! The metrics of all Envoys of this node as one text for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::admin::Admin;

/// How long an Envoy has for its answer. One that is slower is left out.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whose metrics there are. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<BTreeMap<String, Source>>>);

#[derive(Clone, Debug)]
struct Source {
    gateway: String,
    admin: Admin,
}

impl Metrics {
    /// An instance's Envoy is there, in place of any before it.
    pub(crate) fn set(&self, instance: &str, gateway: &str, admin: &Admin) {
        let source = Source { gateway: gateway.to_owned(), admin: admin.clone() };
        self.0.lock().insert(instance.to_owned(), source);
    }

    /// An instance has no Envoy any more.
    pub(crate) fn remove(&self, instance: &str) {
        self.0.lock().remove(instance);
    }

    /// All metrics in the Prometheus text format, as Envoy names them, each labelled with `gateway` and `instance`;
    /// empty without an Envoy.
    pub async fn render(&self) -> String {
        let sources: Vec<_> = self.0.lock().iter().map(|(name, source)| (name.clone(), source.clone())).collect();
        let texts = sources.into_iter().map(async |(instance, source)| {
            let text = source.admin.metrics(PATIENCE).await;
            let text = text.inspect_err(|error| tracing::debug!(instance, %error, "an Envoy gives no metrics"));
            (format!("gateway=\"{}\",instance=\"{instance}\"", source.gateway), text.unwrap_or_default())
        });
        merge(&futures::future::join_all(texts).await)
    }
}

/// Puts texts together: each metric's lines must be in one place, under one `# TYPE`. To every line a label is added.
fn merge(texts: &[(String, String)]) -> String {
    let mut families: BTreeMap<&str, (Option<&str>, Vec<String>)> = BTreeMap::new();
    for (labels, text) in texts {
        let mut family = "";
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap_or_default();
                families.entry(family).or_default().0 = Some(line);
            } else if !line.starts_with('#') {
                families.entry(family).or_default().1.extend(labelled(line, labels));
            }
        }
    }
    let mut merged = String::new();
    for (kind, lines) in families.into_values() {
        for line in kind.into_iter().chain(lines.iter().map(String::as_str)) {
            // Writing to a string doesn't fail.
            let _ = writeln!(merged, "{line}");
        }
    }
    merged
}

/// `name{a="b"} 1` or `name 1`, with more labels.
fn labelled(line: &str, labels: &str) -> Option<String> {
    if let Some((name, rest)) = line.split_once('{') {
        let comma = if rest.starts_with('}') { "" } else { "," };
        return Some(format!("{name}{{{labels}{comma}{rest}"));
    }
    let (name, value) = line.split_once(' ')?;
    Some(format!("{name}{{{labels}}} {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_of_two_envoys_is_one_metric() {
        let text = "# TYPE envoy_a counter\nenvoy_a{} 1\n\n# TYPE envoy_b gauge\nenvoy_b{x=\"}\"} 2\nenvoy_b 3\n";
        let merged = merge(&[("i=\"1\"".to_owned(), text.to_owned()), ("i=\"2\"".to_owned(), text.to_owned())]);
        assert_eq!(
            merged,
            "# TYPE envoy_a counter\nenvoy_a{i=\"1\"} 1\nenvoy_a{i=\"2\"} 1\n# TYPE envoy_b gauge\n\
             envoy_b{i=\"1\",x=\"}\"} 2\nenvoy_b{i=\"1\"} 3\nenvoy_b{i=\"2\",x=\"}\"} 2\nenvoy_b{i=\"2\"} 3\n"
        );
        assert_eq!(merge(&[("i=\"1\"".to_owned(), String::new())]), "");
    }
}
