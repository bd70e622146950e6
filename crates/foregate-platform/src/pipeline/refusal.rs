//! Whose fault a refusal is.
//!
//! A resource is made from several objects. Those that weren't in the last version that was acknowledged are the
//! culprits; when all of them were, nobody can be told from the others, and all are held back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foregate_api::GatewayRoute;
use foregate_xds::{Owner, ResourceId};

use crate::conditions::find;

/// How the translator says that an engine refused something ([`foregate_translate::Problem::Refused`]).
pub(super) const REFUSED: &str = "the engine refused it: ";

/// Versions of a resource that are kept: what is on its way, and what was acknowledged before.
const KEPT: usize = 4;

/// Per resource (type URL and name): who made its last versions.
#[derive(Debug, Default)]
pub(crate) struct History {
    resources: HashMap<ResourceId, VecDeque<Version>>,
}

#[derive(Clone, Debug)]
struct Version {
    sequence: u64,
    version: Arc<str>,
    owners: Arc<[Owner]>,
    refused: bool,
}

impl History {
    /// A resource was published. `applied`: what all connected instances have applied by now.
    pub(crate) fn set(&mut self, id: ResourceId, sequence: u64, version: Arc<str>, owners: Arc<[Owner]>, applied: u64) {
        // Most resources never change: one place is enough for these.
        let versions = self.resources.entry(id).or_insert_with(|| VecDeque::with_capacity(1));
        versions.retain(|old| !old.refused);
        if let Some(newest_good) = versions.iter().rposition(|old| old.sequence <= applied) {
            versions.drain(..newest_good);
        }
        // Never the oldest: it is the one that is known to be good, or the best guess.
        if versions.len() >= KEPT {
            versions.remove(1);
        }
        versions.push_back(Version { sequence, version, owners, refused: false });
    }

    /// Whether a version is the one that was published last.
    pub(crate) fn is_latest(&self, id: &ResourceId, version: &str) -> bool {
        self.resources.get(id).and_then(VecDeque::back).is_some_and(|latest| *latest.version == *version)
    }

    pub(crate) fn remove(&mut self, id: &ResourceId) {
        self.resources.remove(id);
    }

    /// Whether some engine has taken this version: one has applied it, and none had refused it before.
    pub(crate) fn is_acknowledged(&self, id: &ResourceId, version: &str, acknowledged: u64) -> bool {
        let mut versions = self.resources.get(id).into_iter().flatten();
        versions.any(|entry| *entry.version == *version && !entry.refused && entry.sequence <= acknowledged)
    }

    /// An engine refuses a version of which it isn't known that another has taken it: that it is applied says nothing.
    pub(crate) fn doubt(&mut self, id: &ResourceId, version: &str) {
        let versions = self.resources.get_mut(id).into_iter().flatten();
        versions.filter(|entry| *entry.version == *version).for_each(|entry| entry.refused = true);
    }

    /// The sequence that published a version last.
    pub(crate) fn sequence_of(&self, id: &ResourceId, version: &str) -> Option<u64> {
        let mut versions = self.resources.get(id)?.iter().rev();
        versions.find(|entry| *entry.version == *version).map(|entry| entry.sequence)
    }

    /// Whether anything was acknowledged before this version.
    pub(crate) fn has_predecessor(&self, id: &ResourceId, version: &str, applied: u64) -> bool {
        let Some(versions) = self.resources.get(id) else { return false };
        let at = versions.iter().rposition(|entry| *entry.version == *version).unwrap_or(versions.len());
        versions.iter().take(at).any(|old| !old.refused && old.sequence <= applied)
    }

    /// An engine that has applied everything up to `applied` refused a version, made by `owners`: who is to blame.
    pub(crate) fn blame(&mut self, id: &ResourceId, version: &str, owners: &[Owner], applied: u64) -> Blame {
        let mut good: Option<Arc<[Owner]>> = None;
        if let Some(versions) = self.resources.get_mut(id) {
            let refused_at = versions.iter().rposition(|entry| *entry.version == *version);
            if let Some(refused) = refused_at.and_then(|at| versions.get_mut(at)) {
                refused.refused = true;
            }
            let mut before = versions.iter().take(refused_at.unwrap_or(versions.len()));
            good = before.rfind(|old| !old.refused && old.sequence <= applied).map(|old| old.owners.clone());
        }
        let Some(good) = good else { return Blame { culprits: owners.to_vec(), certain: false } };
        let culprits: Vec<Owner> = owners.iter().filter(|owner| !good.contains(owner)).cloned().collect();
        let certain = !culprits.is_empty();
        Blame { culprits: if certain { culprits } else { owners.to_vec() }, certain }
    }
}

