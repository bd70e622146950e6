//! A real `foregate up` in a process of its own, and what tests do with it.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

pub mod backend;
pub mod envoy;
pub mod follow;
pub mod http;
pub mod load;
pub mod poll;
pub mod scene;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kube::api::DynamicObject;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::Value;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A port that is free and stays free for who binds it later, again and again: it is none that the kernel gives to
/// connections and to listeners that ask for any, and no other test's.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let end: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    let begin = end / 2;
    let port = || {
        let offset = (std::process::id() as u16).wrapping_mul(64).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        begin + offset % (end - begin)
    };
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(port).take(1000).find(is_free).expect("a free port below the kernel's range")
}

/// A running `foregate up`.
pub struct Foregate {
    child: Child,
    dir: PathBuf,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
    /// Milliseconds of the line `ready in N ms`.
    pub ready_millis: u64,
}

impl Foregate {
    /// Starts on `dir`, with a pool of the test's own, and waits for `ready in N ms`.
    pub fn start(dir: &Path, pool: &str, flags: &[&str]) -> Self {
        let mut foregate = Self::spawn(dir, pool, flags);
        foregate.wait_ready();
        foregate
    }

    /// Starts without waiting.
    pub fn spawn(dir: &Path, pool: &str, flags: &[&str]) -> Self {
        let any_port: &[&str] = if flags.contains(&"--api-listen") { &[] } else { &["--api-listen", "127.0.0.1:0"] };
        Self::launch("up", dir, &[&["--address-pool", pool], any_port, flags].concat())
    }

    /// Starts another role on `dir`, without waiting.
    pub fn launch(role: &str, dir: &Path, flags: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .args([role, "--data-dir"])
            .arg(dir)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("foregate starts");
        let (sender, lines) = mpsc::channel();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        forward(stdout, "out", sender.clone());
        forward(stderr, "err", sender);
        Self { child, dir: dir.to_owned(), lines, seen: Vec::new(), ready_millis: 0 }
    }

    /// Waits for `ready in N ms`.
    pub fn wait_ready(&mut self) {
        let line = self.wait_line("err: ready in ");
        let millis = line.split("ready in ").nth(1).and_then(|rest| rest.split(' ').next());
        self.ready_millis = millis.and_then(|millis| millis.parse().ok()).expect("`ready in N ms`");
    }

    /// Waits for a line that contains `text`, and returns it.
    pub fn wait_line(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.seen.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(error) => panic!("no line with {text:?} ({error}); there were:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// All lines so far.
    pub fn output(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        self.seen.join("\n")
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `DIR/admin.kubeconfig`.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// A client with the administrator's credentials, over TLS.
    pub async fn client(&self) -> Client {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    /// Sends a signal and waits for the end.
    pub fn stop(mut self, signal: rustix::process::Signal) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "doesn't stop; it printed:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for an end that the test expects, and returns the status with all output.
    pub fn wait_exit(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // Until both streams have ended: what was written last may come late.
                while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                    self.seen.push(line);
                }
                return (status, self.seen.join("\n"));
            }
            assert!(Instant::now() < deadline, "doesn't end; it printed:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Foregate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary under test. Another one can be tried: an older one beside a newer, say.
pub fn binary() -> std::ffi::OsString {
    std::env::var_os("FOREGATE_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_foregate").into())
}

fn forward(stream: impl std::io::Read + Send + 'static, name: &'static str, lines: mpsc::Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(format!("{name}: {line}")).is_err() {
                return;
            }
        }
    });
}

/// Applies YAML documents, server-side.
pub async fn apply(client: &Client, yaml: &str) {
    for document in serde_saphyr::from_multiple::<Value>(yaml).unwrap() {
        try_apply(client, document.clone()).await.unwrap_or_else(|error| panic!("{error}\n{document:#}"));
    }
}

/// Applies one object, server-side.
pub async fn try_apply(client: &Client, document: Value) -> kube::Result<DynamicObject> {
    let object: DynamicObject = serde_json::from_value(document).unwrap();
    let api = api_of(client, &object).await;
    let params = kube::api::PatchParams::apply("test").force();
    api.patch(object.metadata.name.as_deref().unwrap(), &params, &kube::api::Patch::Apply(&object)).await
}

async fn api_of(client: &Client, object: &DynamicObject) -> Api<DynamicObject> {
    let types = object.types.clone().unwrap();
    let gvk = kube::core::GroupVersionKind::try_from(&types).unwrap();
    let (resource, capabilities) = kube::discovery::pinned_kind(client, &gvk).await.unwrap();
    if capabilities.scope == kube::discovery::Scope::Cluster {
        return Api::all_with(client.clone(), &resource);
    }
    let namespace = object.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned());
    Api::namespaced_with(client.clone(), &namespace, &resource)
}

/// Waits until `check` gives something, looking every few milliseconds, at most [`PATIENCE`].
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, check: impl Fn() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Status of a condition of an object, e.g. `True`, with its message.
pub fn condition(object: &Value, conditions: &str, kind: &str) -> Option<(String, String, String)> {
    let list = object.pointer(conditions)?.as_array()?;
    let found = list.iter().find(|condition| condition["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

/// Waits until a Gateway of namespace `default` is Programmed, and returns its address.
pub async fn gateway_address(client: &Client, name: &str) -> std::net::IpAddr {
    let api: Api<foregate_api::gateway::Gateway> = Api::default_namespaced(client.clone());
    eventually(&format!("Gateway {name} is Programmed"), || async {
        let gateway = serde_json::to_value(api.get(name).await.ok()?).ok()?;
        let (status, _, _) = condition(&gateway, "/status/conditions", "Programmed")?;
        let address = gateway.pointer("/status/addresses/0/value")?.as_str()?.parse().ok()?;
        (status == "True").then_some(address)
    })
    .await
}

/// A Service `name` with one EndpointSlice that names `backends`, as YAML.
pub fn service(name: &str, backends: &[SocketAddr]) -> String {
    let port = backends.first().map_or(1, SocketAddr::port);
    let endpoints: Vec<String> = backends.iter().map(|address| format!("{{addresses: [{}]}}", address.ip())).collect();
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{name: http, port: 80}}]}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}\naddressType: IPv4\n\
         ports: [{{name: http, port: {port}, protocol: TCP}}]\nendpoints: [{}]\n",
        endpoints.join(", ")
    )
}

/// A Gateway with one HTTP listener on port 8080, as YAML.
pub fn gateway(name: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\n\
         spec:\n  gatewayClassName: foregate\n  listeners: [{{name: http, port: 8080, protocol: HTTP}}]\n"
    )
}

/// An HTTPRoute of Gateway `gateway` from a path prefix to a Service, as YAML.
pub fn route(name: &str, gateway: &str, prefix: &str, service: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}}}\n\
         spec:\n  parentRefs: [{{name: {gateway}}}]\n  rules:\n  - matches: [{{path: {{type: PathPrefix, value: {prefix}}}}}]\n    \
         backendRefs: [{{name: {service}, port: 80}}]\n"
    )
}
