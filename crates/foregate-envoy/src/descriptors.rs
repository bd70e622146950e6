//! The descriptors of every Envoy message, with the options that carry validation rules and annotations.
//!
//! `descriptors/envoy.binpb` is made by `codegen/descriptors.sh` from the same protos as [`crate::pb`].

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor};

static ENCODED: &[u8] = include_bytes!("../descriptors/envoy.binpb");

/// The decoded form: some 11 MB, which only text and types not met before need.
static HELD: Mutex<Held> = Mutex::new(Held { pool: None, used: false });

struct Held {
    pool: Option<DescriptorPool>,
    /// Since the last [`trim`].
    used: bool,
}

/// Every message, enum and extension of Envoy's API. Decoded when it is used first, or again after a [`trim`]:
/// descriptors of two calls must not be mixed.
pub fn pool() -> DescriptorPool {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    held.used = true;
    // The file is part of the binary, and a test decodes it; an empty pool makes every look-up fail cleanly.
    held.pool.get_or_insert_with(|| DescriptorPool::decode(ENCODED).unwrap_or_default()).clone()
}

/// Gives the decoded form's memory back if nobody has used it since the last call.
pub fn trim() {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    if !std::mem::take(&mut held.used) {
        held.pool = None;
    }
}

/// A message by its full name, e.g. `envoy.config.listener.v3.Listener`, or by its type URL.
pub fn message(type_name: &str) -> Option<MessageDescriptor> {
    pool().get_message_by_name(type_name.rsplit('/').next()?)
}

/// Whether Envoy marks a field as sensitive (`udpa.annotations.sensitive`): keys, passwords, tokens.
pub(crate) fn is_sensitive(field: &FieldDescriptor) -> bool {
    static SENSITIVE: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let pool = pool();
        let Some(mark) = pool.get_extension_by_name("udpa.annotations.sensitive") else { return HashSet::new() };
        let fields = pool.all_messages().flat_map(|message| message.fields().collect::<Vec<_>>());
        let marked = fields.filter(|field| field.options().get_extension(&mark).as_bool() == Some(true));
        marked.map(|field| field.full_name().to_owned()).collect()
    });
    SENSITIVE.contains(field.full_name())
}

/// The name nearest to a mistyped one, when few edits lie between them.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let best = known.map(|other| (distance(name, other), other)).min()?;
    (best.0 <= 1 + name.len() / 4).then_some(best.1)
}

/// Levenshtein distance, with `-` and `_` and upper and lower case alike.
fn distance(a: &str, b: &str) -> usize {
    let fold = |c: char| if c == '-' { '_' } else { c.to_ascii_lowercase() };
    let b: Vec<char> = b.chars().map(fold).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().map(fold).take(128).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
