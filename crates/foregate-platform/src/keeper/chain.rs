//! One gateway's revisions: those that are there, and the one in the making. Pure.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foregate_api::address::ProxyRef;
use foregate_api::revision::{ConfigRevision, ConfigRevisionSpec, Refusal, ResourceChange, Snapshot};
use foregate_api::{GROUP, Origin, VERSION};
use foregate_xds::{Resource, ResourceId};
use indexmap::IndexMap;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use kube::ResourceExt as _;
use xxhash_rust::xxh3::xxh3_64;

use super::{Step, TextOf};
use crate::revisions::DIGEST;

/// So many steps are kept, and those that are pinned.
const KEPT: usize = 10;
/// Between two revisions of one gateway.
const INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of changes in one object; what is more goes into the next. An object may have 1.5 MiB.
const MOST_BYTES: usize = 1 << 20;
/// One gateway's revisions.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// Those that are there, oldest first.
    kept: VecDeque<Written>,
    number: u64,
    /// What the last revision says that there is.
    recorded: Option<u64>,
    /// What there is.
    digest: u64,
    /// Whether what there is is known.
    begun: bool,
    pending: Pending,
    pinned: Option<String>,
    /// Parts of pinned revisions that are kept whole: name, and what they are parts of.
    snapshots: Vec<(String, PartOf)>,
    uid: Option<String>,
    last: Option<Instant>,
    failures: u32,
}

/// A revision that is there.
#[derive(Debug)]
struct Written {
    name: String,
    /// The last one of its step.
    last: bool,
}

/// What a part belongs to.
#[derive(Clone, Debug)]
pub(super) struct PartOf {
    revision: String,
    parts: u32,
}

impl From<&Snapshot> for PartOf {
    fn from(snapshot: &Snapshot) -> Self {
        Self { revision: snapshot.revision.clone(), parts: snapshot.parts }
    }
}

#[derive(Debug, Default)]
struct Pending {
    /// By cluster and UID.
    causes: IndexMap<(String, String), Origin>,
    /// By type URL and name.
    changes: IndexMap<(&'static str, Arc<str>), Change>,
    refusals: Vec<Refusal>,
    /// What was there before isn't known.
    cut: bool,
}

#[derive(Clone, Debug)]
struct Change {
    old: Option<Vec<u8>>,
    old_version: Option<Arc<str>>,
    old_needs: Arc<[ResourceId]>,
    new_version: Option<Arc<str>>,
}

/// A revision to be written.
#[derive(Debug)]
pub(super) struct Draft {
    pub revision: ConfigRevision,
    /// The last one of what was gathered.
    last: bool,
}

impl Chain {
    /// A revision that is there. They come in order of their numbers.
    pub(super) fn recall(&mut self, revision: &ConfigRevision) {
        if let Some(snapshot) = &revision.spec.snapshot {
            return self.saved(revision.name_any(), snapshot.into());
        }
        self.number = revision.spec.number;
        self.recorded = revision.annotations().get(DIGEST).and_then(|text| u64::from_str_radix(text, 16).ok());
        self.kept.push_back(Written { name: revision.name_any(), last: revision.annotations().contains_key(DIGEST) });
    }

    /// A step that was published.
    pub(super) fn absorb(&mut self, step: Step, now: Instant) {
        self.begun = true;
        self.uid = step.uid.or(self.uid.take());
        for change in &step.changes {
            let entry = (change.id.kind.type_url(), change.id.name.clone());
            let removed = change.old_version.as_ref().map_or(0, |version| hash(&entry, version));
            let added = change.new_version.as_ref().map_or(0, |version| hash(&entry, version));
            self.digest = self.digest.wrapping_sub(removed).wrapping_add(added);
        }
        if step.baseline && !self.kept.is_empty() {
            // What was there before the platform started is in no one's memory: its texts can't be given.
            self.pending.cut = self.recorded != Some(self.digest);
        } else {
            self.pending.absorb(step.causes, step.changes, step.refusals);
        }
        if !self.pending.is_empty() && self.last.is_none() {
            self.last = now.checked_sub(INTERVAL);
        }
    }

