//! What the tests need beside Rust, installed from package registries only.
//!
//! kubectl and the test bed are built from Go modules, because Debian has none that are recent. Builds are kept in a
//! cache outside the checkout, under a name that holds the hash of what they are built from.

mod envoy;
mod go;
mod grpc;
mod kubernetes;

use std::path::{Path, PathBuf};

use crate::process::{TaskError, command, output, run};

pub use envoy::{envoy_names, envoys};
pub use grpc::grpc;
pub use kubernetes::{
    GATEWAY_API, GatewayApi, containerd, download_kubernetes_sources, etcd, gateway_api, kubectls, kubernetes,
    newest_kubectl,
};

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
