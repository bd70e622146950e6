//! Real Envoys, and gateways on them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use foregate_api::instance::{EngineState, EngineStatus};
use foregate_api::{DEFAULT_NAME, DEFAULT_TENANT_NAMESPACE, GatewayInstance, GatewayProxy, GatewayTemplate};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::eventually;

/// The versions that are tested, oldest first.
pub const VERSIONS: [&str; 2] = ["1.36.4", "1.40.0"];
/// As a template names them.
pub const OLD: &str = "envoy@1.36.4";
pub const NEW: &str = "envoy@1.40.0";

/// A data directory. Envoys outlive a Foregate that is killed, so that those that are left end with it.
pub struct DataDir(tempfile::TempDir);

impl DataDir {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        for record in processes(self.path()) {
            let pid = u32::try_from(record["pid"].as_u64().unwrap()).unwrap();
            if lives(pid) {
                signal(pid, rustix::process::Signal::KILL);
            }
            let base = record["baseId"].as_u64().unwrap() * 10;
            let _ = std::fs::remove_file(format!("/dev/shm/envoy_shared_memory_{base}"));
        }
    }
}

/// The binary of a version.
pub fn binary(version: &str) -> PathBuf {
    let listed = std::env::var_os("FOREGATE_ENVOYS");
    let listed = listed.iter().flat_map(std::env::split_paths).find(|path| path.to_string_lossy().contains(version));
    let path = listed.unwrap_or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
        cache.join(format!("foregate-tools/envoy-{version}/envoy"))
    });
    assert!(path.exists(), "{}: run `cargo xtask test` once, it downloads them", path.display());
    path
}

/// Both Envoys, put into the engine store without a copy of 100 MB each.
pub fn install_all(data_dir: &Path) {
    install_as(data_dir, ["11.104"; 2]);
}

/// Both Envoys, said to have these hot restart versions.
pub fn install_as(data_dir: &Path, hot_restart: [&str; 2]) {
    for (version, hot_restart) in VERSIONS.into_iter().zip(hot_restart) {
        install(data_dir, version, hot_restart, |path| std::os::unix::fs::symlink(binary(version), path).unwrap());
    }
}

/// A script in the place of an Envoy: it knows its version, and then does what it is told.
pub fn install_script(data_dir: &Path, version: &str, script: &str) {
    install(data_dir, version, "11.104", |path| {
        std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    });
}

/// As `foregate engine add` does: the engine comes whole.
fn install(data_dir: &Path, version: &str, hot_restart: &str, binary: impl FnOnce(&Path)) {
    let root = data_dir.join("engines/envoy");
    let partial = root.join(".partial");
    std::fs::create_dir_all(&partial).unwrap();
    binary(&partial.join("envoy"));
    let manifest = json!({ "version": version, "sourceSha256": "0", "sha256": "0", "reported": version,
        "hotRestart": hot_restart, "added": "2026-11-21T00:00:00Z" });
    std::fs::write(partial.join("manifest.json"), manifest.to_string()).unwrap();
    std::fs::rename(partial, root.join(version)).unwrap();
}

/// Runs `foregate engine ...` on a data directory.
pub fn engine(data_dir: &Path, args: &[&str]) -> Output {
    let binary = std::env::var_os("FOREGATE_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_foregate").into());
    let mut command = Command::new(binary);
    command.arg("engine").args(args).arg("--data-dir").arg(data_dir).output().unwrap()
}

/// The engine of gateways that are yet to come.
pub async fn set_template(client: &Client, engine: &str) {
    let api: Api<GatewayTemplate> = Api::namespaced(client.clone(), DEFAULT_TENANT_NAMESPACE);
    let patch = json!({ "spec": { "engine": engine } });
    api.patch(DEFAULT_NAME, &PatchParams::default(), &Patch::Merge(patch)).await.expect("the template is taken");
}

/// The only GatewayProxy.
pub async fn proxy(client: &Client) -> GatewayProxy {
    let api: Api<GatewayProxy> = Api::namespaced(client.clone(), DEFAULT_TENANT_NAMESPACE);
    api.list(&ListParams::default()).await.unwrap().items.pop().expect("a gateway")
}

/// Changes the only GatewayProxy's copy of the template.
pub async fn patch_proxy(client: &Client, template: serde_json::Value) {
    let api: Api<GatewayProxy> = Api::namespaced(client.clone(), DEFAULT_TENANT_NAMESPACE);
    let name = proxy(client).await.name_any();
    let patch = json!({ "spec": { "template": template } });
    api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("the template is taken");
}

/// Puts the only gateway on another engine, and waits until that runs.
pub async fn switch(client: &Client, engine: &str) -> EngineStatus {
    patch_proxy(client, json!({ "engine": engine })).await;
    until(client, |status| status.name == engine && status.state == EngineState::Running).await
}

/// How the only instance's engine fares.
pub async fn status(client: &Client) -> Option<EngineStatus> {
    let api: Api<GatewayInstance> = Api::all(client.clone());
    api.list(&ListParams::default()).await.unwrap().items.pop()?.status?.engine
}

/// Waits until it fares in a certain way.
pub async fn until(client: &Client, fits: impl Fn(&EngineStatus) -> bool) -> EngineStatus {
    let fits = &fits;
    let last = std::sync::Mutex::new(None);
    let last = &last;
    let found = async {
        eventually("the engine's status", || async {
            let status = status(client).await;
            last.lock().unwrap().clone_from(&status);
            status.filter(fits)
        })
        .await
    };
    tokio::select! {
        found = found => found,
        () = tokio::time::sleep(super::PATIENCE.mul_f32(0.9)) => panic!("the last was {:?}", last.lock().unwrap()),
    }
}

/// The processes that the only instance has written down.
pub fn processes(data_dir: &Path) -> Vec<serde_json::Value> {
    let instances = std::fs::read_dir(data_dir.join("run")).into_iter().flatten().flatten();
    let texts = instances.filter_map(|instance| std::fs::read(instance.path().join("processes.json")).ok());
    texts.flat_map(|text| serde_json::from_slice::<Vec<serde_json::Value>>(&text).unwrap()).collect()
}

/// Whether a process is there.
pub fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Sends a signal to a process that the test has found in a status.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}
