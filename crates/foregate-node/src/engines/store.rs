//! Adding, finding and removing engines.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use foregate_api::EngineName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::fetch::{Progress, Source, fetch, hash};
use super::{StoreError, archive, probe};

/// The binary, in an engine's directory.
const BINARY: &str = "envoy";
const MANIFEST: &str = "manifest.json";

/// What an engine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The version that it was added under.
    pub version: String,
    /// SHA-256 of the file that it came from, in hex.
    pub source_sha256: String,
    /// SHA-256 of the binary, in hex.
    pub sha256: String,
    /// What the binary says of itself.
    pub reported: String,
    /// Envoys of the same hot restart version can take each other's place; none: it can't do that at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hot_restart: Option<String>,
    /// When it was added.
    pub added: Timestamp,
}

/// An engine of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// What it is.
    pub manifest: Manifest,
    /// Its binary.
    pub binary: PathBuf,
}

impl Installed {
    /// As `spec.engine` of a GatewayTemplate names it.
    pub fn name(&self) -> EngineName {
        EngineName::Envoy(self.manifest.version.clone())
    }

    /// Whether the binary is still the one that was added.
    ///
    /// # Errors
    /// When it isn't, or can't be read.
    pub fn verify(&self) -> Result<(), StoreError> {
        let damaged = |message: String| StoreError::Damaged { version: self.manifest.version.clone(), message };
        let found = hash(&self.binary).map_err(|error| damaged(error.to_string()))?;
        if found == self.manifest.sha256 {
            return Ok(());
        }
        Err(damaged(format!("its binary has SHA-256 {found}, not {}", self.manifest.sha256)))
    }
}

/// The engines of a data directory.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store of a data directory; nothing is written yet. Paths in it are absolute: an Envoy's working directory is
    /// another one.
    pub fn new(data_dir: &Path) -> Self {
        let data_dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        Self { root: data_dir.join("engines").join("envoy") }
    }

    /// Where the engines' directories are.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// An engine; none if there is none of that version.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn get(&self, version: &str) -> Result<Option<Installed>, StoreError> {
        let dir = self.root.join(version);
        let text = match fs::read(dir.join(MANIFEST)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !dir.exists() => return Ok(None),
            Err(error) => return Err(damaged(version, &error)),
        };
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| damaged(version, &error))?;
        let binary = dir.join(BINARY);
        if !binary.is_file() {
            return Err(damaged(version, &"its binary is gone"));
        }
        Ok(Some(Installed { manifest, binary }))
    }

    /// All engines, by version; those that are damaged with what is wrong.
    ///
    /// # Errors
    /// When the directory can't be read. One that isn't there is empty.
    pub fn list(&self) -> Result<Vec<Result<Installed, StoreError>>, StoreError> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(StoreError::File { path: self.root.clone(), source }),
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut versions: Vec<String> = names.filter(|name| is_version(name)).collect();
        versions.sort_by_key(|version| sort_key(version));
        Ok(versions.iter().filter_map(|version| self.get(version).transpose()).collect())
    }

    /// Adds an engine. Adding the same file again changes nothing.
    ///
    /// # Errors
    /// When the file can't be had, isn't the expected one, or doesn't start: then nothing is left of it.
    pub async fn add(
        &self,
        version: &str,
        from: &Source,
        sha256: &str,
        progress: Progress<'_>,
    ) -> Result<Installed, StoreError> {
        let expected = parse_hash(sha256)?;
        if let Some(found) = self.same(version, &expected)? {
            return Ok(found);
        }
        let partial = Partial::make(&self.root)?;
        let source = partial.0.join("source");
        let found = fetch(from, &source, progress).await?;
        if found != expected {
            return Err(StoreError::Mismatch { from: from.to_string(), expected, found });
        }
        let manifest = unpack(&partial.0, &source, version, from, found).await?;
        let dir = self.root.join(version);
        match fs::rename(&partial.0, &dir) {
            Ok(()) => sync(&self.root)?,
            // Somebody else was faster.
            Err(_) if dir.exists() => return self.same(version, &expected)?.ok_or_else(|| damaged(version, &"")),
            Err(source) => return Err(StoreError::File { path: dir, source }),
        }
        Ok(Installed { manifest, binary: dir.join(BINARY) })
    }

    /// The engine of this version, if it came from this file.
    fn same(&self, version: &str, sha256: &str) -> Result<Option<Installed>, StoreError> {
        match self.get(version)? {
            Some(found) if found.manifest.source_sha256 == sha256 => Ok(Some(found)),
            Some(found) => Err(StoreError::Exists { version: version.to_owned(), found: found.manifest.source_sha256 }),
            None => Ok(None),
        }
    }

    /// Removes an engine, damaged or not. Processes that run on it aren't touched.
    ///
    /// # Errors
    /// When there is none, or it can't be removed.
    pub fn remove(&self, version: &str) -> Result<(), StoreError> {
        let dir = self.root.join(version);
        if !is_version(version) || !dir.exists() {
            return Err(StoreError::Unknown(version.to_owned()));
        }
        // Gone at once, then taken apart.
        let partial = Partial::make(&self.root)?;
        let to = partial.0.join("removed");
        fs::rename(&dir, &to).map_err(|source| StoreError::File { path: dir, source })
    }
}

