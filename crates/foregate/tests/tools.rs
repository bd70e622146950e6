//! The verbs, as a shell runs them. Without a server: tables of command lines with golden outputs
//! (`tests/tools/NAME.out`; `UPDATE_GOLDEN=1` rewrites them). With one: each online verb against one `foregate up`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::{Foregate, apply, backend, eventually, gateway, gateway_address, http, route, service};
use k8s_openapi::api::core::v1::Service;
use rustix::process::Signal;
use serde_json::Value;

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools")
}

/// Runs the binary in the directory of the tests' files, with nothing of this machine's in its environment.
fn run(args: &[&str], columns: Option<&str>, data_dir: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foregate"));
    command.args(args).current_dir(dir()).env_remove("KUBECONFIG").env_remove("COLUMNS").env("HOME", "/nonexistent");
    command.env("FOREGATE_DATA_DIR", data_dir.unwrap_or(Path::new("/nonexistent")));
    command.envs(columns.map(|columns| ("COLUMNS", columns)));
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Name of the golden file, columns, command line.
const OFFLINE: [(&str, Option<&str>, &str); 34] = [
    ("help", Some("80"), "--help"),
    ("translate", None, "translate -f shop.yaml"),
    ("translate-ir", None, "translate -f shop.yaml --stage ir"),
    ("translate-attach", None, "translate -f shop.yaml --stage attach"),
    ("translate-json", None, "translate -f ../../../../examples/demo -o json --stage ir"),
    ("translate-problems", None, "translate -f problems.yaml"),
    ("translate-missing-file", None, "translate -f gone.yaml"),
    ("translate-nothing", None, "translate -f good-envoy.yaml"),
    ("translate-usage", None, "translate"),
    ("validate", None, "validate -f good-envoy.yaml"),
    ("validate-bad", None, "validate -f bad-envoy.yaml"),
    ("validate-unknown", None, "validate -f unknown-envoy.yaml"),
    ("validate-json", None, "validate -f unknown-envoy.yaml -o json"),
    ("validate-type", None, "validate -f good-envoy.yaml --type envoy.config.cluster.v3.Cluster"),
    ("validate-no-type", None, "validate -f good-envoy.yaml --type envoy.Custer"),
    ("validate-missing-file", None, "validate -f good-envoy.yaml gone.yaml"),
    ("validate-kubernetes", None, "validate -f shop.yaml"),
    ("explain", Some("80"), "explain -H x-version:2 --header cookie:a -f shop.yaml http://shop.example.com/cart/1?x=1"),
    ("explain-wide", Some("120"), "explain -f shop.yaml -- https://shop.example.com//cart/../cart/1"),
    ("explain-redirect", None, "explain http://shop.example.com/old?q=1 -f shop.yaml"),
    ("explain-near", Some("80"), "explain http://shop.example.com/cart/pay -X PUT --near 2 -f shop.yaml"),
    ("explain-nothing", Some("80"), "explain http://shop.example.com/carts -X POST -f shop.yaml"),
    ("explain-no-host", None, "explain http://other.org/ -f shop.yaml"),
    ("explain-no-listener", Some("80"), "explain http://shop.example.com:8080/ -f shop.yaml"),
    ("explain-no-certificate", None, "explain https://example.org/ -f shop.yaml"),
    ("explain-json", None, "explain http://shop.example.com/old -f shop.yaml -o json --near 0"),
    ("explain-no-url", None, "explain ftp://shop.example.com/ -f shop.yaml"),
    ("explain-missing-url", None, "explain -f shop.yaml"),
    ("explain-no-header", None, "explain http://shop.example.com/ -f shop.yaml -H nonsense"),
    ("explain-two-gateways", None, "explain http://anything/ -f shop.yaml problems.yaml"),
    ("no-server", None, "status"),
    ("no-kubeconfig", None, "get gateways --kubeconfig gone.kubeconfig"),
    ("bad-kubeconfig", None, "top --kubeconfig shop.yaml"),
    ("unknown-verb", None, "statsu"),
];

#[test]
fn without_a_server() {
    let differing: Vec<&str> =
        OFFLINE.iter().filter(|(name, columns, line)| !is_golden(name, *columns, line)).map(|case| case.0).collect();
    assert!(differing.is_empty(), "differ (UPDATE_GOLDEN=1 rewrites them): {differing:?}");
    let known = OFFLINE.map(|case| format!("{}.out", case.0));
    for entry in std::fs::read_dir(dir()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.ends_with(".out") || known.contains(&name), "{name} belongs to no case");
    }
}