    /// When something is to be written.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.pending.is_empty() {
            return None;
        }
        self.last.map(|last| last + INTERVAL * (1 << self.failures.min(5)))
    }

    /// What is to be written now, in order.
    pub(super) fn drafts(&self, proxy: &ProxyRef, now: Timestamp, text: TextOf) -> Vec<Draft> {
        let changes: Vec<ResourceChange> =
            self.pending.changes.iter().map(|(id, change)| change.written(id, text)).collect();
        let chunks = chunks(changes);
        let count = chunks.len();
        let mut parent = self.kept.back().filter(|_| !self.pending.cut).map(|kept| kept.name.clone());
        let mut drafts = Vec::with_capacity(count);
        for (index, changes) in chunks.into_iter().enumerate() {
            let number = self.number + 1 + index as u64;
            let last = index + 1 == count;
            let spec = ConfigRevisionSpec {
                proxy: proxy.name.clone(),
                number,
                parent: parent.take(),
                time: MicroTime(now),
                causes: self.pending.causes.values().cloned().collect(),
                change_count: changes.len() as u32,
                changes,
                refusals: if last { self.pending.refusals.clone() } else { Vec::new() },
                snapshot: None,
            };
            let revision = self.object(proxy, spec, last);
            parent = Some(revision.name_any());
            drafts.push(Draft { revision, last });
        }
        drafts
    }

    fn object(&self, proxy: &ProxyRef, spec: ConfigRevisionSpec, last: bool) -> ConfigRevision {
        let mut revision = ConfigRevision::new(&format!("{}-{}", proxy.name, spec.number), spec);
        revision.metadata.namespace = Some(proxy.namespace.clone());
        if last {
            revision.annotations_mut().insert(DIGEST.to_owned(), format!("{:016x}", self.digest));
        }
        revision.metadata.owner_references = owner(proxy, self.uid.clone());
        revision
    }

    /// UID of the GatewayProxy.
    pub(super) fn uid(&self) -> Option<String> {
        self.uid.clone()
    }

    /// The revision that the gateway is held at, which is kept; none: it isn't.
    pub(super) fn pin(&mut self, revision: Option<String>, uid: Option<String>) {
        self.pinned = revision;
        self.uid = uid.or(self.uid.take());
    }

    /// A part of a revision that is kept whole is in the API.
    pub(super) fn saved(&mut self, part: String, of: PartOf) {
        if !self.snapshots.iter().any(|(known, _)| *known == part) {
            self.snapshots.push((part, of));
        }
    }

    /// Whether a revision is kept whole.
    pub(super) fn has_snapshot(&self, revision: &str) -> bool {
        let parts: Vec<&PartOf> =
            self.snapshots.iter().map(|(_, of)| of).filter(|of| of.revision == revision).collect();
        parts.first().is_some_and(|first| parts.len() >= first.parts as usize)
    }

    /// Whether resources are what the steps lead to.
    pub(super) fn is_at(&self, now: &[Resource]) -> bool {
        let sum =
            |sum: u64, it: &Resource| sum.wrapping_add(hash(&(it.id.kind.type_url(), it.id.name.clone()), &it.version));
        let now = now.iter().fold(0, sum);
        if self.begun { now == self.digest } else { Some(now) == self.recorded }
    }

    /// A draft is in the API.
    pub(super) fn written(&mut self, draft: Draft, now: Instant) {
        self.number = draft.revision.spec.number;
        self.kept.push_back(Written { name: draft.revision.name_any(), last: draft.last });
        // Drafts take changes from the front, in order.
        self.pending.changes.drain(..draft.revision.spec.changes.len());
        self.pending.cut = false;
        if draft.last {
            self.pending = Pending::default();
            self.recorded = Some(self.digest);
        }
        self.failures = 0;
        self.last = Some(now);
    }

    /// There is one of that number already.
    pub(super) fn skip_number(&mut self, now: Instant) {
        self.number += 1;
        self.last = Some(now);
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.failures += 1;
        self.last = Some(now);
    }

    /// All that are there.
    pub(super) fn names(self) -> Vec<String> {
        self.kept.into_iter().map(|kept| kept.name).chain(self.snapshots.into_iter().map(|(part, _)| part)).collect()
    }

    /// Takes what is beyond the number that is kept; the pinned one stays.
    pub(super) fn take_surplus(&mut self) -> Vec<String> {
        let last: Vec<usize> = (0..).zip(&self.kept).filter(|(_, kept)| kept.last).map(|(at, _)| at).collect();
        // Up to the last of the youngest step that goes.
        let old = last.len().checked_sub(KEPT + 1).and_then(|at| last.get(at)).map_or(0, |at| at + 1);
        let is_pinned = |kept: &Written| Some(&kept.name) == self.pinned.as_ref();
        let (stay, go): (Vec<_>, Vec<_>) = self.kept.drain(..old).partition(is_pinned);
        for kept in stay.into_iter().rev() {
            self.kept.push_front(kept);
        }
        let (stay, over): (Vec<_>, Vec<_>) = std::mem::take(&mut self.snapshots)
            .into_iter()
            .partition(|(_, of)| Some(&of.revision) == self.pinned.as_ref());
        self.snapshots = stay;
        go.into_iter().map(|kept| kept.name).chain(over.into_iter().map(|(part, _)| part)).collect()
    }
}

