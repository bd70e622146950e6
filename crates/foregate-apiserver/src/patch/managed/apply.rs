//! Server-side apply.

use serde_json::Value;

use super::super::conflict::{Conflict, Conflicts};
use super::super::fields::Set;
use super::super::typed::{self, Difference, TypeError, Typed};
use super::Writer;
use super::entries::{Entries, Entry, strip};

/// Why a configuration can't be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The applied configuration has managedFields: 400.
    #[error("metadata.managedFields must be nil")]
    ManagedFields,
    /// The applied configuration is not an object: 400.
    #[error("the body is not an object")]
    NotAnObject,
    /// A list item without its key, or twice: 422 or 400.
    #[error("failed to create typed patch object: {0}")]
    Type(#[from] TypeError),
    /// Others own what would change: 409.
    #[error("{0}")]
    Conflicts(Conflicts),
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Applies `applied` to `live` (or to nothing, which creates it) for the writer, and returns the
/// new object with its managedFields. It equals `live` if there is nothing to do.
///
/// Fields that the manager applied before, applies no more and nobody else owns are removed.
/// `force` takes fields over that others own. The result has its defaults; they belong to nobody.
///
/// # Errors
/// [`ApplyError`]
pub fn apply(writer: &Writer<'_>, live: Option<&Value>, applied: &Value, force: bool) -> Result<Value, ApplyError> {
    if !applied.is_object() {
        return Err(ApplyError::NotAnObject);
    }
    let own = applied.pointer("/metadata/managedFields");
    if own.is_some_and(|own| !own.is_null() && own.as_array().is_none_or(|list| !list.is_empty())) {
        return Err(ApplyError::ManagedFields);
    }
    let typed = Typed::root(writer.schema);
    let mut entries = Entries::of(live);
    if entries.0.is_empty() {
        entries.0.extend(unmanaged(writer, typed, live));
    }
    let mut set = typed::fields(typed, applied)?;
    strip(&mut set, writer);

    let mut new = merge(typed, live, applied)?;
    let mine = entries.0.iter().position(|entry| entry.is_of(writer, true));
    if let Some(mine) = mine
        && entries.0[mine].set != set
    {
        let others = entries.0.iter().enumerate().filter(|(at, _)| *at != mine);
        let owned = others.fold(set.clone(), |owned, (_, entry)| owned.union(&entry.set));
        typed::prune(typed, &mut new, &entries.0[mine].set, &owned);
    }
    // Defaults belong to nobody, but without them what is live would look changed.
    writer.schema.apply_defaults(&mut new);
    // Of a new object all is new, and nobody has anything to lose by it.
    let difference = live.map(|live| differ(typed, live, &new, writer)).unwrap_or_default();
    settle_conflicts(writer, &mut entries, &difference, live, force)?;
    own_fields(writer, &mut entries, mine, set, &difference);
    entries.store(&mut new, writer);
    refresh_last_applied(writer, live, applied, &mut new);
    Ok(new)
}

/// What an object holds that has no managedFields: it belongs to someone, whoever that was.
fn unmanaged(writer: &Writer<'_>, typed: Typed<'_>, live: Option<&Value>) -> Option<Entry> {
    let before = Writer { manager: "before-first-apply", subresource: None, ..*writer };
    let mut entry = Entry::new(&before, false);
    entry.set = typed::fields(typed, live?).ok()?;
    strip(&mut entry.set, &before);
    (!entry.set.is_empty()).then_some(entry)
}

/// The live object with the applied fields; identity and managedFields stay the live ones.
fn merge(typed: Typed<'_>, live: Option<&Value>, applied: &Value) -> Result<Value, TypeError> {
    let mut new = typed::merge(typed, live, applied)?;
    let Some(live) = live else { return Ok(new) };
    for name in ["managedFields", "creationTimestamp"] {
        let before = live.get("metadata").and_then(|metadata| metadata.get(name));
        if let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) {
            match before {
                Some(before) => metadata.insert(name.into(), before.clone()),
                None => metadata.remove(name),
            };
        }
    }
    Ok(new)
}

