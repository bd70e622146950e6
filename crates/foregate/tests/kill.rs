//! kill -9 at any moment: nothing acknowledged is lost, no watch is told anything twice or too little, and what serves
//! is whole: the present configuration, or nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::follow::{Follower, version};
use harness::poll::Expected;
use harness::{Foregate, PATIENCE, apply, backend, eventually, gateway, gateway_address, http, route, service};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use rustix::process::Signal;
use serde_json::json;

const POOL: &str = "127.116.0.0/24";
/// Enough to meet the ordinary cases; `FOREGATE_KILLS=200` for the full figure.
const KILLS: usize = 8;
const WRITERS: usize = 4;
/// The host whose route changes before every kill.
const CHANGING: &str = "changing.example";
const BACKENDS: [&str; 2] = ["one", "two"];

fn kills() -> usize {
    std::env::var("FOREGATE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

/// What the API has acknowledged of objects.
#[derive(Clone, Debug, Default)]
struct Acknowledged {
    /// Objects by name, with their value and version.
    objects: BTreeMap<String, (String, u64)>,
    created: BTreeSet<String>,
    deleted: BTreeSet<String>,
    /// Asked for, and not answered before the kill: it may have happened or not.
    unanswered: BTreeSet<String>,
    /// Each was given once.
    versions: BTreeSet<u64>,
    writes: usize,
}

impl Acknowledged {
    fn written(&mut self, object: &ConfigMap) {
        let (name, version) = (object.name_any(), version(object));
        self.writes += 1;
        assert!(self.versions.insert(version), "resourceVersion {version} was given twice");
        self.objects.insert(name, (value(object), version));
    }

    /// Compares with what is there. What wasn't answered is known from then on.
    fn check(&mut self, there: &[ConfigMap]) {
        let there: BTreeMap<String, (String, u64)> =
            there.iter().map(|object| (object.name_any(), (value(object), version(object)))).collect();
        for (name, state) in self.objects.iter().filter(|(name, _)| !self.unanswered.contains(*name)) {
            assert_eq!(there.get(name), Some(state), "{name} was acknowledged and is lost");
        }
        for name in self.deleted.iter().filter(|name| !self.unanswered.contains(*name)) {
            assert!(!there.contains_key(name), "{name} is deleted and there");
        }
        self.unanswered.clear();
        self.objects = there;
    }

    /// An object that an earlier round has made, to be deleted by one writer.
    fn victim(&mut self, round: usize) -> Option<String> {
        let earlier = |name: &&String| !name.starts_with(&format!("r{round}-"));
        let name = self.objects.keys().find(earlier).cloned()?;
        self.objects.remove(&name);
        self.unanswered.insert(name.clone());
        Some(name)
    }
}

fn value(object: &ConfigMap) -> String {
    object.data.as_ref().and_then(|data| data.get("v")).cloned().unwrap_or_default()
}

/// Creates, changes and deletes objects until the server is gone, and notes what was acknowledged.
async fn write_until_gone(api: Api<ConfigMap>, round: usize, writer: usize, acknowledged: Arc<Mutex<Acknowledged>>) {
    for index in 0.. {
        let name = format!("r{round}-{writer}-{index}");
        let write = write(&api, &name, round, index, &acknowledged);
        if tokio::time::timeout(PATIENCE, write).await.unwrap().is_err() {
            return;
        }
    }
}

async fn write(
    api: &Api<ConfigMap>,
    name: &str,
    round: usize,
    index: usize,
    acknowledged: &Mutex<Acknowledged>,
) -> kube::Result<()> {
    let object: ConfigMap =
        serde_json::from_value(json!({ "metadata": { "name": name }, "data": { "v": "1" } })).unwrap();
    acknowledged.lock().unwrap().unanswered.insert(name.to_owned());
    let created = api.create(&PostParams::default(), &object).await?;
    {
        let mut acknowledged = acknowledged.lock().unwrap();
        acknowledged.written(&created);
        acknowledged.created.insert(name.to_owned());
        acknowledged.unanswered.remove(name);
    }
    if index % 3 == 1 {
        acknowledged.lock().unwrap().unanswered.insert(name.to_owned());
        let patch = Patch::Merge(json!({ "data": { "v": "2" } }));
        let patched = api.patch(name, &PatchParams::default(), &patch).await?;
        let mut acknowledged = acknowledged.lock().unwrap();
        acknowledged.written(&patched);
        acknowledged.unanswered.remove(name);
    }
    let victim = if index % 4 == 2 { acknowledged.lock().unwrap().victim(round) } else { None };
    if let Some(victim) = victim {
        api.delete(&victim, &DeleteParams::default()).await?;
        let mut acknowledged = acknowledged.lock().unwrap();
        acknowledged.writes += 1;
        acknowledged.unanswered.remove(&victim);
        acknowledged.deleted.insert(victim);
    }
    Ok(())
}

/// A route of one host to a backend.
fn host_route(name: &str, host: &str, backend: &str) -> String {
    route(name, "web", "/", backend).replace("spec:\n", &format!("spec:\n  hostnames: [{host}]\n"))
}

/// Every host is answered as it should be, at once.
async fn serves(address: SocketAddr, expected: &Expected) {
    for host in ["one.example", "two.example", CHANGING] {
        let response = http::get(address, host, "/").await.expect("the gateway is there when it says that it is ready");
        assert_eq!(response.status(), 200, "{host}");
        let body = String::from_utf8_lossy(response.body()).into_owned();
        assert!(expected.of(host).contains(&&*body), "{host}: {body}");
    }
}

/// The changing route leads to another backend from now on.
async fn change_route(client: &Client, round: usize, expected: &Expected) -> &'static str {
    let backend = BACKENDS[round % 2];
    expected.set(CHANGING, &BACKENDS);
    apply(client, &host_route("changing", CHANGING, backend)).await;
    backend
}

/// One life of the server: what was acknowledged before is there, more is written, and it is killed.
async fn round(dir: &Path, round: usize, world: &World) {
    let foregate = world.start(dir).await;
    let client = foregate.client().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let follower = tokio::spawn(world.follower.clone().until_gone(api.clone()));
    world.check(&api).await;
    let changed =
        if round.is_multiple_of(2) { Some(change_route(&client, round, &world.expected).await) } else { None };
    let before = world.acknowledged.lock().unwrap().writes;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write_until_gone(api.clone(), round, writer, world.acknowledged.clone())))
        .collect();
    let some = before + 5 + round * 7 % 37;
    eventually("some writes", || async { (world.acknowledged.lock().unwrap().writes >= some).then_some(()) }).await;
    let changed = match changed {
        Some(changed) => changed,
        None => change_route(&client, round, &world.expected).await,
    };
    world.expected.kill();
    foregate.stop(Signal::KILL);
    world.expected.kill();
    // What was acknowledged last is all that may ever be served again.
    world.expected.set(CHANGING, &[changed]);
    for task in writers.into_iter().chain([follower]) {
        tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
    }
}