/// Makes binary and manifest out of the file.
async fn unpack(
    dir: &Path,
    source: &Path,
    version: &str,
    from: &Source,
    source_sha256: String,
) -> Result<Manifest, StoreError> {
    let binary = dir.join(BINARY);
    let file = |source| StoreError::File { path: binary.clone(), source };
    if archive::is_archive(source).map_err(file)? {
        archive::unpack(source, &binary, &from.to_string())?;
        fs::remove_file(source).map_err(file)?;
    } else {
        fs::rename(source, &binary).map_err(file)?;
    }
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).map_err(file)?;
    sync(&binary)?;
    let broken = |message| StoreError::DoesNotStart { from: from.to_string(), message };
    let reported = probe::ask(&binary, "--version").await.map_err(broken)?;
    let hot_restart = probe::ask(&binary, "--hot-restart-version").await.ok().filter(|found| found != "disabled");
    let manifest = Manifest {
        version: version.to_owned(),
        source_sha256,
        sha256: hash(&binary).map_err(file)?,
        reported: reported.rsplit("version: ").next().unwrap_or_default().trim().to_owned(),
        hot_restart,
        added: Timestamp::now(),
    };
    let path = dir.join(MANIFEST);
    let write = |source| StoreError::File { path: path.clone(), source };
    let mut out = fs::File::create_new(&path).map_err(write)?;
    out.write_all(&serde_json::to_vec_pretty(&manifest).map_err(|error| write(error.into()))?).map_err(write)?;
    out.sync_all().map_err(write)?;
    sync(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).map_err(file)?;
    Ok(manifest)
}

/// A directory for what isn't whole yet; it goes with this.
struct Partial(PathBuf);

impl Partial {
    fn make(root: &Path) -> Result<Self, StoreError> {
        let path = root.join(format!(".partial-{:08x}", rand::random::<u32>()));
        let file = |source| StoreError::File { path: path.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o755).create(root).map_err(file)?;
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(file)?;
        Ok(Self(path))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It is there unless it has become an engine.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn sync(path: &Path) -> Result<(), StoreError> {
    let synced = fs::File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|source| StoreError::File { path: path.to_owned(), source })
}

fn parse_hash(text: &str) -> Result<String, StoreError> {
    let hash = text.trim().to_ascii_lowercase();
    let fits = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    if fits { Ok(hash) } else { Err(StoreError::Hash(text.to_owned())) }
}

fn is_version(name: &str) -> bool {
    format!("envoy@{name}").parse::<EngineName>().is_ok()
}

/// Numbers by their value: 1.9 comes before 1.36.
fn sort_key(version: &str) -> Vec<(u64, String)> {
    let parts = version.split(['.', '-', '+', '_']);
    parts.map(|part| (part.parse().unwrap_or(u64::MAX), part.to_owned())).collect()
}

fn damaged(version: &str, message: &impl ToString) -> StoreError {
    StoreError::Damaged { version: version.to_owned(), message: message.to_string() }
}
