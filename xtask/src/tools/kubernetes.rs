//! Kubernetes, and what it and the conformance suite run on, each built from its Go module.

use std::path::{Path, PathBuf};

use super::go::Module;
use crate::files;
use crate::process::TaskError;

/// The kubectl versions that are tested, oldest first: folder under `tools/` and version. The last is the test bed's.
pub const KUBECTLS: [(&str, &str); 2] = [("kubectl-1.32", "v1.32.13"), ("kubernetes-1.37", "v1.37.1")];
/// The servers of the test bed.
const SERVERS: [&str; 4] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"];
const ETCD: &str = "v3.7.3";
const CONTAINERD: &str = "v2.4.2";
/// Version of the Gateway API that is installed on the test bed, and of its conformance suite.
pub const GATEWAY_API: &str = "v1.7.0";

/// Builds every kubectl that isn't in the cache, and returns their paths, oldest first.
///
/// # Errors
/// When Go can't be had or a build fails.
pub fn kubectls() -> Result<Vec<PathBuf>, TaskError> {
    KUBECTLS.iter().map(|(folder, version)| kubectl(folder, version)).collect()
}

/// The kubectl of the test bed.
///
/// # Errors
/// When Go can't be had or the build fails.
pub fn newest_kubectl() -> Result<PathBuf, TaskError> {
    let (folder, version) = KUBECTLS[KUBECTLS.len() - 1];
    kubectl(folder, version)
}

fn kubectl(folder: &'static str, version: &str) -> Result<PathBuf, TaskError> {
    let module = kubernetes_module(folder, version);
    let place = module.place("kubectl", version)?;
    once(&place, "kubectl (about 2 minutes, once)", |to| module.build(&["k8s.io/kubernetes/cmd/kubectl"], to))
}

/// A folder with Kubernetes' servers.
///
/// # Errors
/// When Go can't be had or the build fails.
pub fn kubernetes() -> Result<PathBuf, TaskError> {
    let (folder, version) = KUBECTLS[KUBECTLS.len() - 1];
    let module = kubernetes_module(folder, version);
    let packages = SERVERS.map(|server| format!("k8s.io/kubernetes/cmd/{server}"));
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    let place = module.place("kubernetes", version)?;
    once(&place, "Kubernetes (about 8 minutes, once)", |to| {
        files::make_dir(to)?;
        module.build(&packages, to)
    })
}

/// Linked in, or kubectl can't tell its version.
fn kubernetes_module(folder: &'static str, version: &str) -> Module {
    let minor = version.split('.').nth(1).unwrap_or_default();
    let set = |field: &str, value: &str| format!("-X k8s.io/component-base/version.{field}={value}");
    let flags = [
        "-s -w".to_owned(),
        set("gitVersion", version),
        set("gitMajor", "1"),
        set("gitMinor", minor),
        set("gitTreeState", "clean"),
    ];
    Module { folder, toolchain: "", tags: "", ldflags: flags.join(" ") }
}

/// etcd's path.
///
/// # Errors
/// When Go can't be had or the build fails.
pub fn etcd() -> Result<PathBuf, TaskError> {
    let module = Module { folder: "etcd-3.7", toolchain: "", tags: "", ldflags: "-s -w".to_owned() };
    let place = module.place("etcd", ETCD)?;
    once(&place, "etcd (about half a minute, once)", |to| module.build(&["go.etcd.io/etcd/server/v3"], to))
}

/// A folder with containerd, its shim and `ctr`.
///
/// # Errors
/// When Go can't be had or the build fails.
pub fn containerd() -> Result<PathBuf, TaskError> {
    let tags = "no_btrfs,no_zfs";
    let module = Module { folder: "containerd-2.4", toolchain: "", tags, ldflags: "-s -w".to_owned() };
    let packages = ["containerd", "containerd-shim-runc-v2", "ctr"];
    let packages = packages.map(|name| format!("github.com/containerd/containerd/v2/cmd/{name}"));
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    let place = module.place("containerd", CONTAINERD)?;
    once(&place, "containerd (about 1 minute, once)", |to| {
        files::make_dir(to)?;
        module.build(&packages, to)
    })
}

/// What comes from the Gateway API's own modules.
#[derive(Debug)]
pub struct GatewayApi {
    /// The conformance suite, a Go test.
    pub suite: PathBuf,
    /// The server that the suite's backends run.
    pub echo: PathBuf,
    /// A folder of custom resources' definitions, the experimental channel, with a kustomization.
    pub crds: PathBuf,
}

/// The Gateway API's definitions, its conformance suite and that one's backend.
///
/// # Errors
/// When Go can't be had or the build fails.
pub fn gateway_api() -> Result<GatewayApi, TaskError> {
    let folder = "gateway-api-conformance";
    let module = Module { folder, toolchain: "go1.27.0", tags: "", ldflags: "-s -w".to_owned() };
    let place = module.place(folder, GATEWAY_API)?;
    let place = once(&place, "Gateway API's conformance suite (about 3 minutes, once)", |to| {
        files::make_dir(to)?;
        let source = module.source("sigs.k8s.io/gateway-api")?;
        files::copy_dir(&source.join("config/crd/experimental"), &to.join("crds"))?;
        module.build(&["sigs.k8s.io/gateway-api-conformance-images/echo-basic"], &to.join("echo-basic"))?;
        module.build_test(&to.join("conformance.test"))
    })?;
    Ok(GatewayApi { suite: place.join("conformance.test"), echo: place.join("echo-basic"), crds: place.join("crds") })
}

/// Puts the sources that `foregate-apiserver`'s generator reads into Go's module cache.
///
/// # Errors
/// When Go can't be had or a download fails.
pub fn download_kubernetes_sources() -> Result<(), TaskError> {
    let (folder, version) = KUBECTLS[KUBECTLS.len() - 1];
    let module = kubernetes_module(folder, version);
    for source in ["k8s.io/kubernetes", "k8s.io/api", "k8s.io/apimachinery"] {
        module.source(source)?;
    }
    Ok(())
}

/// Makes what isn't there yet, beside its place first, so that a half-made one is never taken for whole.
fn once(place: &Path, what: &str, make: impl FnOnce(&Path) -> Result<(), TaskError>) -> Result<PathBuf, TaskError> {
    if !place.exists() {
        println!("building {what}");
        // Not `with_extension`: versions have dots.
        let mut partial = place.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        files::remove(&partial)?;
        make(&partial)?;
        std::fs::rename(&partial, place).map_err(files::at(place))?;
    }
    Ok(place.to_owned())
}
