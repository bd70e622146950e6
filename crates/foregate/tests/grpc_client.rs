//! gRPC's own client, which speaks xDS (state of the world) and calls backends itself, without a proxy.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use foregate_api::{GatewayInstance, GatewayProxy};
use harness::{Foregate, apply, eventually, gateway, gateway_address, service};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

/// What `examples/grpc/listener.yaml` makes of a gateway.
const LISTENER: &str = include_str!("../../../examples/grpc/listener.yaml");
const BOOTSTRAP: &str = include_str!("../../../examples/grpc/bootstrap.json");

/// Python with grpcio.
fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("FOREGATE_GRPC") {
        return python.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let python = cache.unwrap_or_default().join("foregate-tools/grpc-1.85.1/bin/python");
    assert!(python.exists(), "{} is missing: run `cargo xtask test` once, it downloads it", python.display());
    python
}

/// A Python process that is spoken to by lines.
struct Script {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Script {
    fn start(name: &str, argument: &str, bootstrap: Option<&Path>) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/grpc").join(name);
        let mut command = Command::new(python());
        command.arg(script).arg(argument).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(bootstrap) = bootstrap {
            command.env("GRPC_XDS_BOOTSTRAP", bootstrap).current_dir(bootstrap.parent().unwrap());
        }
        let mut child = command.spawn().expect("Python starts");
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the script has ended");
        line
    }

    /// A client's next calls: who answered how often.
    fn calls(&mut self, count: usize) -> BTreeMap<String, usize> {
        writeln!(self.input, "{count}").unwrap();
        serde_json::from_str(&self.line()).unwrap()
    }

    /// Calls until all answers come from these, and from each of them.
    async fn answered_by(&mut self, names: &[&str]) {
        let same = |answers: &BTreeMap<String, usize>| answers.keys().map(String::as_str).eq(names.iter().copied());
        self.calls_until(&format!("{names:?} answer"), same).await;
    }

