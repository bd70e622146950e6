//! The configuration at a revision: the present one, with every step since undone.

use std::collections::BTreeMap;

use foregate_api::revision::ConfigRevision;

use super::{Named, RevisionError, Versions, place, snapshot, steps};

/// A resource as it was at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its version: the hash of its encoded message.
    pub version: String,
    /// Its JSON; none: it is as it is now.
    pub text: Option<String>,
    /// What it names, as `<kind> <name>`; empty when it is as it is now.
    pub needs: Vec<String>,
}

/// Every resource that a gateway served at a revision, but for endpoints and secrets.
///
/// `revisions` are ConfigRevisions of the gateway's namespace, in any order; `now` is what the gateway serves after the
/// newest of them. A resource whose version is the present one has no text.
///
/// # Errors
/// When the revision isn't kept, or when what has changed since isn't.
pub fn rebuild(
    revisions: &[ConfigRevision],
    proxy: &str,
    now: &Versions,
    name: &str,
) -> Result<BTreeMap<Named, Kept>, RevisionError> {
    let steps = steps(revisions, proxy);
    let undone = place(&steps, name).and_then(|at| undo(steps.get(at + 1..).unwrap_or_default(), now, name));
    // Either may be lost: the steps by a change while the platform was away, the snapshot before it is written.
    undone.or_else(|error| snapshot::read(revisions, proxy, now, name).ok_or(error))
}

fn undo(since: &[&ConfigRevision], now: &Versions, name: &str) -> Result<BTreeMap<Named, Kept>, RevisionError> {
    let as_now = |version: &String| Kept { version: version.clone(), text: None, needs: Vec::new() };
    let mut state: BTreeMap<Named, Kept> = now.iter().map(|(id, version)| (id.clone(), as_now(version))).collect();
    for step in since.iter().rev() {
        for change in &step.spec.changes {
            let id = Named::new(&change.type_url, &change.name);
            if state.get(&id).map(|kept| &kept.version) != change.new_version.as_ref() {
                let reason = format!("{id} isn't what {} made it", kube::ResourceExt::name_any(*step));
                return Err(RevisionError::Broken { name: name.to_owned(), reason });
            }
            match &change.old_version {
                None => drop(state.remove(&id)),
                Some(version) if now.get(&id) == Some(version) => drop(state.insert(id, as_now(version))),
                Some(version) => {
                    let needs = change.old_needs.clone();
                    let text = change.old.clone().or_else(|| Some(String::new()));
                    state.insert(id, Kept { version: version.clone(), text, needs });
                }
            }
        }
    }
    Ok(state)
}
