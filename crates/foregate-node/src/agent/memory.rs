//! The instances that an agent had, for a start without the API.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use foregate_api::GatewayInstance;

/// What is remembered; nothing if there is no file, or none that can be read.
pub(super) fn read(path: &Path) -> Vec<GatewayInstance> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "the instances of the last run can't be read");
            }
            return Vec::new();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "the instances of the last run can't be read");
        Vec::new()
    })
}

/// Remembers.
pub(super) fn write<'a>(path: &Path, instances: impl Iterator<Item = &'a GatewayInstance>) {
    let instances: Vec<_> = instances.collect();
    let write = || {
        let next = path.with_extension("next");
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(&serde_json::to_vec(&instances)?)?;
        file.sync_all()?;
        std::fs::rename(&next, path)
    };
    if let Err(error) = write() {
        tracing::warn!(path = %path.display(), %error, "the instances can't be written down for the next start");
    }
}