    /// Calls 100 times and again until it is as it should be. No call fails meanwhile.
    async fn calls_until(&mut self, what: &str, right: impl Fn(&BTreeMap<String, usize>) -> bool) {
        let script = std::sync::Mutex::new(self);
        eventually(what, || {
            let answers = script.lock().unwrap().calls(100);
            let failed = answers.keys().find(|name| name.contains(':'));
            assert_eq!(failed, None, "a call failed");
            let right = right(&answers);
            async move { right.then_some(()) }
        })
        .await;
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A gRPC server in a process of its own.
fn backend(name: &str) -> (Script, SocketAddr) {
    let mut script = Script::start("backend.py", name, None);
    let port = script.line().trim().parse().unwrap();
    (script, SocketAddr::from(([127, 0, 0, 1], port)))
}

/// A GRPCRoute of `echo.example` to weighted Services.
fn grpc_route(weights: &[(&str, u32)]) -> String {
    let backends: Vec<_> =
        weights.iter().map(|(name, weight)| format!("{{name: {name}, port: 80, weight: {weight}}}")).collect();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {{name: echo}}\nspec:\n  \
         parentRefs: [{{name: echo}}]\n  hostnames: [echo.example]\n  rules: [{{backendRefs: [{}]}}]\n",
        backends.join(", ")
    )
}

/// Makes the gateway's listeners those of applications.
async fn listen_within_applications(client: &Client) {
    let proxies: Api<GatewayProxy> = Api::namespaced(client.clone(), foregate_api::DEFAULT_TENANT_NAMESPACE);
    let proxy = eventually("the gateway has a proxy", || async {
        proxies.list(&ListParams::default()).await.ok()?.items.into_iter().next()
    })
    .await;
    let patch: Value = serde_saphyr::from_str(LISTENER).unwrap();
    proxies.patch(&proxy.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

/// Writes the example's bootstrap with another server.
fn bootstrap(dir: &Path, server: &Value, node: &str) -> PathBuf {
    let mut bootstrap: Value = serde_json::from_str(BOOTSTRAP).unwrap();
    bootstrap["xds_servers"] = json!([server]);
    bootstrap["node"]["id"] = json!(node);
    let path = dir.join("bootstrap.json");
    std::fs::write(&path, bootstrap.to_string()).unwrap();
    path
}

fn find_socket(dir: &Path) -> PathBuf {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.into_iter().find_map(|path| {
        if path.is_dir() {
            Some(find_socket(&path))
        } else {
            path.extension().is_some_and(|e| e == "sock").then_some(path)
        }
    });
    found.expect("a socket")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_client_balances_by_itself_and_follows_changes() {
    let dir = tempfile::tempdir().unwrap();
    let foregate = Foregate::start(dir.path(), "127.134.0.0/24", &[]);
    let client = foregate.client().await;
    let ((_one, one), (_two, two), (_three, three)) = (backend("one"), backend("two"), backend("three"));
    let services = [service("a", &[one]), service("b", &[two]), gateway("echo"), grpc_route(&[("a", 1), ("b", 1)])];
    for yaml in services {
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "echo").await, 8080);
    listen_within_applications(&client).await;
    eventually("the engine lets go of the port", || async {
        tokio::net::TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;

    let socket = find_socket(&dir.path().join("run"));
    // By its bare name: see examples/grpc/README.md.
    let server = json!({ "server_uri": format!("unix:{}", socket.file_name().unwrap().display()),
        "channel_creds": [{ "type": "insecure" }], "server_features": ["xds_v3"] });
    let bootstrap = bootstrap(socket.parent().unwrap(), &server, "grpc-client");
    let mut grpc = Script::start("client.py", "xds:///echo.example", Some(&bootstrap));
    grpc.answered_by(&["one", "two"]).await;
    let counts = grpc.calls(200);
    assert!(counts.values().all(|count| (60..=140).contains(count)), "weights 1:1 gave {counts:?}");

    apply(&client, &service("a", &[three])).await;
    grpc.answered_by(&["three", "two"]).await;
    apply(&client, &grpc_route(&[("a", 9), ("b", 1)])).await;
    let nine_to_one = |counts: &BTreeMap<String, usize>| {
        counts.get("three").is_some_and(|count| (75..100).contains(count)) && counts.contains_key("two")
    };
    grpc.calls_until("the new weights count", nine_to_one).await;
    apply(&client, &grpc_route(&[("b", 1)])).await;
    grpc.answered_by(&["two"]).await;

    // Who only looks is no engine: the gateway has one, and it stays ready.
    let instances = Api::<GatewayInstance>::all(client.clone()).list(&ListParams::default()).await.unwrap().items;
    drop(grpc);
    let status = instances[0].status.clone().unwrap();
    assert!(status.connected && status.ready);
    gateway_address(&client, "echo").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_client_gets_the_same_over_mutual_tls() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--api-listen", "127.0.0.1:0", "--xds-listen", "127.0.0.1:0", "--address-pool", "127.135.0.0/24"];
    let mut platform = Foregate::launch("platform", dir.path(), &flags);
    platform.wait_ready();
    let client = platform.client().await;
    let added = Command::new(harness::binary()).args(["node", "add", "n1", "--data-dir"]).arg(dir.path()).output();
    let credential: Value = serde_saphyr::from_str(&String::from_utf8(added.unwrap().stdout).unwrap()).unwrap();
    let file = |name: &str, field: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, credential[field].as_str().unwrap()).unwrap();
        path
    };
    let ((_one, one), (_two, two)) = (backend("one"), backend("two"));
    for yaml in [service("a", &[one]), gateway("echo"), grpc_route(&[("a", 1)])] {
        apply(&client, &yaml).await;
    }
    let instances: Api<GatewayInstance> = Api::all(client.clone());
    let instance = eventually("an instance is placed", || async {
        instances.list(&ListParams::default()).await.ok()?.items.into_iter().next()
    })
    .await;
    listen_within_applications(&client).await;
    let tls = json!({ "ca_certificate_file": file("ca.pem", "certificateAuthority"),
        "certificate_file": file("node.pem", "certificate"), "private_key_file": file("node.key", "key"),
        "refresh_interval": "600s" });
    let server = json!({ "server_uri": credential["xds"], "channel_creds": [{ "type": "tls", "config": tls }] });
    let bootstrap = bootstrap(dir.path(), &server, &instance.name_any());
    let mut grpc = Script::start("client.py", "xds:///echo.example", Some(&bootstrap));
    grpc.answered_by(&["one"]).await;
    apply(&client, &service("a", &[two])).await;
    grpc.answered_by(&["two"]).await;
}
