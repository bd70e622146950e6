//! containerd and the kubelet: the one node.
//!
//! Both live in a mount namespace of their own, in which the folders that they have by heart are folders of the test
//! bed's state.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::certificates::{self, NODE, file};
use super::control_plane::kubectl_says;
use super::network::{self, NODE_ADDRESS, PODS};
use super::record::Record;
use super::start::Daemon;
use super::{Parts, state, teardown};
use crate::process::{TaskError, run};
use crate::{files, oci};

/// Where Debian has the plugins.
pub const CNI_PLUGINS: &str = "/usr/lib/cni";
/// The image that keeps a pod's namespaces.
const PAUSE: &str = "foregate.dev/testbed/pause:1";
/// containerd's namespace for what the kubelet runs.
pub const IMAGES: &str = "k8s.io";
/// Folders that containerd, the kubelet and what they run insist on.
const BY_HEART: [&str; 6] =
    ["/var/lib/kubelet", "/var/lib/cni", "/var/log/pods", "/var/log/containers", "/run/containerd", "/run/runc"];

/// Starts both, with the images in place.
///
/// # Errors
/// When one can't be started, or dies.
pub fn start(parts: &Parts, record: &mut Record) -> Result<(), TaskError> {
    println!("test bed: containerd, kubelet");
    write_configuration()?;
    teardown::make_cgroups()?;
    make_places()?;
    let mut containerd = Daemon::start("containerd", &containerd(parts))?;
    record.add(containerd.process.clone())?;
    containerd
        .wait("its socket answers", || ctr(parts, &["version"]).output().is_ok_and(|out| out.status.success()))?;
    images(parts)?;
    let mounts = format!("--mount=/proc/{}/ns/mnt", containerd.process.pid);
    record.add(Daemon::start("kubelet", &kubelet(parts, &mounts))?.process)
}

/// Waits until pods can run.
///
/// # Errors
/// When that takes too long.
pub fn wait_ready(record: &Record) -> Result<(), TaskError> {
    let condition = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
    super::start::wait_for("kubelet", "its node is ready", record, || {
        kubectl_says(&["get", "node", NODE, "-o", condition]).is_some_and(|text| text == "True")
            // Pods are refused before.
            && kubectl_says(&["get", "serviceaccount", "default"]).is_some()
    })
}

/// `ctr`, where the kubelet's images are.
pub fn ctr(parts: &Parts, arguments: &[&str]) -> Command {
    let mut ctr = Command::new(parts.containerd.join("ctr"));
    ctr.arg("-a").arg(socket()).args(["-n", IMAGES]).args(arguments);
    ctr
}

/// containerd's socket.
pub fn socket() -> PathBuf {
    state::run().join("containerd.sock")
}

fn folder(name: &str) -> PathBuf {
    state::dir().join(name)
}

/// Makes those places that aren't there, and notes which: `down` removes them.
fn make_places() -> Result<(), TaskError> {
    let missing: Vec<&str> = BY_HEART.into_iter().filter(|place| !Path::new(place).exists()).collect();
    files::write(&folder("places"), missing.join("\n"))?;
    missing.into_iter().try_for_each(|place| files::make_dir(Path::new(place)))
}

/// Removes the places that were made, where nothing is in them.
pub fn remove_places() {
    let places = std::fs::read_to_string(folder("places")).unwrap_or_default();
    for place in places.lines() {
        // Somebody else's by now, when it isn't empty.
        let _ = std::fs::remove_dir(place);
    }
}

fn images(parts: &Parts) -> Result<(), TaskError> {
    println!("test bed: images");
    let (work, pause) = (folder("images"), folder("images/pause"));
    let source = work.join("pause.c");
    files::write(&source, PAUSE_SOURCE)?;
    run(Command::new("cc").args(["-Os", "-static", "-s", "-o"]).arg(&pause).arg(&source))?;
    let image = oci::Image::new(&[PAUSE]).file(&pause, "pause", 0o755).entry(&["/pause"]);
    import(parts, &image.write(&work.join("pause.tar"))?)?;
    // The suite's manifests name both.
    let names = ["v0.1.0", "v0.2.0"].map(|tag| format!("registry.k8s.io/gateway-api/conformance/echo-basic:{tag}"));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let echo = oci::Image::new(&names).file(&parts.gateway_api.echo, "echo-basic", 0o755).entry(&["/echo-basic"]);
    import(parts, &echo.write(&work.join("echo-basic.tar"))?)
}

