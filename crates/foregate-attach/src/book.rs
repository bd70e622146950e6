//! The book of derived objects: what is wanted, what the platform has, what is on its way.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use foregate_api::{CLUSTER_LABEL, Origin};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::output::{Derived, DerivedChange, DerivedKind};

/// Writes that may be on their way, per object; older ones are taken for done.
const ON_THEIR_WAY: usize = 16;

pub(crate) type DerivedKey = (DerivedKind, Arc<str>);

#[derive(Debug, Default)]
struct Entry {
    wanted: Option<Derived>,
    /// As the platform showed it last.
    seen: Option<Derived>,
    /// Emitted and not shown by the platform yet, in order.
    on_the_way: VecDeque<Option<Derived>>,
}

impl Entry {
    /// What the platform has once all that is on its way is there.
    fn last(&self) -> Option<&Derived> {
        self.on_the_way.back().unwrap_or(&self.seen).as_ref()
    }
}

/// All derived objects.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// Whether the platform shows copies of Secrets.
    shows_secrets: bool,
    entries: HashMap<DerivedKey, Entry>,
    touched: BTreeSet<DerivedKey>,
}

impl Book {
    /// An empty one. Where the platform doesn't show copies of Secrets, those that were written are taken for there.
    pub fn new(shows_secrets: bool) -> Self {
        Self { shows_secrets, ..Self::default() }
    }

    /// Whether nothing is wanted and nothing is there.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is wanted or there. What was written and hasn't been seen counts only where the platform may still be
    /// about to get it: `answers` says that it isn't, as it answers; what is deleted before it is seen has no echo.
    pub fn left(&self, answers: bool) -> impl Iterator<Item = &DerivedKey> {
        let is_left = move |entry: &Entry| {
            entry.wanted.is_some() || entry.seen.is_some() || (!answers && !entry.on_the_way.is_empty())
        };
        self.entries.iter().filter(move |(_, entry)| is_left(entry)).map(|(key, _)| key)
    }

    /// Takes copies of Secrets that can't be seen for gone: who was away may have lost them.
    pub fn doubt(&mut self) {
        if self.shows_secrets {
            return;
        }
        let secrets = self.entries.iter_mut().filter(|((kind, _), _)| *kind == DerivedKind::Secret);
        for (key, entry) in secrets {
            entry.seen = None;
            entry.on_the_way.clear();
            self.touched.insert(key.clone());
        }
    }

    /// Says what is wanted.
    pub fn want(&mut self, key: DerivedKey, wanted: Option<Derived>) {
        if wanted.is_none() && !self.entries.contains_key(&key) {
            return;
        }
        self.entries.entry(key.clone()).or_default().wanted = wanted;
        self.touched.insert(key);
    }

    /// Notes what the platform has. An echo of our own writes settles them; anything else is somebody's edit, which
    /// is written over.
    pub fn seen(&mut self, key: DerivedKey, seen: Option<Derived>) {
        if seen.is_none() && !self.entries.contains_key(&key) {
            return;
        }
        let entry = self.entries.entry(key.clone()).or_default();
        if same(entry.seen.as_ref(), seen.as_ref()) {
            return;
        }
        match entry.on_the_way.iter().position(|sent| same(sent.as_ref(), seen.as_ref())) {
            // Whoever deleted it, what is wanted is written again: our own deletion may have been overtaken by the
            // write after it, and then this is somebody else's.
            _ if seen.is_none() => {
                entry.on_the_way.clear();
                entry.seen = None;
            }
            Some(at) => {
                // Keeps our own object: the platform's equals it.
                entry.seen = entry.on_the_way.drain(..=at).next_back().flatten();
            }
            None => {
                entry.on_the_way.clear();
                entry.seen = seen;
            }
        }
        self.touched.insert(key);
    }

    /// Whether the platform has what is wanted. What is still on its way doesn't count: a write that changes nothing
    /// has no echo.
    pub fn is_settled(&self, key: &DerivedKey) -> bool {
        self.entries.get(key).is_some_and(|e| same(e.wanted.as_ref(), e.seen.as_ref()))
    }

    /// The writes that are needed, deletions last.
    pub fn settle(&mut self) -> Vec<DerivedChange> {
        let (mut changes, mut deletions) = (Vec::new(), Vec::new());
        for key in std::mem::take(&mut self.touched) {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            if !same(entry.last(), entry.wanted.as_ref()) {
                match &entry.wanted {
                    Some(wanted) => changes.push(DerivedChange::Set(wanted.clone())),
                    None => deletions.push(DerivedChange::Delete(key.0, key.1.clone())),
                }
                if entry.on_the_way.len() == ON_THEIR_WAY {
                    entry.on_the_way.pop_front();
                }
                entry.on_the_way.push_back(entry.wanted.clone());
                if key.0 == DerivedKind::Secret && !self.shows_secrets {
                    entry.seen = entry.on_the_way.drain(..).next_back().flatten();
                }
            }
            if entry.seen.is_some() && same(entry.seen.as_ref(), entry.wanted.as_ref()) {
                // One of two equal objects is enough.
                entry.seen.clone_from(&entry.wanted);
            }
            if entry.wanted.is_none() && entry.seen.is_none() && entry.on_the_way.is_empty() {
                self.entries.remove(&key);
            }
        }
        deletions.reverse();
        changes.append(&mut deletions);
        changes
    }
}

/// Equal in all that we write.
fn same(a: Option<&Derived>, b: Option<&Derived>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(Derived::Claim(a)), Some(Derived::Claim(b))) => Arc::ptr_eq(a, b) || a.spec == b.spec,
        (Some(Derived::Route(a)), Some(Derived::Route(b))) => Arc::ptr_eq(a, b) || a.spec == b.spec,
        (Some(Derived::Backend(a)), Some(Derived::Backend(b))) => Arc::ptr_eq(a, b) || a.spec == b.spec,
        (Some(Derived::Slice(a)), Some(Derived::Slice(b))) => Arc::ptr_eq(a, b) || a.spec == b.spec,
        (Some(Derived::Secret(a)), Some(Derived::Secret(b))) => Arc::ptr_eq(a, b) || a.data == b.data,
        _ => false,
    }
}

/// Metadata of a derived object.
pub(crate) fn metadata(namespace: &str, name: &str, origin: &Origin) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        labels: Some([(CLUSTER_LABEL.to_owned(), origin.cluster.clone())].into()),
        ..ObjectMeta::default()
    }
}
