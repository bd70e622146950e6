//! `foregate platform` and `foregate node` in processes of their own: traffic outlives either's absence.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use foregate_api::{GatewayInstance, GatewayNode};
use foregate_xds::ResourceKind;
use harness::load::Load;
use harness::{Foregate, apply, backend, condition, envoy, eventually, gateway, gateway_address, http, route, service};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A platform that can be killed and comes back under the same addresses.
struct Platform {
    dir: tempfile::TempDir,
    pool: &'static str,
    ports: [u16; 2],
    process: Option<Foregate>,
}

impl Platform {
    fn new(pool: &'static str) -> Self {
        let ports = [harness::free_port(), harness::free_port()];
        let mut platform = Self { dir: tempfile::tempdir().unwrap(), pool, ports, process: None };
        platform.start();
        platform
    }

    fn start(&mut self) {
        let [api, xds] = self.ports.map(|port| format!("127.0.0.1:{port}"));
        let flags = ["--api-listen", &api, "--xds-listen", &xds, "--address-pool", self.pool];
        let mut process = Foregate::launch("platform", self.dir.path(), &flags);
        process.wait_ready();
        self.process = Some(process);
    }

    fn kill(&mut self) {
        self.process.take().unwrap().stop(Signal::KILL);
    }

    async fn client(&self) -> Client {
        self.process.as_ref().unwrap().client().await
    }

    /// `foregate node add`.
    fn add(&self, name: &str, flags: &[&str]) -> Output {
        self.node("add", name, flags)
    }

    /// `foregate node VERB`.
    fn node(&self, verb: &str, name: &str, flags: &[&str]) -> Output {
        let data_dir = self.dir.path();
        let mut command = Command::new(harness::binary());
        command.args(["node", verb, name, "--data-dir"]).arg(data_dir).args(flags).output().unwrap()
    }

    /// A node's credential.
    fn credential(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(format!("{name}.yaml"));
        let added = self.add(name, &["--output", path.to_str().unwrap()]);
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        path
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the platform said:\n{}", self.process.as_mut().map(Foregate::output).unwrap_or_default());
        }
    }
}

fn start_node(dir: &Path, credential: &Path) -> Foregate {
    Foregate::launch("node", dir, &["--workers", "1", "--credential", credential.to_str().unwrap()])
}

/// A client with a node's credential.
async fn node_client(credential: &Path) -> Client {
    use base64::Engine;
    let read: Value = serde_saphyr::from_str(&std::fs::read_to_string(credential).unwrap()).unwrap();
    let encoded = |field: &str| base64::engine::general_purpose::STANDARD.encode(read[field].as_str().unwrap());
    let kubeconfig = serde_json::from_value(json!({
        "current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {
            "server": read["api"], "certificate-authority-data": encoded("certificateAuthority")}}],
        "users": [{"name": "x", "user": {
            "client-certificate-data": encoded("certificate"), "client-key-data": encoded("key")}}],
    }));
    let config = kube::Config::from_custom_kubeconfig(kubeconfig.unwrap(), &Default::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

async fn serves(address: SocketAddr, body: &str) {
    eventually(&format!("{body} answers"), || async {
        http::get(address, "web", "/").await.ok().filter(|response| response.status() == 200 && response.body() == body)
    })
    .await;
}

/// What `status` of the objects says is so, once it is.
async fn status_is_true(client: &Client, node: &str) {
    let gateways: Api<foregate_api::gateway::Gateway> = Api::default_namespaced(client.clone());
    let instances: Api<GatewayInstance> = Api::all(client.clone());
    eventually("the Gateway is Programmed and its instance ready", || async {
        let web = serde_json::to_value(gateways.get("web").await.ok()?).ok()?;
        let (programmed, _, _) = condition(&web, "/status/conditions", "Programmed")?;
        let all = instances.list(&ListParams::default()).await.ok()?;
        let ready = |instance: &GatewayInstance| {
            let status = instance.status.clone().unwrap_or_default();
            let runs = status.engine.is_some_and(|engine| engine.message.is_empty());
            instance.spec.node == node && status.connected && status.ready && runs
        };
        (programmed == "True" && all.items.iter().any(ready)).then_some(())
    })
    .await;
}

/// The node has on disk what the gateway serves. A kill -9 right after a change may find the file of the second before.
async fn is_on_disk(node_dir: &Path) {
    let kinds = [ResourceKind::Listener, ResourceKind::VirtualHost, ResourceKind::ClusterLoadAssignment];
    eventually("the node has written it to disk", || async {
        let file = std::fs::read_dir(node_dir.join("xds")).ok()?.flatten().map(|entry| entry.path());
        let file = file.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "xds"))?;
        let stored = foregate_xds::relay::parse(std::fs::read(file).ok()?.into()).ok()?;
        let has = |kind: &ResourceKind| stored.resources.iter().any(|resource| resource.id.kind == *kind);
        kinds.iter().all(has).then_some(())
    })
    .await;
}