fn import(parts: &Parts, archive: &Path) -> Result<(), TaskError> {
    crate::process::output(ctr(parts, &["images", "import", "--digests=false"]).arg(archive)).map(drop)
}

/// Sleeps until it is told to end, and reaps what its pod leaves behind.
const PAUSE_SOURCE: &str = "#include <signal.h>\n#include <sys/wait.h>\n#include <unistd.h>\n\
    static void end(int s) { (void)s; _exit(0); }\n\
    static void reap(int s) { (void)s; while (waitpid(-1, 0, WNOHANG) > 0); }\n\
    int main(void) { signal(SIGTERM, end); signal(SIGINT, end); signal(SIGCHLD, reap); for (;;) pause(); }\n";

fn containerd(parts: &Parts) -> Command {
    let mut script = "set -e\nmount --make-rshared /\n".to_owned();
    for place in BY_HEART {
        let own = folder("own").join(place.replace('/', "_"));
        script += &format!("mkdir -p {own}\nmount --bind {own} {place}\n", own = own.display());
    }
    script += "exec \"$@\"\n";
    let mut containerd = network::inside("unshare");
    containerd.args(["--mount", "sh", "-c", &script, "sh"]).arg(parts.containerd.join("containerd"));
    containerd.arg("--config").arg(folder("containerd.toml"));
    // Its shim is found there.
    let path = std::env::var("PATH").unwrap_or_default();
    containerd.env("PATH", format!("{}:{path}:/usr/sbin:/sbin", parts.containerd.display()));
    containerd
}

fn kubelet(parts: &Parts, mounts: &str) -> Command {
    let mut kubelet = Command::new("nsenter");
    kubelet.arg(mounts).arg(format!("--net={}", network::path().display()));
    kubelet.arg(parts.kubernetes.join("kubelet"));
    for (flag, value) in [
        ("config", folder("kubelet.yaml").display().to_string()),
        ("kubeconfig", certificates::kubeconfig("kubelet").display().to_string()),
        ("hostname-override", NODE.to_owned()),
        ("node-ip", NODE_ADDRESS.to_owned()),
    ] {
        kubelet.arg(format!("--{flag}={value}"));
    }
    kubelet
}

fn write_configuration() -> Result<(), TaskError> {
    files::make_dir(state::run())?;
    files::write(&folder("containerd.toml"), containerd_configuration())?;
    files::write(&folder("kubelet.yaml"), kubelet_configuration())?;
    files::write(&folder("resolv.conf"), format!("nameserver {NODE_ADDRESS}\n"))?;
    let network = serde_json::json!({
        "cniVersion": "1.0.0",
        "name": "foregate-testbed",
        "plugins": [{
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": true,
            "ipMasq": false,
            "hairpinMode": true,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
        }],
    });
    files::write(&folder("cni").join("10-testbed.conflist"), network.to_string())
}

fn containerd_configuration() -> String {
    let (root, run) = (folder("containerd"), state::run().join("containerd"));
    format!(
        r#"version = 3
root = "{root}"
state = "{run}"

[grpc]
  address = "{socket}"

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{PAUSE}"

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true

[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{CNI_PLUGINS}"]
  conf_dir = "{cni}"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  SystemdCgroup = false
"#,
        root = root.display(),
        run = run.display(),
        socket = socket().display(),
        cni = folder("cni").display(),
    )
}

fn kubelet_configuration() -> String {
    let configuration = serde_json::json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": false}, "x509": {"clientCAFile": file("ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": file("kubelet-server.crt"),
        "tlsPrivateKeyFile": file("kubelet-server.key"),
        "containerRuntimeEndpoint": format!("unix://{}", socket().display()),
        "resolvConf": folder("resolv.conf"),
        "failCgroupV1": false,
        "failSwapOn": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", teardown::CGROUP),
        "enforceNodeAllocatable": [],
        "maxOpenFiles": 20000,
        "maxPods": 250,
        "serializeImagePulls": false,
        // What runs here may fill the disk as it likes; imported images can't be fetched again.
        "evictionHard": {
            "memory.available": "50Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%",
            "imagefs.available": "0%", "imagefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
    });
    configuration.to_string()
}
