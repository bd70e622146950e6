//! The metrics of all Envoys of this node as one text for Prometheus.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::admin::Admin;
use super::routes;

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

    /// All metrics in the Prometheus text format: `builtin`, which is such a text, and what Envoys say, whom nobody asks
    /// but for this. Theirs are as Envoy names them, each labelled with `gateway` and `instance`; but routes are counted
    /// under the names that the built-in engine has for them.
    pub async fn render(&self, builtin: String) -> String {
        let sources: Vec<_> = self.0.lock().iter().map(|(name, source)| (name.clone(), source.clone())).collect();
        if sources.is_empty() {
            return builtin;
        }
        let texts = sources.into_iter().map(async |(instance, source)| {
            let (all, routes) = tokio::join!(source.admin.metrics(PATIENCE), source.admin.routes(PATIENCE));
            let said = |text: Result<String, _>| {
                text.inspect_err(|error| tracing::debug!(instance, %error, "an Envoy gives no metrics"))
                    .unwrap_or_default()
            };
            let labels = format!("gateway=\"{}\",instance=\"{instance}\"", source.gateway);
            (labels, said(all), said(routes), instance)
        });
        let mut all = vec![(String::new(), builtin)];
        for (labels, text, counted, instance) in futures::future::join_all(texts).await {
            all.push((labels, text));
            // While one engine takes over from the other, the same route must not be counted twice.
            if !all.first().is_some_and(|(_, builtin)| builtin.contains(&routes::series(&instance))) {
                all.push((String::new(), routes::convert(&instance, &counted)));
            }
        }
        merge(&all)
    }
}

/// One metric: its `# HELP` and `# TYPE`, and its lines.
#[derive(Default)]
struct Family<'a> {
    head: [Option<&'a str>; 2],
    lines: Vec<Cow<'a, str>>,
}

/// Puts texts together: each metric's lines must be in one place, under one `# TYPE`. To every line labels are added,
/// if there are any.
fn merge(texts: &[(String, String)]) -> String {
    let mut families: BTreeMap<&str, Family<'_>> = BTreeMap::new();
    for (labels, text) in texts {
        let mut name = "";
        for line in text.lines().filter(|line| !line.is_empty()) {
            let comment = ["# HELP ", "# TYPE "].iter().position(|start| line.starts_with(start));
            if let Some(which) = comment {
                name = line.split(' ').nth(2).unwrap_or_default();
                families.entry(name).or_default().head[which].get_or_insert(line);
            } else if !line.starts_with('#') {
                families.entry(name).or_default().lines.extend(labelled(line, labels));
            }
        }
    }
    let mut merged = String::new();
    for Family { head, lines } in families.into_values() {
        for line in head.into_iter().flatten().chain(lines.iter().map(Cow::as_ref)) {
            // Writing to a string doesn't fail.
            let _ = writeln!(merged, "{line}");
        }
    }
    merged
}

/// `name{a="b"} 1` or `name 1`, with more labels.
fn labelled<'a>(line: &'a str, labels: &str) -> Option<Cow<'a, str>> {
    if labels.is_empty() {
        return Some(line.into());
    }
    if let Some((name, rest)) = line.split_once('{') {
        let comma = if rest.starts_with('}') { "" } else { "," };
        return Some(format!("{name}{{{labels}{comma}{rest}").into());
    }
    let (name, value) = line.split_once(' ')?;
    Some(format!("{name}{{{labels}}} {value}").into())
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

    #[test]
    fn a_metric_of_both_engines_is_one_metric() {
        let builtin = "# HELP a What it is.\n# TYPE a counter\na{x=\"1\"} 1\n".to_owned();
        let envoy = "# TYPE a counter\na{x=\"2\"} 1\n".to_owned();
        let merged = merge(&[(String::new(), builtin), (String::new(), envoy)]);
        assert_eq!(merged, "# HELP a What it is.\n# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 1\n");
    }
}
