//! What translation says against a gateway, told apart: a line each, about a listener, a Secret, or the template.

use foregate_api::GatewayClaim;
use kube::ResourceExt as _;

/// The translator's lines about one GatewayProxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Complaint<'a> {
    text: &'a str,
}

impl<'a> Complaint<'a> {
    pub(crate) fn new(text: Option<&'a str>) -> Self {
        Self { text: text.unwrap_or_default() }
    }

    /// What is wrong with the template, each thing once: it is rendered for each listener, and fails on each alike.
    pub(crate) fn of_template(self) -> Option<String> {
        let (mut lines, mut said) = (Vec::new(), Vec::new());
        for line in self.text.lines() {
            if line.starts_with("Secret ") || line.starts_with("listener ") {
                continue;
            }
            let what = without_listener(line);
            if !said.contains(&what) {
                said.push(what);
                lines.push(line);
            }
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// Whether something of a claim can't be served for what is said.
    pub(crate) fn is_about(self, claim: &GatewayClaim) -> bool {
        let (name, namespace) = (claim.name_any(), claim.namespace().unwrap_or_default());
        self.of_template().is_some()
            || claim.spec.listeners.iter().any(|listener| {
                let mut certificates = listener.tls.iter().flat_map(|tls| &tls.certificates);
                self.of_listener(&name, &listener.name).is_some()
                    || certificates.any(|certificate| self.of_secret(&namespace, certificate).is_some())
            })
    }

    /// What is wrong with a claim's listener.
    pub(crate) fn of_listener(self, claim: &str, listener: &str) -> Option<&'a str> {
        self.text.lines().find_map(|line| {
            line.strip_prefix("listener ")?
                .strip_prefix(listener)?
                .strip_prefix(" of claim ")?
                .strip_prefix(claim)?
                .strip_prefix(": ")
        })
    }

    /// What is wrong with a Secret that a listener names; it serves nothing.
    pub(crate) fn of_secret(self, namespace: &str, name: &str) -> Option<&'a str> {
        self.text.lines().find(|line| {
            let rest = line.strip_prefix("Secret ").and_then(|rest| rest.strip_prefix(namespace));
            rest.and_then(|rest| rest.strip_prefix('/'))
                .and_then(|rest| rest.strip_prefix(name))
                .is_some_and(|rest| rest.starts_with(' '))
        })
    }
}

/// A line about rendering a listener, without the listener's name.
fn without_listener(line: &str) -> String {
    match line.split_once("rendering ").and_then(|(before, rest)| Some((before, rest.split_once(": ")?.1))) {
        Some((before, why)) => format!("{before}{why}"),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    #[test]
    fn told_apart() {
        let text = "spec.template.envoy.listener: line 3\nlistener web of claim a: UDP can't be served\nSecret t/cert isn't there";
        let complaint = Complaint::new(Some(text));
        assert_eq!(complaint.of_template().unwrap(), "spec.template.envoy.listener: line 3");
        assert_eq!(complaint.of_listener("a", "web"), Some("UDP can't be served"));
        assert_eq!(complaint.of_listener("a", "we"), None);
        assert_eq!(complaint.of_secret("t", "cert"), Some("Secret t/cert isn't there"));
        assert_eq!(complaint.of_secret("t", "cer"), None);
        assert_eq!(Complaint::new(None).of_template(), None);
        assert_eq!(Complaint::new(Some("Secret t/cert isn't there")).of_template(), None);
    }

    #[test]
    fn what_fails_on_every_listener_is_said_once() {
        let text = "spec.template.envoy.listener: rendering http-80: line 3: no\n\
                    spec.template.envoy.listener: rendering tls-443: line 3: no\nspec.template.envoy.clusters: other";
        let said = Complaint::new(Some(text)).of_template().unwrap();
        assert_eq!(
            said,
            "spec.template.envoy.listener: rendering http-80: line 3: no\nspec.template.envoy.clusters: other"
        );
    }
}