/// Moves the route to and fro, ends with `two`, and prints how soon each change serves after the API has taken it.
async fn change_the_route(client: &Client, address: SocketAddr) {
    let mut times = Vec::new();
    for index in 0..10 {
        let to = ["one", "two"][index % 2];
        apply(client, &route("web", "web", "/", to)).await;
        let begun = Instant::now();
        while http::get(address, "web", "/").await.unwrap().body() != to {
            assert!(begun.elapsed() < harness::PATIENCE, "{to} never answers");
        }
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    println!("a change serves through the relay: median {:?}, slowest {:?}", times[times.len() / 2], times[9]);
}

/// Sends requests until some more have been answered.
async fn some_requests(load: &Load, more: u64) {
    let until = load.sent() + more;
    eventually("requests are answered", || async { (load.sent() >= until).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_outlives_the_platform_and_a_restart_of_the_node_without_it() {
    let (mut platform, node_dir) = (Platform::new("127.131.0.0/24"), tempfile::tempdir().unwrap());
    let credential = platform.credential("n1");
    let node = start_node(node_dir.path(), &credential);
    let client = platform.client().await;
    let (one, two) = (backend::start("one").await, backend::start("two").await);
    for yaml in [service("one", &[one]), service("two", &[two]), gateway("web"), route("web", "web", "/", "one")] {
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    serves(address, "one").await;
    status_is_true(&client, "n1").await;
    is_on_disk(node_dir.path()).await;

    let load = Load::start(2, address, "web", "/");
    some_requests(&load, 100).await;
    platform.kill();
    some_requests(&load, 500).await;
    let (sent, failures) = load.finish().await;
    assert!(failures.is_empty(), "platform killed: {} of {sent} failed: {failures:#?}", failures.len());

    // The node's own end is the only time in which requests may fail.
    node.stop(Signal::KILL);
    let mut node = start_node(node_dir.path(), &credential);
    serves(address, "one").await;
    let load = Load::start(2, address, "web", "/");
    some_requests(&load, 200).await;
    platform.start();
    let client = platform.client().await;
    status_is_true(&client, "n1").await;
    change_the_route(&client, address).await;
    some_requests(&load, 200).await;
    let (sent, failures) = load.finish().await;
    assert!(
        failures.is_empty(),
        "platform back: {} of {sent} failed: {failures:#?}\n{}",
        failures.len(),
        node.output()
    );
    status_is_true(&client, "n1").await;

    // In good order this time.
    node_is(&client, "n1", "AgentRuns").await;
    assert!(node.stop(Signal::TERM).success());
    node_is(&client, "n1", "AgentAway").await;
    let instances: Api<GatewayInstance> = Api::all(client.clone());
    eventually("the platform sees that the node is gone", || async {
        let all = instances.list(&ListParams::default()).await.ok()?;
        all.items.iter().all(|instance| instance.status.as_ref().is_some_and(|status| !status.connected)).then_some(())
    })
    .await;
    let mut status = Command::new(harness::binary());
    status.args(["status", "-o", "json", "--kubeconfig"]).arg(platform.dir.path().join("admin.kubeconfig"));
    let said = String::from_utf8(status.output().unwrap().stdout).unwrap();
    assert!(said.contains("agent of node n1 is away"), "{said}");
    let _node = start_node(node_dir.path(), &credential);
    serves(address, "two").await;
    status_is_true(&client, "n1").await;
    node_is(&client, "n1", "AgentRuns").await;
}

/// A node without instances, too, and one that never came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_ready_while_its_agent_runs() {
    let (mut platform, node_dir) = (Platform::new("127.139.0.0/24"), tempfile::tempdir().unwrap());
    let (credential, _) = (platform.credential("n1"), platform.credential("n2"));
    let node = start_node(node_dir.path(), &credential);
    let client = platform.client().await;
    node_is(&client, "n1", "AgentRuns").await;
    node.stop(Signal::KILL);
    node_is(&client, "n1", "AgentAway").await;
    node_is(&client, "n2", "AgentAway").await;
    let _node = start_node(node_dir.path(), &credential);
    node_is(&client, "n1", "AgentRuns").await;
    platform.kill();
    platform.start();
    let client = platform.client().await;
    let nodes: Api<GatewayNode> = Api::all(client.clone());
    nodes.delete("n2", &DeleteParams::default()).await.unwrap();
    node_is(&client, "n1", "AgentRuns").await;
}

/// Waits until the condition Ready of a node says so.
async fn node_is(client: &Client, node: &str, wanted: &str) {
    let nodes: Api<GatewayNode> = Api::all(client.clone());
    eventually(&format!("{node}: {wanted}"), || async {
        let node = serde_json::to_value(nodes.get(node).await.ok()?).ok()?;
        let (status, reason, _) = condition(&node, "/status/conditions", "Ready")?;
        (reason == wanted && (status == "True") == (wanted == "AgentRuns")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_serves_on_while_platform_and_agent_are_killed() {
    let (mut platform, node_dir) = (Platform::new("127.138.0.0/24"), envoy::DataDir::new());
    envoy::install_all(node_dir.path());
    let credential = platform.credential("n1");
    let node = start_node(node_dir.path(), &credential);
    let client = platform.client().await;
    envoy::set_template(&client, envoy::NEW).await;
    let (one, two) = (backend::start("one").await, backend::start("two").await);
    for yaml in [service("one", &[one]), service("two", &[two]), gateway("web"), route("web", "web", "/", "one")] {
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    serves(address, "one").await;
    status_is_true(&client, "n1").await;
    is_on_disk(node_dir.path()).await;

    let load = Load::start(2, address, "web", "/");
    some_requests(&load, 100).await;
    platform.kill();
    node.stop(Signal::KILL);
    some_requests(&load, 200).await;
    let mut node = start_node(node_dir.path(), &credential);
    some_requests(&load, 200).await;
    platform.start();
    let client = platform.client().await;
    apply(&client, &route("web", "web", "/", "two")).await;
    serves(address, "two").await;
    status_is_true(&client, "n1").await;
    let (sent, failures) = load.finish().await;
    let said = node.output();
    assert!(failures.is_empty(), "{} of {sent} failed: {:?}; the node said:\n{said}", failures.len(), failures[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_whose_port_was_in_use_serves_once_it_is_free() {
    let (platform, node_dir) = (Platform::new("127.137.0.0/24"), tempfile::tempdir().unwrap());
    let credential = platform.credential("n1");
    let _node = start_node(node_dir.path(), &credential);
    let client = platform.client().await;
    // The first address of the pool is the gateway's.
    let address = SocketAddr::from(([127, 137, 0, 1], 8080));
    let taken = TcpListener::bind(address).unwrap();
    for yaml in [service("one", &[backend::start("one").await]), gateway("web"), route("web", "web", "/", "one")] {
        apply(&client, &yaml).await;
    }
    let gateways: Api<foregate_api::gateway::Gateway> = Api::default_namespaced(client.clone());
    let instances: Api<GatewayInstance> = Api::all(client.clone());
    eventually("the refusal is told", || async {
        let refused = instances.list(&ListParams::default()).await.ok()?.items.first()?.status.clone()?.last_nack?;
        let web = serde_json::to_value(gateways.get("web").await.ok()?).ok()?;
        let (programmed, _, message) = condition(&web, "/status/conditions", "Programmed")?;
        (refused.message.contains("8080") && programmed == "False").then_some(message)
    })
    .await;
    drop(taken);
    serves(address, "one").await;
    assert_eq!(gateway_address(&client, "web").await, address.ip(), "and that is told, too");
}

/// Whether the API says that this caller may not.
fn forbidden<T>(result: kube::Result<T>) -> bool {
    matches!(result, Err(kube::Error::Api(status)) if status.code == 403)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_may_write_its_own_status_and_read_no_secret() {
    let platform = Platform::new("127.132.0.0/24");
    let (client, credential) = (platform.client().await, platform.credential("n1"));
    assert_eq!(std::fs::metadata(&credential).unwrap().permissions().mode() & 0o777, 0o600);
    apply(&client, &gateway("web")).await;
    let instances: Api<GatewayInstance> = Api::all(client.clone());
    let mine = eventually("an instance is placed", || async {
        instances.list(&ListParams::default()).await.ok()?.items.into_iter().next()
    })
    .await;
    assert_eq!(mine.spec.node, "n1");
    // Of a node that isn't there: with a second one, the gateway might move.
    let theirs: GatewayInstance = serde_json::from_value(json!({
        "apiVersion": "foregate.dev/v1alpha1", "kind": "GatewayInstance", "metadata": {"name": "theirs"},
        "spec": {"proxy": mine.spec.proxy, "node": "n2"},
    }))
    .unwrap();
    instances.create(&PostParams::default(), &theirs).await.unwrap();
    let secret =
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "stringData": { "k": "v" } });
    harness::try_apply(&client, secret).await.unwrap();

    let node = node_client(&credential).await;
    let (as_node, params) = (Api::<GatewayInstance>::all(node.clone()), PatchParams::default());
    let status = Patch::Merge(json!({ "status": { "engine": {
        "state": "Starting", "name": "builtin", "since": "2026-01-01T00:00:00Z" } } }));
    eventually("the node may write its instance's status", || async {
        as_node.patch_status(&mine.name_any(), &params, &status).await.ok()
    })
    .await;
    let nodes = Api::<GatewayNode>::all(node.clone());
    nodes.get("n1").await.unwrap();
    let conditions = Patch::Merge(json!({ "status": { "conditions": [] } }));
    nodes.patch_status("n1", &params, &conditions).await.unwrap();

    let secrets = Api::<Secret>::default_namespaced(node.clone());
    assert!(forbidden(secrets.get("s").await));
    assert!(forbidden(secrets.list(&ListParams::default()).await));
    assert!(forbidden(Api::<Secret>::all(node.clone()).list(&ListParams::default()).await));
    let tenant = Api::<Secret>::namespaced(node.clone(), foregate_api::DEFAULT_TENANT_NAMESPACE);
    assert!(forbidden(tenant.list(&ListParams::default()).await));
    assert!(forbidden(as_node.patch_status("theirs", &params, &status).await), "another node's");
    let spec = Patch::Merge(json!({ "spec": { "node": "n2" } }));
    assert!(forbidden(as_node.patch(&mine.name_any(), &params, &spec).await));
    assert!(forbidden(as_node.create(&PostParams::default(), &theirs).await));
    assert!(forbidden(as_node.delete("theirs", &DeleteParams::default()).await));
    assert!(forbidden(nodes.get("n2").await));
    assert!(forbidden(nodes.patch_status("n2", &params, &conditions).await));
    assert!(forbidden(Api::<foregate_api::GatewayTemplate>::all(node.clone()).list(&ListParams::default()).await));

    // Deleting the GatewayNode takes everything away.
    Api::<GatewayNode>::all(client).delete("n1", &DeleteParams::default()).await.unwrap();
    eventually("the node is locked out", || async {
        let refused = as_node.list(&ListParams::default()).await;
        matches!(refused, Err(kube::Error::Api(status)) if status.code == 401).then_some(())
    })
    .await;
}

#[test]
fn what_can_be_wrong_with_a_credential_is_said() {
    let platform = Platform::new("127.133.0.0/24");
    let credential = platform.credential("n1");
    let text = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let again = platform.add("n1", &[]);
    assert!(!again.status.success() && text(&again).contains("foregate node renew n1"), "{}", text(&again));
    let renewed = platform.node("renew", "n1", &["--xds", "gateway.example.com:7444"]);
    let renewed = String::from_utf8(renewed.stdout).unwrap();
    assert!(renewed.contains("xds: gateway.example.com:7444") && renewed.contains("PRIVATE KEY"));
    let taken = platform.add("n2", &["--output", credential.to_str().unwrap()]);
    assert!(!taken.status.success() && text(&taken).contains("cannot write the credential"), "{}", text(&taken));
    let bad = platform.add("Not_A_Name", &[]);
    assert!(!bad.status.success() && text(&bad).contains("Not_A_Name"), "{}", text(&bad));

    let run = |flags: &[&str]| {
        let output = Command::new(harness::binary()).arg("node").args(flags).output().unwrap();
        assert!(!output.status.success());
        text(&output)
    };
    let dir = tempfile::tempdir().unwrap();
    let data_dir = ["--data-dir", dir.path().to_str().unwrap()];
    assert!(run(&data_dir).contains("--credential FILE"));
    assert!(run(&[&data_dir[..], &["--credential", "/nowhere"]].concat()).contains("/nowhere"));
    std::fs::set_permissions(&credential, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(run(&[&data_dir[..], &["--credential", credential.to_str().unwrap()]].concat()).contains("chmod 600"));
    let elsewhere = run(&["add", "n3", "--data-dir", dir.path().to_str().unwrap()]);
    assert!(elsewhere.contains("where the platform runs"), "{elsewhere}");
}
