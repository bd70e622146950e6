//! An instance's file: all that it serves, with a checksum.
//!
//! The file is a line that names the format, the payload's length (8 bytes, little-endian), its XXH3-128 (16 bytes), and the
//! payload: a protobuf message. It is written beside its place and moved there, so that it is old or new, never half.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use foregate_envoy::Resource;
use prost::Message;
use xxhash_rust::xxh3::xxh3_128;

use super::wire::{id_text, parse_id};
use crate::event::Instance;

const FORMAT: &[u8] = b"foregate-relay 1\n";
const HEAD: usize = FORMAT.len() + 8 + 16;
const EXTENSION: &str = "xds";
/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 2 << 30;

/// What an instance's file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The name by which the platform knows the instance (`node.id`).
    pub id: String,
    /// The instance.
    pub instance: Instance,
    /// What was given to [`Relay::follow`](super::Relay::follow).
    pub note: Bytes,
    /// Everything that it serves.
    pub resources: Vec<Resource>,
}

/// Why a file isn't used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It isn't such a file, or one of another version.
    #[error("it doesn't begin with the line `foregate-relay 1`")]
    Format,
    /// It ends too early, or too late.
    #[error("it should have {expected} bytes and has {found}")]
    Length {
        /// By its head.
        expected: u64,
        /// In truth.
        found: u64,
    },
    /// Its content is not what was written.
    #[error("its checksum is wrong")]
    Checksum,
    /// Its content makes no sense.
    #[error("{0}")]
    Content(String),
}

#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    group: String,
    #[prost(string, tag = "3")]
    node: String,
    #[prost(bytes = "bytes", tag = "4")]
    note: Bytes,
    #[prost(message, repeated, tag = "5")]
    resources: Vec<Item>,
}

#[derive(Clone, PartialEq, Message)]
struct Item {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(bytes = "bytes", tag = "3")]
    body: Bytes,
    #[prost(string, repeated, tag = "4")]
    needs: Vec<String>,
}

impl Stored {
    /// Who it is, without what it serves.
    pub(super) fn without_resources(&self) -> Self {
        Self { resources: Vec::new(), ..self.clone() }
    }

    /// The content of its file.
    pub fn encode(&self) -> Vec<u8> {
        let item = |resource: &Resource| Item {
            id: id_text(&resource.id),
            version: resource.version.to_string(),
            body: resource.body.clone(),
            needs: resource.needs.iter().map(id_text).collect(),
        };
        let file = File {
            id: self.id.clone(),
            group: self.instance.group.to_string(),
            node: self.instance.node.to_string(),
            note: self.note.clone(),
            resources: self.resources.iter().map(item).collect(),
        };
        let payload = file.encode_to_vec();
        let mut bytes = Vec::with_capacity(HEAD + payload.len());
        bytes.extend_from_slice(FORMAT);
        bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&xxh3_128(&payload).to_le_bytes());
        bytes.extend_from_slice(&payload);
        bytes
    }
}

/// Reads a file's content.
///
/// # Errors
/// When anything in it isn't as it was written.
pub fn parse(bytes: Bytes) -> Result<Stored, Damage> {
    let (Some(head), true) = (bytes.get(FORMAT.len()..HEAD), bytes.starts_with(FORMAT)) else {
        return Err(Damage::Format);
    };
    let (length, checksum) = head.split_at(8);
    let length = length.try_into().map(u64::from_le_bytes).unwrap_or_default();
    let found = (bytes.len() - HEAD) as u64;
    if length != found {
        let head = HEAD as u64;
        return Err(Damage::Length { expected: length.saturating_add(head), found: found + head });
    }
    let payload = bytes.slice(HEAD..);
    if xxh3_128(&payload).to_le_bytes() != *checksum {
        return Err(Damage::Checksum);
    }
    let file = File::decode(payload).map_err(|error| Damage::Content(error.to_string()))?;
    let resources = file.resources.into_iter().map(read_item).collect::<Result<_, _>>()?;
    let instance = Instance { group: file.group.into(), node: file.node.into() };
    Ok(Stored { id: file.id, instance, note: file.note, resources })
}

