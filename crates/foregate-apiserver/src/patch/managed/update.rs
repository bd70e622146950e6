//! Ownership after writes that are no applies.

use serde_json::{Value, json};

use super::super::typed::Typed;
use super::Writer;
use super::apply::{differ, release};
use super::entries::{Entries, Entry};

/// Notes in `new.metadata.managedFields` what the writer changed since `live` (`None`: a create).
/// What changed belongs to the writer alone; what is gone belongs to nobody. If nothing changed,
/// the entries are those of `live`.
///
/// Call it with the object as it will be stored, defaults included. managedFields that the client
/// sent are taken as its wish to change ownership, unless they are empty or unreadable; a list with
/// one empty entry resets them, as in Kubernetes.
pub fn update(writer: &Writer<'_>, live: Option<&Value>, new: &mut Value) {
    let sent = new.pointer("/metadata/managedFields").and_then(Value::as_array);
    let reset =
        matches!(sent.map(Vec::as_slice), Some([only]) if only.as_object().is_some_and(serde_json::Map::is_empty));
    let mut entries = if reset {
        Entries::default()
    } else {
        let own = if writer.subresource.is_none() { Entries::of(Some(new)) } else { Entries::default() };
        if own.0.is_empty() { Entries::of(live) } else { own }
    };
    let nothing = json!({});
    let difference = differ(Typed::root(writer.schema), live.unwrap_or(&nothing), new, writer);
    if !difference.is_empty() && !reset {
        for entry in entries.0.iter_mut().filter(|entry| !entry.is_of(writer, false)) {
            release(entry, &difference);
        }
        let at = entries.0.iter().position(|entry| entry.is_of(writer, false)).unwrap_or_else(|| {
            entries.0.push(Entry::new(writer, false));
            entries.0.len() - 1
        });
        let entry = &mut entries.0[at];
        let set = entry.set.difference(&difference.removed).union(&difference.changed);
        entry.set(set);
        entry.touch(writer.now);
    }
    entries.store(new, writer);
}