/// Whose fault a refusal is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Blame {
    pub culprits: Vec<Owner>,
    /// They alone are new since a version that was acknowledged.
    pub certain: bool,
}

/// What a route's status says that an engine refused, when it is still about this generation: after a start, the
/// engine needn't be asked again.
pub(crate) fn remembered(route: &Arc<GatewayRoute>) -> Option<foregate_translate::Input> {
    let status = route.status.as_ref().filter(|status| status.origin_generation == route.spec.origin.generation)?;
    let accepted = find(&status.conditions, "Accepted").filter(|condition| condition.status == "False")?;
    Some(foregate_translate::Input::Quarantine {
        uid: route.spec.origin.uid.as_str().into(),
        generation: route.spec.origin.generation,
        message: accepted.message.strip_prefix(REFUSED)?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    fn owners(list: &[(&str, i64)]) -> Arc<[Owner]> {
        list.iter().map(|&(uid, generation)| Owner { uid: uid.into(), generation }).collect()
    }

    /// Published versions (sequence, owners), what the engine has applied, which is refused → culprits.
    #[test]
    fn blame() {
        type Owners<'a> = &'a [(&'a str, i64)];
        type Case<'a> = (&'a str, &'a [(u64, Owners<'a>)], u64, Owners<'a>);
        let cases: &[Case<'_>] = &[
            ("first ever: all", &[(1, &[("a", 1), ("b", 1)])], 0, &[("a", 1), ("b", 1)]),
            ("the new one", &[(1, &[("a", 1)]), (2, &[("a", 1), ("b", 1)])], 1, &[("b", 1)]),
            ("the new generation", &[(1, &[("a", 1), ("b", 1)]), (2, &[("a", 1), ("b", 2)])], 1, &[("b", 2)]),
            ("one left, all blamed", &[(1, &[("a", 1), ("b", 1)]), (2, &[("a", 1)])], 1, &[("a", 1)]),
            (
                "the one in between isn't acknowledged",
                &[(1, &[("a", 1), ("b", 1)]), (2, &[("a", 2), ("b", 1)]), (3, &[("a", 2), ("b", 2)])],
                1,
                &[("a", 2), ("b", 2)],
            ),
            (
                "the one in between is acknowledged",
                &[(1, &[("a", 1), ("b", 1)]), (2, &[("a", 2), ("b", 1)]), (3, &[("a", 2), ("b", 2)])],
                2,
                &[("b", 2)],
            ),
        ];
        for (name, published, applied, expected) in cases {
            let mut history = History::default();
            let id = ResourceId::new(foregate_xds::ResourceKind::VirtualHost, "host");
            for (sequence, made_by) in *published {
                history.set(id.clone(), *sequence, sequence.to_string().into(), owners(made_by), *applied);
            }
            let (last, made_by) = published.last().unwrap();
            let got = history.blame(&id, &last.to_string(), &owners(made_by), *applied).culprits;
            assert_eq!(got, owners(expected).to_vec(), "{name}");
        }
    }

    #[test]
    fn what_was_refused_is_never_good() {
        let mut history = History::default();
        let id = ResourceId::new(foregate_xds::ResourceKind::VirtualHost, "host");
        history.set(id.clone(), 1, "1".into(), owners(&[("a", 1)]), 0);
        history.set(id.clone(), 2, "2".into(), owners(&[("a", 2)]), 1);
        let first = history.blame(&id, "2", &owners(&[("a", 2)]), 1);
        assert_eq!(first, Blame { culprits: owners(&[("a", 2)]).to_vec(), certain: true });
        // Refused counts as applied for progress.
        history.set(id.clone(), 3, "3".into(), owners(&[("a", 2), ("b", 1)]), 2);
        let blamed = history.blame(&id, "3", &owners(&[("a", 2), ("b", 1)]), 2).culprits;
        assert_eq!(blamed, owners(&[("a", 2), ("b", 1)]).to_vec());
    }

    #[test]
    fn history_is_bounded() {
        let mut history = History::default();
        let id = ResourceId::new(foregate_xds::ResourceKind::VirtualHost, "host");
        for sequence in 1..100 {
            history.set(id.clone(), sequence, sequence.to_string().into(), owners(&[("a", sequence as i64)]), 1);
        }
        assert_eq!(history.resources[&id].len(), KEPT);
        assert_eq!(history.resources[&id][0].sequence, 1, "the good one stays");
    }
}