fn read_item(item: Item) -> Result<Resource, Damage> {
    let read = |text: &String| parse_id(text).ok_or_else(|| Damage::Content(format!("{text:?} is not KIND:NAME")));
    Ok(Resource {
        id: read(&item.id)?,
        version: item.version.into(),
        body: item.body,
        needs: item.needs.iter().map(read).collect::<Result<Vec<_>, _>>()?.into(),
        owners: Arc::new([]),
    })
}

/// Where an instance's file is.
pub(super) fn file(directory: &Path, id: &str) -> PathBuf {
    let plain = !id.is_empty()
        && id.len() <= 200
        && !id.starts_with('.')
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    let name = if plain { id.to_owned() } else { format!("{:032x}", xxh3_128(id.as_bytes())) };
    directory.join(format!("{name}.{EXTENSION}"))
}

/// Writes a file, whole or not at all; only its owner can read it.
pub(super) fn write(path: &Path, stored: &Stored) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(&stored.encode())?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    path.parent().map_or(Ok(()), |directory| std::fs::File::open(directory)?.sync_all())
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::error!(path = %path.display(), %error, "the file of a gateway that is gone stays");
        }
        _ => {}
    }
}

/// Reads all files of a directory, which is made if it isn't there.
///
/// # Errors
/// When the directory can't be made or listed.
pub(super) fn read_all(directory: &Path) -> io::Result<Vec<Stored>> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != EXTENSION) {
            continue;
        }
        match read(&path) {
            Ok(stored) if file(directory, &stored.id) == path => all.push(stored),
            Ok(stored) => refuse(&path, &format!("it is that of another instance, {:?}", stored.id)),
            Err(reason) => refuse(&path, &reason),
        }
    }
    all.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(all)
}

fn read(path: &Path) -> Result<Stored, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_FILE {
        return Err(format!("{size} bytes are too many"));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    parse(bytes.into()).map_err(|damage| damage.to_string())
}

fn refuse(path: &Path, reason: &str) {
    tracing::error!(
        path = %path.display(), reason,
        "a damaged file of configuration is not used: its gateway serves here once the platform has sent it again"
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::PermissionsExt;

    use foregate_envoy::{ResourceId, ResourceKind};

    use super::*;

    fn stored(id: &str) -> Stored {
        let need = ResourceId::new(ResourceKind::Secret, "s");
        let resource = Resource {
            id: ResourceId::new(ResourceKind::Cluster, "a"),
            version: "v".into(),
            body: vec![1; 100].into(),
            needs: [need].into(),
            owners: [].into(),
        };
        let instance = Instance { group: "t/web".into(), node: "n1".into() };
        Stored { id: id.into(), instance, note: b"note".as_slice().into(), resources: vec![resource] }
    }

    #[test]
    fn what_is_written_is_read_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("xds");
        assert_eq!(read_all(&inside).unwrap(), []);
        for id in ["t.web.n1", "../../etc/passwd", ""] {
            let path = file(&inside, id);
            assert_eq!(path.parent(), Some(&*inside));
            write(&path, &stored(id)).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let ids: Vec<_> = read_all(&inside).unwrap().into_iter().map(|stored| stored.id).collect();
        assert_eq!(ids, ["", "../../etc/passwd", "t.web.n1"]);
    }

    #[test]
    fn a_file_under_anothers_name_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        write(&file(dir.path(), "one"), &stored("two")).unwrap();
        assert_eq!(read_all(dir.path()).unwrap(), []);
    }

    #[test]
    fn every_damage_is_found() {
        let good = stored("t.web.n1").encode();
        assert_eq!(parse(good.clone().into()).unwrap(), stored("t.web.n1"));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert!(parse(bad.into()).is_err(), "byte {at}");
            assert!(parse(good[..at].to_vec().into()).is_err(), "cut at {at}");
        }
        assert!(matches!(parse([&*good, b"x"].concat().into()), Err(Damage::Length { .. })));
    }
}
