//! What lies between two revisions.

use std::collections::BTreeMap;

use foregate_api::revision::{ConfigRevision, ResourceChange};

use super::{Named, RevisionError, place, steps};

/// A resource that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceDiff {
    /// Kind and name.
    pub id: Named,
    /// What it was; none: it wasn't there.
    pub old: Option<Side>,
    /// What it became; none: it isn't there any more.
    pub new: Option<Side>,
}

/// A resource at one side of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Its version.
    pub version: String,
    /// Its JSON; none: it isn't known, since the resource has changed again and nobody kept it.
    pub text: Option<String>,
}

/// The resources that differ between what a gateway served at revision `from` and at revision `to` (none: now), by
/// kind and name. `now` gives the version and the JSON of a resource that is served now.
///
/// # Errors
/// When one of them isn't kept, or what has changed in between isn't.
pub fn diff(
    revisions: &[ConfigRevision],
    proxy: &str,
    now: impl Fn(&Named) -> Option<(String, String)>,
    from: &str,
    to: Option<&str>,
) -> Result<Vec<ResourceDiff>, RevisionError> {
    let steps = steps(revisions, proxy);
    let start = place(&steps, from)?;
    let end = to.map_or(Ok(steps.len().saturating_sub(1)), |to| place(&steps, to))?;
    let (low, high) = (start.min(end), start.max(end));
    let between = steps.get(low + 1..=high).unwrap_or_default();
    let later = steps.get(high + 1..).unwrap_or_default();
    let mut differing = BTreeMap::new();
    for change in between.iter().flat_map(|step| &step.spec.changes) {
        let old = side(change);
        let entry = differing.entry(id(change)).or_insert_with(|| (old, None));
        entry.1.clone_from(&change.new_version);
    }
    // The text of what a step made is what the next step on it calls old, or what is served now.
    let next_text = |id: &Named, version: &str| {
        let changed = later.iter().flat_map(|step| &step.spec.changes).find(|change| is(change, id));
        match changed {
            Some(change) => change.old.clone(),
            None => now(id).filter(|(present, _)| present == version).map(|(_, text)| text),
        }
    };
    let diff = |(id, (old, new)): (Named, (Option<Side>, Option<String>))| {
        let new = new.map(|version| Side { text: next_text(&id, &version), version });
        let (old, new) = if start <= end { (old, new) } else { (new, old) };
        let version = |side: &Option<Side>| side.as_ref().map(|side| side.version.clone());
        (version(&old) != version(&new)).then_some(ResourceDiff { id, old, new })
    };
    Ok(differing.into_iter().filter_map(diff).collect())
}

fn id(change: &ResourceChange) -> Named {
    Named::new(&change.type_url, &change.name)
}

fn is(change: &ResourceChange, id: &Named) -> bool {
    change.name == id.name && change.type_url == id.type_url
}

/// What a resource was before a change.
fn side(change: &ResourceChange) -> Option<Side> {
    change.old_version.clone().map(|version| Side { version, text: change.old.clone() })
}
