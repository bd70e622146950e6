//! Files instead of `kubectl apply`: directories with real files, and traffic.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Instant;

use foregate_api::gateway::HTTPRoute;
use harness::{Foregate, eventually, gateway, gateway_address, http, route, service};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Service};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use rustix::process::Signal;
use serde_json::json;

/// A running `up --watch`, its directory of files and its data directory.
struct World {
    foregate: Foregate,
    client: Client,
    files: tempfile::TempDir,
    data: tempfile::TempDir,
    pool: &'static str,
}

impl World {
    async fn start(pool: &'static str, fill: impl FnOnce(&Path)) -> Self {
        let (files, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fill(files.path());
        let foregate = Foregate::start(data.path(), pool, &["--watch", files.path().to_str().unwrap()]);
        let client = foregate.client().await;
        Self { foregate, client, files, data, pool }
    }

    /// Writes a file at once, as `cp` would.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.files.path().join(name), text).unwrap();
    }

    /// Writes a file as editors do: beside it, and renamed.
    fn replace(&self, name: &str, text: &str) {
        let beside = self.files.path().join(format!(".{name}.swp"));
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.files.path().join(name)).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.files.path().join(name)).unwrap();
    }

    async fn again(mut self, meanwhile: impl FnOnce(&Path)) -> Self {
        assert!(self.foregate.stop(Signal::TERM).success());
        meanwhile(self.files.path());
        let watch = ["--watch", self.files.path().to_str().unwrap()];
        self.foregate = Foregate::start(self.data.path(), self.pool, &watch);
        self.client = self.foregate.client().await;
        self
    }

    async fn map(&self, name: &str) -> Option<ConfigMap> {
        Api::default_namespaced(self.client.clone()).get_opt(name).await.unwrap()
    }

    async fn until_map(&self, name: &str, value: Option<&str>) {
        let what = format!("ConfigMap {name} is {value:?}");
        eventually(&what, || async { (self.value(name).await.as_deref() == value).then_some(()) }).await;
    }

    async fn value(&self, name: &str) -> Option<String> {
        self.map(name).await.map(|map| map.data.unwrap_or_default().remove("v").unwrap_or_default())
    }
}

fn map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  v: '{value}'\n---\n")
}