struct World {
    address: SocketAddr,
    expected: Expected,
    follower: Follower,
    acknowledged: Arc<Mutex<Acknowledged>>,
    /// From exec to `ready`.
    starts: Mutex<Vec<Duration>>,
}

impl World {
    /// Starts, and finds that everything serves once that is said.
    async fn start(&self, dir: &Path) -> Foregate {
        let begun = Instant::now();
        let foregate = Foregate::start(dir, POOL, &[]);
        self.starts.lock().unwrap().push(begun.elapsed());
        serves(self.address, &self.expected).await;
        foregate
    }

    /// Nothing is lost, and the watch knows what is there.
    async fn check(&self, api: &Api<ConfigMap>) {
        let there = api.list(&ListParams::default()).await.unwrap().items;
        self.acknowledged.lock().unwrap().check(&there);
        let versions: BTreeMap<String, u64> = there.iter().map(|object| (object.name_any(), version(object))).collect();
        eventually("the watch knows all", || async { (self.follower.told().present == versions).then_some(()) }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_nothing_and_shows_nothing_half_made() {
    let dir = tempfile::tempdir().unwrap();
    let (address, expected) = (first_start(dir.path()).await, Expected::default());
    for (host, backend) in [("one.example", "one"), ("two.example", "two"), (CHANGING, "one")] {
        expected.set(host, &[backend]);
    }
    let poll = expected.poll(address);
    let world = World {
        address,
        expected: expected.clone(),
        follower: Follower::default(),
        acknowledged: Arc::default(),
        starts: Mutex::default(),
    };
    for number in 0..kills() {
        round(dir.path(), number, &world).await;
    }
    let foregate = world.start(dir.path()).await;
    let api: Api<ConfigMap> = Api::default_namespaced(foregate.client().await);
    let follower = tokio::spawn(world.follower.clone().until_gone(api.clone()));
    world.check(&api).await;
    follower.abort();
    expected.done();
    let polled = poll.await.unwrap();
    report(&world, &polled);
}

/// Prints the figures, and fails if anything is wrong.
fn report(world: &World, polled: &harness::poll::Polled) {
    let (told, acknowledged) = (world.follower.told(), world.acknowledged.lock().unwrap());
    let mut starts = world.starts.lock().unwrap().clone();
    starts.sort_unstable();
    println!("{} kills, {} acknowledged writes, none lost", kills(), acknowledged.writes);
    println!("watch: {} events, {} lists anew", told.events, told.lists);
    println!("exec to ready: median {:?}, slowest {:?}", starts[starts.len() / 2], starts[starts.len() - 1]);
    println!("requests: {} right, {} refused, {} cut by a kill", polled.right, polled.refused, polled.cut);
    assert!(told.faults.is_empty(), "{:#?}", told.faults);
    let once = |counts: &BTreeMap<String, usize>, name: &String| counts.get(name) == Some(&1);
    let missed: Vec<_> = acknowledged.created.iter().filter(|name| !once(&told.came, name)).collect();
    assert!(missed.is_empty(), "not told exactly once that they came: {missed:?}");
    let missed: Vec<_> = acknowledged.deleted.iter().filter(|name| !once(&told.went, name)).collect();
    assert!(missed.is_empty(), "not told exactly once that they went: {missed:?}");
    assert!(polled.wrong.is_empty(), "{:#?}", polled.wrong);
    assert!(polled.right > 0 && told.events > 0 && acknowledged.writes > 0);
}

async fn first_start(dir: &Path) -> SocketAddr {
    let foregate = Foregate::start(dir, POOL, &[]);
    let client = foregate.client().await;
    apply(&client, &gateway("web")).await;
    for name in BACKENDS {
        apply(&client, &service(name, &[backend::start(name).await])).await;
        apply(&client, &host_route(name, &format!("{name}.example"), name)).await;
    }
    apply(&client, &host_route("changing", CHANGING, "one")).await;
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    for host in ["one.example", "two.example", CHANGING] {
        eventually("the route serves", || async {
            http::get(address, host, "/").await.ok().filter(|response| response.status() == 200)
        })
        .await;
    }
    foregate.stop(Signal::KILL);
    address
}