/// Revisions go with their GatewayProxy.
pub(super) fn owner(proxy: &ProxyRef, uid: Option<String>) -> Option<Vec<OwnerReference>> {
    let owner = |uid| OwnerReference {
        api_version: format!("{GROUP}/{VERSION}"),
        kind: "GatewayProxy".to_owned(),
        name: proxy.name.clone(),
        uid,
        controller: Some(true),
        block_owner_deletion: None,
    };
    uid.map(|uid| vec![owner(uid)])
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.refusals.is_empty() && !self.cut
    }

    fn absorb(
        &mut self,
        causes: Vec<Origin>,
        changes: Vec<foregate_translate::ResourceChange>,
        refusals: Vec<Refusal>,
    ) {
        self.causes.extend(causes.into_iter().map(|cause| ((cause.cluster.clone(), cause.uid.clone()), cause)));
        self.refusals.extend(refusals);
        for change in changes {
            let id = (change.id.kind.type_url(), change.id.name.clone());
            let entry = self.changes.entry(id.clone()).or_insert_with(|| Change {
                old: change.old.as_ref().map(|body| body.to_vec()),
                old_version: change.old_version.clone(),
                old_needs: change.old_needs.clone(),
                new_version: None,
            });
            entry.new_version = change.new_version;
            if entry.old_version == entry.new_version {
                // There and back again.
                self.changes.shift_remove(&id);
            }
        }
    }
}

impl Change {
    fn written(&self, (type_url, name): &(&'static str, Arc<str>), text: TextOf) -> ResourceChange {
        ResourceChange {
            type_url: (*type_url).to_owned(),
            name: name.to_string(),
            old: self.old.as_ref().and_then(|body| text(type_url, body)),
            old_version: self.old_version.as_deref().map(str::to_owned),
            old_needs: self.old_needs.iter().map(|id| format!("{id:?}")).collect(),
            new_version: self.new_version.as_deref().map(str::to_owned),
        }
    }
}

fn hash((type_url, name): &(&'static str, Arc<str>), version: &str) -> u64 {
    xxh3_64(format!("{type_url}\0{name}\0{version}").as_bytes())
}

/// Parts that fit into an object each; at least one.
fn chunks(changes: Vec<ResourceChange>) -> Vec<Vec<ResourceChange>> {
    let mut chunks = vec![Vec::new()];
    let mut bytes = 0;
    for change in changes {
        // JSON in JSON: quotes are escaped.
        let needs: usize = change.old_needs.iter().map(|need| need.len() + 4).sum();
        let size =
            200 + needs + change.name.len() + change.old.as_ref().map_or(0, |old| old.len() + old.matches('"').count());
        if bytes + size > MOST_BYTES && bytes > 0 {
            chunks.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(chunk) = chunks.last_mut() {
            chunk.push(change);
        }
    }
    chunks
}

#[cfg(test)]
mod tests;