fn is_golden(name: &str, columns: Option<&str>, line: &str) -> bool {
    let output = run(&line.split(' ').collect::<Vec<_>>(), columns, None);
    let actual = format!(
        "$ foregate {line}\n{}--- stderr\n{}--- exit {}\n",
        text(&output.stdout),
        text(&output.stderr),
        output.status.code().unwrap()
    );
    let actual = without_times(&actual);
    if let Some(columns) = columns.and_then(|columns| columns.parse::<usize>().ok()) {
        let long = text(&output.stdout).lines().find(|line| line.chars().count() > columns).map(str::to_owned);
        assert_eq!(long, None, "{name}: a line is wider than the terminal");
    }
    let path = dir().join(format!("{name}.out"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if actual != expected {
        eprintln!("{name}: is\n{actual}\nand not\n{expected}");
    }
    actual == expected
}

/// When conditions changed is another time in each run.
fn without_times(text: &str) -> String {
    let mark = "lastTransitionTime: ";
    let line = |line: &str| match line.split_once(mark) {
        Some((before, _)) => format!("{before}{mark}(now)\n"),
        None => line.to_owned(),
    };
    text.split_inclusive('\n').map(line).collect()
}

#[test]
fn what_is_translated_is_valid_and_holds_no_secret() {
    let translated = run(&["translate", "-f", "shop.yaml"], None, None);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &translated.stdout).unwrap();
    let verdict = run(&["validate", "-f", file.path().to_str().unwrap()], None, None);
    // The key was taken out, and Envoy wants one to be there or not at all.
    assert!(verdict.status.success(), "{}", text(&verdict.stdout));
    for stage in ["attach", "ir", "xds"] {
        let output = run(&["translate", "-f", "shop.yaml", "--stage", stage], None, None);
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert!(!shown.contains("PRIVATE KEY") && !shown.contains("LS0tLS1CRUdJTiBQUklWQVRF"), "{stage} shows a key");
    }
}

#[test]
fn colours_are_for_terminals_only() {
    let output = run(&["explain", "-f", "shop.yaml", "--", "http://shop.example.com/cart"], None, None);
    assert!(!output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b));
}

#[test]
fn shells_and_man_get_every_verb() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = run(&["completions", shell], None, None);
        let script = text(&output.stdout);
        assert!(output.status.success() && script.contains("rollback") && script.contains("kubeconfig"), "{shell}");
    }
    let pages = tempfile::tempdir().unwrap();
    let output = run(&["man", pages.path().to_str().unwrap()], None, None);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for page in ["foregate.1", "foregate-explain.1", "foregate-config-dump.1"] {
        let text = std::fs::read_to_string(pages.path().join(page)).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    let output = run(&["man", "/proc/nowhere"], None, None);
    assert!(!output.status.success() && text(&output.stderr).contains("next:"), "{}", text(&output.stderr));
}

/// A running Foregate and its verbs.
struct World {
    foregate: Foregate,
    data: tempfile::TempDir,
}

impl World {
    /// Runs a verb, and returns exit code and all output.
    fn verb(&self, line: &str) -> (i32, String) {
        let output = run(&line.split(' ').collect::<Vec<_>>(), None, Some(self.data.path()));
        (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
    }

    /// The same, which must end well.
    fn well(&self, line: &str) -> String {
        let (code, output) = self.verb(line);
        assert_eq!(code, 0, "foregate {line}: {output}");
        output
    }

    /// The same, which must fail so, and say what to do.
    fn fails(&self, line: &str, code: i32, why: &str) {
        let (actual, output) = self.verb(line);
        assert_eq!(actual, code, "foregate {line}: {output}");
        assert!(output.contains(why) && output.contains("next:"), "foregate {line}: {output}");
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.well(line)).unwrap()
    }

    /// Waits until a verb's output has a text.
    async fn until(&self, line: &str, wanted: &str) -> String {
        eventually(&format!("foregate {line} says {wanted:?}"), || async {
            Some(self.verb(line).1).filter(|output| output.contains(wanted))
        })
        .await
    }
}

