//! Who owns whom.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Note;
use crate::namespaces::NAMESPACES;
use crate::registry::DEFINITIONS;
use crate::rest::delete::{FOREGROUND, ORPHAN};
use crate::store::{Key, OwnerRef};

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub key: Key,
    pub owners: Vec<OwnerRef>,
}

/// Something to look into. Whoever does must check the present state: it may be outdated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Task {
    /// An object with owners, of which some may be gone.
    Dependent(Arc<str>),
    /// An object that waits for its dependents to go.
    Foreground(Arc<str>),
    /// An object that waits for its dependents to be let go.
    Orphan(Arc<str>),
    /// A namespace that is going away.
    Namespace(Arc<str>),
    /// A definition that is going away.
    Definition(Arc<str>),
}

/// What becomes of an object that has owners.
#[derive(Debug)]
pub(super) enum Fate {
    /// All of its owners are there.
    Stays,
    /// It is deleted: no owner is left, or all that are left wait for it.
    Goes { waits: bool },
    /// It stays, without these owners, which are gone.
    Loses(Vec<Arc<str>>),
}

/// Every object by its UID, and the dependents of each.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: HashMap<Arc<str>, Node>,
    dependents: HashMap<Arc<str>, HashSet<Arc<str>>>,
    /// Namespaces and definitions that are going away: name by UID.
    ending: HashMap<Arc<str>, Task>,
    /// Owners that wait for their dependents.
    foreground: HashSet<Arc<str>>,
}

impl Graph {
    /// Takes a change in.
    pub fn note(&mut self, note: &Note) {
        let uid = &note.meta.uid;
        if let Some(old) = self.nodes.remove(uid) {
            for owner in &old.owners {
                if let Some(set) = self.dependents.get_mut(&owner.uid) {
                    set.remove(uid);
                    if set.is_empty() {
                        self.dependents.remove(&owner.uid);
                    }
                }
            }
        }
        self.ending.remove(uid);
        self.foreground.remove(uid);
        if note.gone {
            return;
        }
        for owner in &note.meta.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.clone());
        }
        if note.meta.deleting {
            if let Some(task) = ending(note) {
                self.ending.insert(uid.clone(), task);
            }
            if note.meta.finalizers.iter().any(|f| f == FOREGROUND) {
                self.foreground.insert(uid.clone());
            }
        }
        self.nodes.insert(uid.clone(), Node { key: note.key.clone(), owners: note.meta.owners.clone() });
    }

    /// What a change gives reason to look into.
    pub fn tasks(&self, note: &Note) -> Vec<Task> {
        let uid = &note.meta.uid;
        let mut tasks = Vec::new();
        if note.gone {
            tasks.extend(self.dependents_of(uid).map(|d| Task::Dependent(d.clone())));
            let waiting = note.meta.owners.iter().filter(|o| self.foreground.contains(&o.uid));
            tasks.extend(waiting.map(|o| Task::Foreground(o.uid.clone())));
            // The last of a namespace's or definition's objects may have been this one.
            tasks.extend(self.ending.values().filter(|t| concerns(t, &note.key)).cloned());
            return tasks;
        }
        if note.meta.deleting {
            tasks.extend(ending(note));
            if self.foreground.contains(uid) {
                tasks.push(Task::Foreground(uid.clone()));
            }
            if note.meta.finalizers.iter().any(|f| f == ORPHAN) {
                tasks.push(Task::Orphan(uid.clone()));
            }
        }
        if self.nodes.get(uid).is_some_and(|node| !matches!(self.fate(node), Fate::Stays)) {
            tasks.push(Task::Dependent(uid.clone()));
        }
        tasks
    }

    /// UIDs of the objects that name `uid` as an owner.
    pub fn dependents_of(&self, uid: &str) -> impl Iterator<Item = &Arc<str>> {
        self.dependents.get(uid).into_iter().flatten()
    }

    /// An object.
    pub fn node(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// What becomes of an object, as its owners are now.
    pub fn fate(&self, node: &Node) -> Fate {
        let (alive, gone): (Vec<_>, Vec<_>) =
            node.owners.iter().partition(|owner| self.has_owner(&owner.uid, &node.key.namespace));
        let waits = !alive.is_empty() && alive.iter().all(|owner| self.foreground.contains(&owner.uid));
        if alive.is_empty() && !gone.is_empty() || waits {
            return Fate::Goes { waits };
        }
        if gone.is_empty() { Fate::Stays } else { Fate::Loses(gone.iter().map(|owner| owner.uid.clone()).collect()) }
    }

    /// Whether `owner` is there for an object in `namespace`: owners are in the same namespace or in none.
    fn has_owner(&self, owner: &str, namespace: &str) -> bool {
        self.nodes.get(owner).is_some_and(|n| n.key.namespace.is_empty() || &*n.key.namespace == namespace)
    }
}

fn ending(note: &Note) -> Option<Task> {
    if !note.meta.deleting {
        return None;
    }
    match &*note.key.resource {
        NAMESPACES => Some(Task::Namespace(note.key.name.clone())),
        DEFINITIONS => Some(Task::Definition(note.key.name.clone())),
        _ => None,
    }
}

/// Whether an object's end can bring a namespace's or definition's end closer.
fn concerns(task: &Task, key: &Key) -> bool {
    match task {
        Task::Namespace(name) => key.namespace == *name,
        // `things.group` defines `group/things`.
        Task::Definition(name) => name.split_once('.').is_some_and(|(plural, group)| {
            key.resource.split_once('/').is_some_and(|(g, p)| g == group && p == plural)
        }),
        _ => false,
    }
}