async fn answers(address: SocketAddr, path: &str, expected: &str) {
    eventually(&format!("{path} is answered by {expected}"), || async {
        let response = http::get(address, "a.example", path).await.ok()?;
        let body = format!("{} {}", response.status().as_u16(), String::from_utf8_lossy(response.body()));
        body.starts_with(expected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_files_serves_changes_and_goes() {
    let (blue, green) = (harness::backend::start("blue").await, harness::backend::start("green").await);
    // Routes before what they name: the order of files doesn't matter. Nothing is applied by hand.
    let world = World::start("127.161.0.0/24", |dir| {
        fs::write(dir.join("1-route.yaml"), route("r", "web", "/", "blue")).unwrap();
        fs::create_dir(dir.join("sub")).unwrap();
        fs::write(dir.join("sub/gateway.yml"), gateway("web")).unwrap();
        fs::write(
            dir.join("services.yaml"),
            format!("{}---\n{}", service("blue", &[blue]), service("green", &[green])),
        )
        .unwrap();
    })
    .await;
    // What was there at the start serves when it says that it is ready.
    let ip = gateway_address(&world.client, "web").await;
    let address = SocketAddr::new(ip, 8080);
    let response = http::get(address, "a.example", "/").await.unwrap();
    assert_eq!((response.status().as_u16(), &response.body()[..]), (200, &b"blue"[..]));

    world.replace("1-route.yaml", &route("r", "web", "/", "green"));
    answers(address, "/", "200 green").await;
    world.write(
        "2.json",
        &serde_json::to_string(
            &serde_saphyr::from_str::<serde_json::Value>(&route("more", "web", "/more", "blue")).unwrap(),
        )
        .unwrap(),
    );
    answers(address, "/more", "200 blue").await;
    world.remove("2.json");
    answers(address, "/more", "200 green").await;
    fs::rename(world.files.path().join("1-route.yaml"), world.files.path().join("sub/moved.yaml")).unwrap();
    let routes: Api<HTTPRoute> = Api::default_namespaced(world.client.clone());
    let before = routes.get("r").await.unwrap();
    eventually("the route is from the other file", || async {
        let route = routes.get("r").await.unwrap();
        assert_eq!(route.uid(), before.uid(), "a route that moves isn't deleted");
        route.annotations()["foregate.dev/source-file"].ends_with("sub/moved.yaml").then_some(())
    })
    .await;
    fs::remove_dir_all(world.files.path().join("sub")).unwrap();
    eventually("the route is gone", || async { routes.get_opt("r").await.unwrap().is_none().then_some(()) }).await;
    eventually("nobody listens any more", || async { http::get(address, "a.example", "/").await.err() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mistake_is_told_once_and_changes_nothing() {
    let mut world = World::start("127.161.1.0/24", |dir| {
        fs::write(dir.join("good.yaml"), map("good", "1")).unwrap();
        fs::write(dir.join("bad.yaml"), map("mine", "1")).unwrap();
    })
    .await;
    world.until_map("mine", Some("1")).await;
    let bad = route("r", "web", "no-slash", "blue").replace("backendRefs", "backendRfes");
    world.replace(
        "bad.yaml",
        &format!(
            "{}{}---\nkind: Odd\napiVersion: nowhere/v1\nmetadata: {{name: o}}\n---\na: [\n",
            map("mine", "2"),
            bad
        ),
    );
    // An unknown field, an unknown kind, and no YAML: each with its line and field.
    for (line, text) in [
        (15, "HTTPRoute default/r: spec.rules[0].backendRfes: there is no such field"),
        (17, "Odd o: kind: the API serves no kind Odd of nowhere/v1"),
        (21, "this is not YAML"),
    ] {
        let found = world.foregate.wait_line(text);
        assert!(found.contains(&format!("bad.yaml:{line}: ")), "{found}");
    }
    assert_eq!(world.value("mine").await.as_deref(), Some("1"), "nothing of that file is taken");
    let events: Api<Event> = Api::all(world.client.clone());
    eventually("Events tell of it", || async {
        let list = events.list(&ListParams::default()).await.ok()?;
        let told = list.items.iter().filter(|it| it.reason.as_deref() == Some("FileRefused")).count();
        (told >= 3).then_some(())
    })
    .await;
    // What CEL refuses: two fields at once.
    let invalid = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata:\n  name: g\nspec:\n  \
                   gatewayClassName: ''\n  listeners:\n  - name: a\n    port: 0\n    protocol: HTTP\n";
    world.replace("bad.yaml", &format!("{}{invalid}", map("mine", "3")));
    for (line, path) in [(13, "spec.gatewayClassName"), (16, "spec.listeners[0].port")] {
        let found = world.foregate.wait_line(&format!("Gateway default/g: {path}"));
        assert!(found.contains(&format!("bad.yaml:{line}: ")), "{found}");
    }
    // The same object in two files stays where it is.
    world.write("second.yaml", &map("good", "2"));
    let found = world.foregate.wait_line("second.yaml:1: ConfigMap default/good: is in ");
    assert!(found.contains("good.yaml already"), "{found}");
    // Another change looks at everything again, and tells nothing twice.
    world.write("good.yaml", &map("good", "3"));
    world.until_map("good", Some("3")).await;
    assert_eq!(world.value("mine").await.as_deref(), Some("1"));
    let output = world.foregate.output();
    for text in ["spec.listeners[0].port", "is in ", "backendRfes"] {
        let count = output.lines().filter(|line| line.contains("ERROR") && line.contains(text)).count();
        assert_eq!(count, 1, "{text}:\n{output}");
    }
    // Right again.
    world.replace("bad.yaml", &map("mine", "4"));
    world.until_map("mine", Some("4")).await;
    world.foregate.wait_line("is right again");
    world.remove("second.yaml");
    eventually("no Event is left", || async {
        let list = events.list(&ListParams::default()).await.ok()?;
        list.items.iter().all(|it| it.reason.as_deref() != Some("FileRefused")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swapped_links_vanishing_directories_and_unreadable_files() {
    let mut world = World::start("127.161.2.0/24", |dir| {
        // As Kubernetes mounts a ConfigMap.
        fs::create_dir(dir.join("..1")).unwrap();
        fs::write(dir.join("..1/a.yaml"), map("a", "1")).unwrap();
        symlink("..1", dir.join("..data")).unwrap();
        symlink("..data/a.yaml", dir.join("a.yaml")).unwrap();
        fs::create_dir(dir.join("more")).unwrap();
        fs::write(dir.join("more/b.yaml"), map("b", "1")).unwrap();
    })
    .await;
    world.until_map("a", Some("1")).await;
    let dir = world.files.path().to_owned();
    fs::create_dir(dir.join("..2")).unwrap();
    fs::write(dir.join("..2/a.yaml"), map("a", "2")).unwrap();
    symlink("..2", dir.join("..data_tmp")).unwrap();
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    fs::remove_dir_all(dir.join("..1")).unwrap();
    world.until_map("a", Some("2")).await;

    // A file that grows while it is watched is taken when it is whole.
    let whole = format!("{}{}", map("c", "1"), map("d", "1"));
    for end in [20, 60, whole.len()] {
        fs::write(dir.join("c.yaml"), &whole[..end]).unwrap();
    }
    world.until_map("d", Some("1")).await;

    // All of it goes away and comes back: nothing is taken for deleted.
    let aside = dir.with_extension("aside");
    fs::rename(&dir, &aside).unwrap();
    world.foregate.wait_line("isn't there; what was read from it stays");
    assert_eq!(world.value("b").await.as_deref(), Some("1"));
    fs::write(aside.join("more/b.yaml"), map("b", "2")).unwrap();
    fs::rename(&aside, &dir).unwrap();
    world.until_map("b", Some("2")).await;

    // Not to be read: root may read all, so that a directory stands in for it there.
    let locked = dir.join("locked.yaml");
    if rustix::process::geteuid().is_root() {
        fs::write(&locked, [0xff, 0xfe]).unwrap();
        world.foregate.wait_line("locked.yaml:1: is not UTF-8");
    } else {
        fs::write(&locked, map("e", "1")).unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o0)).unwrap();
        world.foregate.wait_line("locked.yaml: can't be read");
    }
    fs::remove_dir_all(dir.join("more")).unwrap();
    world.until_map("b", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_writes_nothing_and_removes_what_vanished_meanwhile() {
    let mut world = World::start("127.161.3.0/24", |dir| {
        fs::write(dir.join("a.yaml"), map("kept", "1") + &map("gone", "1")).unwrap();
        fs::write(
            dir.join("n.yaml"),
            "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: made}\nspec: {ports: [{port: 80}]}\n",
        )
        .unwrap();
    })
    .await;
    world.until_map("gone", Some("1")).await;
    let services: Api<Service> = Api::namespaced(world.client.clone(), "made");
    assert!(services.get_opt("s").await.unwrap().is_some(), "its namespace was made");
    // Somebody else's object isn't deleted, though a file says it for a while.
    let other =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "other" }, "data": { "mine": "1" } });
    let maps: Api<ConfigMap> = Api::default_namespaced(world.client.clone());
    maps.patch("other", &PatchParams::apply("somebody"), &Patch::Apply(&other)).await.unwrap();
    world.write("other.yaml", &map("other", "file"));
    world.until_map("other", Some("file")).await;
    world.remove("other.yaml");
    world.foregate.wait_line("stays: somebody else made it");
    let other = world.map("other").await.unwrap();
    assert_eq!(other.data.as_ref().unwrap()["mine"], "1");

    let version = world.map("kept").await.unwrap().resource_version();
    // The same text again: nothing is written.
    world.replace("a.yaml", &(map("kept", "1") + &map("gone", "1")));
    world.write("late.yaml", &map("late", "1"));
    world.until_map("late", Some("1")).await;
    assert_eq!(world.map("kept").await.unwrap().resource_version(), version);
    world = world
        .again(|dir| {
            fs::write(dir.join("a.yaml"), map("kept", "1")).unwrap();
            fs::remove_file(dir.join("n.yaml")).unwrap();
        })
        .await;
    assert_eq!(world.value("gone").await, None, "before it is ready");
    assert_eq!(world.map("kept").await.unwrap().resource_version(), version);
    let services: Api<Service> = Api::namespaced(world.client.clone(), "made");
    assert!(services.get_opt("s").await.unwrap().is_none());
    assert!(
        Api::<Namespace>::all(world.client.clone()).get_opt("made").await.unwrap().is_some(),
        "it isn't from a file"
    );
    assert!(world.map("other").await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_documents_are_taken() {
    let world = World::start("127.161.4.0/24", |_| {}).await;
    let many = |value: &str| (0..10_000).map(|number| map(&format!("m{number}"), value)).collect::<String>();
    let start = Instant::now();
    world.write("many.yaml", &many("1"));
    world.until_map("m9999", Some("1")).await;
    eprintln!("10,000 documents: {:?}", start.elapsed());
    // One of them changes: one is written.
    let version = world.map("m1").await.unwrap().resource_version();
    world.replace("many.yaml", &many("1").replacen("name: m7\ndata:\n  v: '1'", "name: m7\ndata:\n  v: '2'", 1));
    world.until_map("m7", Some("2")).await;
    assert_eq!(world.map("m1").await.unwrap().resource_version(), version);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_of_files_brings_them_to_a_platform() {
    let blue = harness::backend::start("blue").await;
    let (data, files, state) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let platform = Foregate::start(data.path(), "127.161.5.0/24", &[]);
    fs::write(
        files.path().join("all.yaml"),
        format!("{}---\n{}---\n{}", gateway("web"), service("blue", &[blue]), route("r", "web", "/", "blue")),
    )
    .unwrap();
    let kubeconfig = platform.kubeconfig();
    let flags = [
        "--source",
        "files",
        "--watch",
        files.path().to_str().unwrap(),
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "--cluster",
        "edge",
    ];
    let mut controller = Foregate::launch("controller", state.path(), &flags);
    controller.wait_ready();
    let claims: Api<foregate_api::GatewayClaim> =
        Api::namespaced(platform.client().await, foregate_api::DEFAULT_TENANT_NAMESPACE);
    let claim = || async {
        let claim = claims.list(&ListParams::default()).await.ok()?.items.into_iter().next()?;
        let address = claim.status.as_ref()?.addresses.first()?.parse().ok()?;
        Some((claim, SocketAddr::new(address, 8080)))
    };
    let (first, address) = eventually("the claim has an address", claim).await;
    assert_eq!(first.spec.origin.cluster, "edge");
    answers(address, "/", "200 blue").await;
    // It goes on where it was: the same objects, so the same address.
    assert!(controller.stop(Signal::TERM).success());
    let mut controller = Foregate::launch("controller", state.path(), &flags);
    controller.wait_ready();
    answers(address, "/", "200 blue").await;
    assert_eq!(claim().await.unwrap().0.uid(), first.uid());
    fs::remove_file(files.path().join("all.yaml")).unwrap();
    eventually("the claim is gone", || async {
        claims.list(&ListParams::default()).await.ok()?.items.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_and_kinds_come_and_go_with_their_objects() {
    let world = World::start("127.161.6.0/24", |_| {}).await;
    let all = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w, namespace: apps}\nspec: {size: 1}\n---\n\
               apiVersion: v1\nkind: Namespace\nmetadata: {name: apps}\n---\n\
               apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
               metadata: {name: widgets.example.com}\nspec:\n  group: example.com\n  scope: Namespaced\n  \
               names: {kind: Widget, plural: widgets, singular: widget}\n  versions:\n  - name: v1\n    served: true\n    \
               storage: true\n    schema:\n      openAPIV3Schema:\n        type: object\n        properties:\n          \
               spec: {type: object, properties: {size: {type: integer}}}\n";
    world.write("all.yaml", all);
    let widgets = || async {
        let gvk = kube::core::GroupVersionKind::gvk("example.com", "v1", "Widget");
        let (resource, _) = kube::discovery::pinned_kind(&world.client, &gvk).await.ok()?;
        let api: Api<kube::api::DynamicObject> = Api::namespaced_with(world.client.clone(), "apps", &resource);
        Some(api.get_opt("w").await.ok()??.data["spec"]["size"].clone())
    };
    assert_eq!(eventually("there is a Widget", widgets).await, 1);
    // Its kind is served now: the API tries it beforehand.
    world.replace("all.yaml", &all.replace("size: 1", "size: two"));
    let mut world = world;
    let found = world.foregate.wait_line("Widget apps/w: spec.size");
    assert!(found.contains("all.yaml:4: "), "{found}");
    world.remove("all.yaml");
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    eventually("the namespace is gone", || async { namespaces.get_opt("apps").await.ok()?.is_none().then_some(()) })
        .await;
}
