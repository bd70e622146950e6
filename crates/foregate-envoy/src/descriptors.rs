//! The descriptors of every Envoy message, with the options that carry validation rules and annotations.
//!
//! `descriptors/envoy.binpb` is made by `codegen/descriptors.sh` from the same protos as [`crate::pb`].

use std::collections::{BTreeSet, HashMap};
use std::sync::{LazyLock, Mutex, PoisonError};

use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor};

use crate::wire::{Raw, Reader};

static ENCODED: &[u8] = include_bytes!("../descriptors/envoy.binpb");

/// The decoded form, which only text and types not met before need. All of it takes some 11 MB; the files that the types
/// in use are in, and what those import, a third.
static HELD: Mutex<Held> = Mutex::new(Held { pool: None, files: BTreeSet::new(), used: false });

struct Held {
    pool: Option<DescriptorPool>,
    /// Those that the pool has, by their place in the index.
    files: BTreeSet<usize>,
    /// Since the last [`trim`].
    used: bool,
}

impl Held {
    /// The pool, with these files and all that they import.
    fn with(&mut self, files: impl IntoIterator<Item = usize>) -> DescriptorPool {
        self.used = true;
        let mut lacking = Vec::new();
        for file in files {
            self.lack(file, &mut lacking);
        }
        let pool = self.pool.get_or_insert_with(DescriptorPool::new);
        if !lacking.is_empty() {
            let set = lacking.into_iter().flat_map(|file| INDEX.files[file].encoded).copied().collect::<Vec<u8>>();
            // The files are part of the binary, and a test decodes them; what isn't there is looked up in vain.
            let _ = pool.decode_file_descriptor_set(set.as_slice());
        }
        pool.clone()
    }

    /// Appends the files that are lacking, imports first.
    fn lack(&mut self, file: usize, lacking: &mut Vec<usize>) {
        if self.files.insert(file) {
            for import in &INDEX.files[file].imports {
                self.lack(*import, lacking);
            }
            lacking.push(file);
        }
    }
}

/// Which file has which messages; little, and kept.
static INDEX: LazyLock<Index> = LazyLock::new(|| Index::read(ENCODED).unwrap_or_default());

#[derive(Default)]
struct Index {
    files: Vec<File>,
    /// By package, then by name: the files of messages that are in no other message.
    messages: HashMap<&'static str, HashMap<&'static str, usize>>,
}

struct File {
    /// With its tag and length, as it is in a FileDescriptorSet.
    encoded: &'static [u8],
    imports: Vec<usize>,
}

impl Index {
    /// Reads `FileDescriptorSet`, of each `FileDescriptorProto` its name (1), package (2), imports (3) and the names (1)
    /// of its messages (4). Imports come before those who import them.
    fn read(encoded: &'static [u8]) -> Option<Self> {
        let (mut index, mut by_name) = (Self::default(), HashMap::new());
        let mut reader = Reader::new(encoded);
        while let Some((_, file, range)) = reader.field().ok()? {
            let at = index.files.len();
            let mut found = File { encoded: &encoded[range], imports: Vec::new() };
            let (mut package, mut messages) = ("", Vec::new());
            let Raw::Bytes(file) = file else { return None };
            let mut reader = Reader::new(file);
            while let Some((number, value, _)) = reader.field().ok()? {
                match (number, value) {
                    (1, Raw::Bytes(name)) => {
                        by_name.insert(name, at);
                    }
                    (2, Raw::Bytes(name)) => package = str::from_utf8(name).ok()?,
                    (3, Raw::Bytes(name)) => found.imports.push(*by_name.get(name)?),
                    (4, Raw::Bytes(message)) => messages.push(message_name(message)?),
                    _ => {}
                }
            }
            index.messages.entry(package).or_default().extend(messages.into_iter().map(|name| (name, at)));
            index.files.push(found);
        }
        Some(index)
    }

    /// The file of a message by its full name: a package, and names of messages one in another.
    fn file_of(&self, name: &str) -> Option<usize> {
        let of = |package: &str, rest: &str| {
            let outermost = rest.split('.').next()?;
            self.messages.get(package)?.get(outermost).copied()
        };
        of("", name).or_else(|| name.match_indices('.').find_map(|(dot, _)| of(&name[..dot], &name[dot + 1..])))
    }
}

fn message_name(message: &'static [u8]) -> Option<&'static str> {
    let mut reader = Reader::new(message);
    while let Some((number, value, _)) = reader.field().ok()? {
        if let (1, Raw::Bytes(name)) = (number, value) {
            return str::from_utf8(name).ok();
        }
    }
    None
}

fn held() -> std::sync::MutexGuard<'static, Held> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every message, enum and extension of Envoy's API. Decoded when it is used first, or again after a [`trim`]:
/// descriptors of two calls must not be mixed.
pub fn pool() -> DescriptorPool {
    held().with(0..INDEX.files.len())
}

/// Gives the decoded form's memory back if nobody has used it since the last call.
pub fn trim() {
    let mut held = held();
    if !std::mem::take(&mut held.used) {
        (held.pool, held.files) = (None, BTreeSet::new());
    }
}

/// A message by its full name, e.g. `envoy.config.listener.v3.Listener`, or by its type URL. Its pool has what it refers
/// to, and may lack all else.
pub fn message(type_name: &str) -> Option<MessageDescriptor> {
    let name = type_name.rsplit('/').next()?;
    let file = INDEX.file_of(name)?;
    held().with([file]).get_message_by_name(name)
}

/// Whether Envoy marks a field as sensitive (`udpa.annotations.sensitive`): keys, passwords, tokens.
pub(crate) fn is_sensitive(field: &FieldDescriptor) -> bool {
    let mark = field.parent_pool().get_extension_by_name("udpa.annotations.sensitive");
    mark.is_some_and(|mark| field.options().get_extension(&mark).as_bool() == Some(true))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_message_is_found_by_its_name() {
        for desc in pool().all_messages() {
            let file = INDEX.file_of(desc.full_name()).unwrap_or_else(|| panic!("{}", desc.full_name()));
            let name = desc.parent_file().name().to_owned();
            // The name is the first field of the file, after the tags and lengths of both.
            let head = &INDEX.files[file].encoded[..name.len() + 8];
            assert!(head.windows(name.len()).any(|part| part == name.as_bytes()), "{} in {name}", desc.full_name());
        }
        assert!(message("envoy.config.listener.v3.Nothing").is_none() && message("").is_none());
    }

    #[test]
    fn files_come_with_what_they_import_and_nothing_else() {
        for file in (0..INDEX.files.len()).step_by(25) {
            let mut held = Held { pool: None, files: BTreeSet::new(), used: false };
            let pool = held.with([file]);
            assert_eq!(pool.files().len(), held.files.len());
            assert!(held.files.len() < 200, "{}", held.files.len());
            let more = held.with([0, file]);
            assert!(more.files().len() >= pool.files().len() && more.files().len() == held.files.len());
        }
    }
}
