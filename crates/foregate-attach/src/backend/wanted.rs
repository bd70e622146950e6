//! Backends that claims want, whether a route names them or not: those of the revision that their gateway is held at.
//!
//! The platform lists them in the claims' statuses, by the names that they had. Such a name holds the UID of its Service
//! or Backend; one whose object isn't there means nothing, since what has its name now is another one.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{BackendId, Upstream, Usage};
use crate::Attach;
use crate::refs::Refs;
use crate::target::TargetId;

/// Name of a GatewayBackend at a target.
pub(crate) type WantedName = (TargetId, Arc<str>);

/// What claims want, and what that means.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Name of a GatewayBackend → claims that want it.
    claims: Refs<WantedName, Arc<str>>,
    /// UID that a wanted name may hold → those names.
    names: Refs<String, WantedName>,
    /// What wanted names mean.
    ids: HashMap<WantedName, BackendId>,
    /// Backend → names by which it is wanted.
    backends: Refs<BackendId, WantedName>,
    /// Services and Backends, by kind and UID.
    objects: HashMap<(&'static str, String), Upstream>,
}

impl Wanted {
    pub fn has(&self, id: &BackendId) -> bool {
        self.backends.has(id)
    }
}

/// One way to read a name. Text alone doesn't tell a port from the end of a UID.
#[derive(Debug, PartialEq, Eq)]
struct Reading<'a> {
    kind: &'static str,
    uid: &'a str,
    port: u16,
    usage: Usage,
}

impl Attach {
    /// A claim wants others than before.
    pub(crate) fn follow_wanted(&mut self, target: TargetId, claim: &Arc<str>, old: &[String], new: &[String]) {
        if old == new {
            return;
        }
        let [old, new]: [BTreeSet<&str>; 2] = [old, new].map(|names| names.iter().map(String::as_str).collect());
        for changed in old.symmetric_difference(&new) {
            let name: WantedName = (target, Arc::from(*changed));
            let before = self.wanted.claims.has(&name);
            if new.contains(changed) {
                self.wanted.claims.add(&name, claim.clone());
            } else {
                self.wanted.claims.remove(&name, claim);
            }
            let is_wanted = self.wanted.claims.has(&name);
            if before == is_wanted {
                continue;
            }
            for Reading { uid, .. } in readings(&self.targets.get(target).cluster, changed) {
                if is_wanted {
                    self.wanted.names.add(&uid.to_owned(), name.clone());
                } else {
                    self.wanted.names.remove(&uid.to_owned(), &name);
                }
            }
            self.dirty.wanted.insert(name);
        }
    }

    /// An object has come, gone, or been replaced.
    pub(crate) fn know(&mut self, upstream: &Upstream, old: Option<String>, new: Option<String>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.dirty.wanted.extend(self.wanted.names.of(&old).cloned());
            let id = (upstream.kind(), old);
            if self.wanted.objects.get(&id) == Some(upstream) {
                self.wanted.objects.remove(&id);
            }
        }
        if let Some(new) = new {
            self.dirty.wanted.extend(self.wanted.names.of(&new).cloned());
            self.wanted.objects.insert((upstream.kind(), new), upstream.clone());
        }
    }

    /// Finds what a name means.
    pub(crate) fn resolve_wanted(&mut self, name: &WantedName) {
        let new = if self.wanted.claims.has(name) { self.meaning(name) } else { None };
        let old = match &new {
            Some(id) => self.wanted.ids.insert(name.clone(), id.clone()),
            None => self.wanted.ids.remove(name),
        };
        if old == new {
            return;
        }
        self.wanted.backends.replace(name, &old, &new);
        old.iter().chain(&new).for_each(|id| self.follow_use(id));
    }

    fn meaning(&self, (target, name): &WantedName) -> Option<BackendId> {
        let target = *target;
        readings(&self.targets.get(target).cluster, name).into_iter().find_map(|Reading { kind, uid, port, usage }| {
            let upstream = self.wanted.objects.get(&(kind, uid.to_owned()))?.clone();
            Some(BackendId { target, upstream, port, usage })
        })
    }
}

/// All ways to read a name; none: it is another cluster's.
fn readings<'a>(cluster: &str, name: &'a str) -> Vec<Reading<'a>> {
    let Some(rest) = name.strip_prefix(cluster).and_then(|rest| rest.strip_prefix('-')) else { return Vec::new() };
    let forms = Usage::ALL.into_iter().filter_map(|usage| Some((rest.strip_suffix(usage.suffix())?, usage)));
    let mut readings = Vec::new();
    for (text, usage) in forms {
        if let Some((uid, digits)) = text.rsplit_once('-')
            && let Ok(port) = digits.parse::<u16>()
            && port != 0
            && port.to_string() == digits
        {
            readings.push(Reading { kind: "Service", uid, port, usage });
        }
        readings.push(Reading { kind: "Backend", uid: text, port: 0, usage });
        readings.push(Reading { kind: "XBackend", uid: text, port: 0, usage });
    }
    readings
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    #[test]
    fn names_are_read_in_every_way_that_they_may_be_meant() {
        let shown = |name| {
            let show =
                |it: Reading<'_>| format!("{} {}:{}{}", it.kind, it.uid, it.port, it.usage.suffix().replace('-', " "));
            readings("local", name).into_iter().map(show).collect::<Vec<_>>()
        };
        assert_eq!(shown("local-3f-4a-80"), ["Service 3f-4a:80", "Backend 3f-4a-80:0", "XBackend 3f-4a-80:0"]);
        assert_eq!(shown("local-3f-4a"), ["Backend 3f-4a:0", "XBackend 3f-4a:0"]);
        for (name, usage) in [("local-3f-80-grpc", "grpc"), ("local-3f-80-udp", "udp")] {
            let whole = [format!("Backend 3f-80-{usage}:0"), format!("XBackend 3f-80-{usage}:0")];
            let service = format!("Service 3f:80 {usage}");
            let others = [format!("Backend 3f-80:0 {usage}"), format!("XBackend 3f-80:0 {usage}")];
            assert_eq!(shown(name), [&whole[..], &[service], &others].concat());
        }
        assert_eq!(shown("local-3f-080"), ["Backend 3f-080:0", "XBackend 3f-080:0"]);
        assert_eq!(shown("local-3f-70000"), ["Backend 3f-70000:0", "XBackend 3f-70000:0"]);
        assert!(shown("other-3f-80").is_empty() && shown("local3f-80").is_empty() && shown("").is_empty());
    }
}
