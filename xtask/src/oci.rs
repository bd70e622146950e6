//! Images made by hand: an OCI layout of one uncompressed layer, in a tar that `ctr images import` takes.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::files;
use crate::process::{TaskError, command, output};

/// An image in the making.
#[derive(Debug)]
pub struct Image {
    names: Vec<String>,
    files: Vec<(PathBuf, String, u32)>,
    entry: Vec<String>,
    folders: Vec<String>,
    user: String,
    version: String,
}

impl Image {
    /// An empty one that goes by these names.
    pub fn new(names: &[&str]) -> Self {
        Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            files: Vec::new(),
            entry: Vec::new(),
            folders: Vec::new(),
            user: String::new(),
            version: String::new(),
        }
    }

    /// Puts a file in, at a path without a leading slash.
    #[must_use]
    pub fn file(mut self, from: &Path, to: &str, mode: u32) -> Self {
        self.files.push((from.to_owned(), to.to_owned(), mode));
        self
    }

    /// What it runs.
    #[must_use]
    pub fn entry(mut self, entry: &[&str]) -> Self {
        self.entry = entry.iter().map(|part| (*part).to_owned()).collect();
        self
    }

    /// Puts an empty folder in that anybody may write to.
    #[must_use]
    pub fn folder(mut self, folder: &str) -> Self {
        self.folders.push(folder.to_owned());
        self
    }

    /// Whom it runs as, `UID:GID`; root when it isn't said.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    /// The version of what is in it.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// Writes the archive, and returns its path again. The same input gives the same bytes.
    ///
    /// # Errors
    /// When a file can't be read, or tar fails.
    pub fn write(&self, archive: &Path) -> Result<PathBuf, TaskError> {
        let work = PathBuf::from(format!("{}.layout", archive.display()));
        files::remove(&work)?;
        let (root, layout) = (work.join("root"), work.join("layout"));
        for (from, to, mode) in &self.files {
            let to = root.join(to);
            files::make_dir(to.parent().unwrap_or(&root))?;
            std::fs::copy(from, &to).map_err(files::at(from))?;
            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(*mode)).map_err(files::at(&to))?;
        }
        for folder in &self.folders {
            let folder = root.join(folder);
            files::make_dir(&folder)?;
            std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o1777)).map_err(files::at(&folder))?;
        }
        let layer = work.join("layer.tar");
        tar(&root, &layer)?;
        let layer = blob(&layout, &files::read(&layer)?, "application/vnd.oci.image.layer.v1.tar")?;
        let labels = match self.version.as_str() {
            "" => json!({}),
            version => json!({"org.opencontainers.image.version": version}),
        };
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {"Entrypoint": self.entry, "User": self.user, "Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        });
        let config = blob(&layout, config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json")?;
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]});
        let manifest = blob(&layout, manifest.to_string().as_bytes(), kind)?;
        let named = self.names.iter().map(|name| {
            let mut manifest = manifest.clone();
            manifest["annotations"] = json!({"io.containerd.image.name": name});
            manifest
        });
        let index = json!({"schemaVersion": 2, "manifests": named.collect::<Vec<_>>()});
        files::write(&layout.join("index.json"), index.to_string())?;
        files::write(&layout.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
        tar(&layout, archive)?;
        files::remove(&work)?;
        Ok(archive.to_owned())
    }
}

/// Stores a blob under its hash, and returns what refers to it.
fn blob(layout: &Path, bytes: &[u8], kind: &str) -> Result<Value, TaskError> {
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    files::write(&layout.join("blobs/sha256").join(&digest), bytes)?;
    Ok(json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len()}))
}

/// Whoever makes it, and whenever: the same bytes.
fn tar(folder: &Path, archive: &Path) -> Result<(), TaskError> {
    let fixed = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "-C"];
    output(command("tar", &fixed).arg(folder).arg("-cf").arg(archive).arg(".")).map(drop)
}

/// This machine's, as images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