async fn until_body(address: SocketAddr, path: &str, body: &str) {
    eventually(&format!("{path} is answered by {body}"), || async {
        http::get(address, "web", path).await.ok().filter(|response| response.body() == body)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_server() {
    let data = tempfile::tempdir().unwrap();
    let foregate = Foregate::start(data.path(), "127.140.0.0/24", &[]);
    let client = foregate.client().await;
    let world = World { foregate, data };
    assert_eq!(world.verb("status").1, "there is no Gateway yet; `kubectl apply -f examples/demo/` makes one\n");
    world.fails("explain http://web/", 1, "no gateway runs");
    let (blue, green) = (backend::start("blue").await, backend::start("green").await);
    for yaml in [service("blue", &[blue]), service("green", &[green]), gateway("web"), route("web", "web", "/", "blue")]
    {
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    until_body(address, "/", "blue").await;

    looking(&world, &client, address).await;
    over_time(&world, &client, address).await;
    trouble(&world, &client).await;
    without(world, client).await;
}

async fn looking(world: &World, client: &kube::Client, address: SocketAddr) {
    let status = world.until("status", "Service default/blue:80, ").await;
    assert!(status.starts_with(&format!("✓ Gateway default/web  serves at {}\n", address.ip())), "{status}");
    assert_eq!(world.json("status web -o json")[0]["parts"][0]["parts"][0]["what"], "HTTPRoute default/web");
    world.fails("status nobody", 1, "there is no gateway nobody");

    let answer = world.json(&format!("explain http://{address}/x?y=1 -o json"));
    assert_eq!(answer["route"]["name"], "HTTPRoute/default/web/0/0", "{answer:#}");
    assert_eq!(answer["gateway"], "default/web");
    world.well(&format!("explain http://x:{0}/ -g default/web -H x:y --near 0 -H Host:web:{0}", address.port()));

    assert!(world.well("get gtw").contains("NAMESPACE"));
    assert_eq!(world.json("get gateways default/web -o json")["kind"], "Gateway");
    assert_eq!(world.json("get httproutes,services -n default -o json")["items"].as_array().unwrap().len(), 3);
    assert!(world.well("get").contains("gatewayproxies"));
    assert!(world.well("get foregate -o yaml").contains("kind: GatewayInstance"));
    world.fails("get pods", 2, "has no kind \"pods\"");
    world.fails("get gatewais", 2, "has no kind");
    world.fails("get gateways nobody", 1, "there is no Gateway nobody");
    world.fails("get gateways default/nobody", 1, "error: gateways.gateway.networking.k8s.io \"nobody\" not found");
    world.fails("get gateways a/b -n c", 2, "isn't the namespace");

    let dump = world.well("config dump default/web");
    assert!(dump.contains("applied all") && dump.contains("Service default/blue:80"), "{dump}");
    let dump = world.json("config dump web --kind virtual-host -o json");
    assert_eq!(dump["resources"][0]["resource"]["routes"][0]["name"], "HTTPRoute/default/web/0/0");
    let instance = dump["instances"][0]["name"].as_str().unwrap();
    assert!(world.well(&format!("config dump web --instance {instance}")).contains("builtin"));
    world.fails("config dump web --instance nobody", 1, "has no instance nobody");

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let send = tokio::spawn(async move {
        while !*stopped.borrow() {
            http::get(address, "web", "/").await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    eventually("requests are counted", || async {
        let top = world.until("top web --samples 1 --interval 0.3 -o json", "HTTPRoute default/web").await;
        let rows: Value = serde_json::from_str(&top).unwrap();
        assert_eq!(rows[0]["errors"], 0.0, "{rows:#}");
        (rows[0]["rps"].as_f64().unwrap() > 1.0).then_some(())
    })
    .await;
    assert!(world.well("top --interval 0.1").contains("REQ/S"));
    stop.send(true).unwrap();
    send.await.unwrap();

    let request = hyper::Request::get("/foregate/xds").body(Vec::new()).unwrap();
    let sent = client.request_text(request).await.unwrap();
    let clusters =
        sent.lines().find(|line| line.starts_with("foregate_xds_sent_bytes_total") && line.contains(".Cluster"));
    assert!(clusters.is_some_and(|line| !line.ends_with(" 0")), "{sent}");

    seen_by_others(world, client, address).await;
    // Everything under /foregate is for who may.
    for path in ["/foregate/metrics", "/foregate/xds", "/foregate/gateways/tenant-default/nobody/config"] {
        let request = hyper::Request::get(path).header("impersonate-user", "somebody").body(Vec::new()).unwrap();
        let refused = client.request_text(request).await.unwrap_err();
        assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{path}: {refused}");
    }
}

/// Who may list objects, but not see what engines have, is told what follows from the objects.
async fn seen_by_others(world: &World, client: &kube::Client, address: SocketAddr) {
    apply(
        client,
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: lists}\n\
         rules: [{apiGroups: [foregate.dev], resources: ['*'], verbs: [list]}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: lists}\n\
         roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: lists}\n\
         subjects: [{kind: User, name: somebody, apiGroup: rbac.authorization.k8s.io}]\n",
    )
    .await;
    let mut config: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(world.foregate.kubeconfig()).unwrap()).unwrap();
    config["users"][0]["user"]["as"] = "somebody".into();
    let file = world.data.path().join("somebody.kubeconfig");
    std::fs::write(&file, config.to_string()).unwrap();
    let answer = world.json(&format!("explain http://{address}/x -o json --kubeconfig {}", file.display()));
    assert_eq!(answer["route"]["name"], "HTTPRoute/default/web/0/0", "{answer:#}");
    world.fails(&format!("config dump web --kubeconfig {}", file.display()), 1, "cannot get path");
}

async fn over_time(world: &World, client: &kube::Client, address: SocketAddr) {
    // Steps of one second become one revision: that of the route comes some time after the first.
    let newest = |wanted: &'static str| async move {
        eventually("a revision is kept", || async {
            let newest = world.json("history web -o json")[0].clone();
            newest["changes"].to_string().contains(wanted).then(|| newest["number"].as_u64().unwrap())
        })
        .await
    };
    let before = newest("Service default/blue:80").await;
    apply(client, &route("web", "web", "/", "green")).await;
    until_body(address, "/", "green").await;
    assert!(newest("Service default/green:80").await > before);
    let (code, diff) = world.verb(&format!("diff web {before}"));
    assert_eq!(code, 1, "they differ: {diff}");
    assert!(
        diff.contains("\n-    cluster: ") && diff.contains("\n+    cluster: ") && diff.contains("+++ now"),
        "{diff}"
    );
    let last = world.json("history web -o json")[0]["number"].as_u64().unwrap();
    assert!(world.well(&format!("diff web {last} {last}")).starts_with("nothing differs"));

    // What no route names any more comes back with the revision.
    assert!(world.well(&format!("rollback web {before}")).contains(&format!("held at revision {before}")));
    until_body(address, "/", "blue").await;
    world.until("status", "held").await;
    assert!(world.well("history web").contains("held here"));
    // What engines have counts, not what objects ask for.
    let answer = world.json(&format!("explain http://{address}/ -o json"));
    let backend = answer["outcome"]["forward"]["backends"][0]["cluster"].as_str().unwrap().to_owned();
    let name = backend.rsplit_once('/').unwrap().0.to_owned();
    assert_eq!(answer["backends"][&name], "Service default/blue:80", "{answer:#}");
    assert!(world.well("unpin web").contains("follows its objects again"));
    until_body(address, "/", "green").await;
    assert!(world.well("unpin web").contains("isn't held"));
    assert!(world.well("pin web").contains("held at revision"));
    // A Service that is gone doesn't; held or not.
    let services: kube::Api<Service> = kube::Api::default_namespaced(client.clone());
    services.delete("blue", &Default::default()).await.unwrap();
    world.fails(&format!("rollback web {before}"), 1, "of HTTPRoute default/web");
    world.well("unpin web");
    world.fails(&format!("pin web {before}"), 1, "of HTTPRoute default/web");
    apply(client, &service("blue", &[address])).await;
    world.fails(&format!("rollback web {before}"), 1, "made anew");
    world.well(&format!("rollback web {before} --force"));
    world.until("status", "held").await;
    world.well("unpin web");
    world.fails("rollback web 4711", 1, "has no revision 4711");
    world.fails("diff web gone", 1, "has no revision gone");
    world.fails("pin nobody", 1, "there is no gateway nobody");
}

/// What doesn't serve is said, with what to do; and a name that two have is refused.
async fn trouble(world: &World, client: &kube::Client) {
    apply(client, &route("lost", "web", "/lost", "missing")).await;
    apply(client, &route("stray", "nowhere", "/", "blue")).await;
    let status = world.until("status", "HTTPRoute default/stray").await;
    assert!(status.contains("its parent default/nowhere doesn't exist"), "{status}");
    let status = world.until("status web", "Service default/missing doesn't exist").await;
    assert!(status.contains("→ correct backendRefs"), "{status}");
    assert_eq!(world.verb("status").0, 1);
    let second = gateway("web").replace("name: web}", "name: web, namespace: other}");
    apply(client, "apiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n").await;
    apply(client, &second).await;
    world.until("history web", "may be any of").await;
    world.fails("history web", 2, "next:");
    world.well("history other/web");
}

/// Nobody is there, and credentials that are no good.
async fn without(world: World, client: kube::Client) {
    let good = std::fs::read_to_string(world.foregate.kubeconfig()).unwrap();
    let mut config: Value = serde_saphyr::from_str(&good).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut expired = rcgen::CertificateParams::new(vec![]).unwrap();
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let certificate = expired.self_signed(&key).unwrap().pem();
    let encode = |text: String| serde_json::to_value(k8s_openapi::ByteString(text.into_bytes())).unwrap();
    config["users"][0]["user"]["client-certificate-data"] = encode(certificate);
    config["users"][0]["user"]["client-key-data"] = encode(key.serialize_pem());
    let file = world.data.path().join("expired.kubeconfig");
    std::fs::write(&file, config.to_string()).unwrap();
    world.fails(&format!("get gateways --kubeconfig {}", file.display()), 1, "credentials");
    drop(client);
    assert!(world.foregate.stop(Signal::TERM).success());
    let output = run(&["status"], None, Some(world.data.path()));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("no API server answers at https://127.0.0.1:") && said.contains("`foregate up`"), "{said}");
}