pub(super) fn differ(typed: Typed<'_>, old: &Value, new: &Value, writer: &Writer<'_>) -> Difference {
    let mut difference = typed::compare(typed, old, new);
    strip(&mut difference.changed, writer);
    strip(&mut difference.removed, writer);
    difference
}

fn settle_conflicts(
    writer: &Writer<'_>,
    entries: &mut Entries,
    difference: &Difference,
    live: Option<&Value>,
    force: bool,
) -> Result<(), ApplyError> {
    if difference.is_empty() {
        return Ok(());
    }
    if !force {
        let conflicts = conflicts(writer, entries, difference, live);
        if !conflicts.is_empty() {
            return Err(ApplyError::Conflicts(Conflicts(conflicts)));
        }
    }
    for entry in entries.0.iter_mut().filter(|entry| !entry.is_of(writer, true)) {
        release(entry, difference);
    }
    Ok(())
}

/// Takes from an entry what another write changed or removed.
pub(super) fn release(entry: &mut Entry, difference: &Difference) {
    let left = entry.set.difference(&difference.changed).difference(&difference.removed);
    entry.set(left);
}

/// The changed fields that others hold, without those that kubectl may take from itself.
fn conflicts(writer: &Writer<'_>, entries: &Entries, difference: &Difference, live: Option<&Value>) -> Vec<Conflict> {
    let mut allowed = None;
    let mut out = Vec::new();
    for entry in entries.0.iter().filter(|entry| !entry.is_of(writer, true)) {
        let held = entry.set.intersection(&difference.changed);
        if held.is_empty() {
            continue;
        }
        let allowed = allowed.get_or_insert_with(|| applied_by_client(writer, live).unwrap_or_default());
        let manager = entry.shown();
        let held = held.difference(allowed).paths();
        out.extend(held.into_iter().map(|field| Conflict { manager: manager.clone(), field }));
    }
    out.sort_by(|a, b| (&a.manager, &a.field).cmp(&(&b.manager, &b.field)));
    out
}

/// kubectl going from client-side to server-side apply: what its annotation lists, and what still
/// has the value that it lists, is its own.
fn applied_by_client(writer: &Writer<'_>, live: Option<&Value>) -> Option<Set> {
    let live = live.filter(|_| writer.manager == "kubectl")?;
    let mut before: Value = serde_json::from_str(last_applied(live)?).ok()?;
    if before.get("apiVersion").and_then(Value::as_str) != Some(writer.api_version) {
        return None;
    }
    let typed = Typed::root(writer.schema);
    let set = typed::fields(typed, &before).ok()?;
    writer.schema.apply_defaults(&mut before);
    let since = typed::compare(typed, &before, live);
    Some(set.difference(&since.changed).difference(&since.removed))
}

fn last_applied(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str()
}

fn own_fields(writer: &Writer<'_>, entries: &mut Entries, mine: Option<usize>, set: Set, difference: &Difference) {
    match mine {
        Some(at) => {
            let entry = &mut entries.0[at];
            if entry.set != set || !difference.is_empty() {
                entry.touch(writer.now);
            }
            entry.set(set);
            entry.set_version(writer.api_version);
        }
        None => {
            let mut entry = Entry::new(writer, true);
            entry.set = set;
            entries.0.push(entry);
        }
    }
}

/// While kubectl's annotation is there, kubectl's applies keep it true, so that going back to
/// client-side apply works.
fn refresh_last_applied(writer: &Writer<'_>, live: Option<&Value>, applied: &Value, new: &mut Value) {
    if writer.manager != "kubectl" || live.and_then(last_applied).is_none() || writer.subresource.is_some() {
        return;
    }
    let mut plain = applied.clone();
    if let Some(metadata) = plain.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    let annotations = new.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"));
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        annotations.insert(LAST_APPLIED.into(), format!("{plain}\n").into());
    }
}
