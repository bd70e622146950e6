//! An engine that takes what it is given, except for what it is told to refuse.

use std::collections::BTreeMap;
use std::path::PathBuf;

use foregate_envoy::ResourceKind;
use foregate_xds::client::{Client, ClientResource, Response};
use foregate_xds::{Instance, serve_unix};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::world::{PATIENCE, TENANT, World};

/// What it serves: versions by kind and name.
type Held = BTreeMap<String, String>;

pub struct Engine {
    held: watch::Receiver<Held>,
    _stop: DropGuard,
}

impl Engine {
    /// Connects to a gateway. Refuses resources with `refuses` in their name or encoding.
    pub async fn connect(world: &World, proxy: &str, refuses: Option<&'static str>) -> Self {
        let path = world.socket(proxy);
        let stop = CancellationToken::new();
        let identity = Instance { group: format!("{TENANT}/{proxy}").into(), node: "local".into() };
        let (cache, served, at) = (world.cache.clone(), stop.clone(), path.clone());
        tokio::spawn(async move { serve_unix(cache, &at, identity, served).await.unwrap() });
        let (sender, held) = watch::channel(Held::new());
        tokio::spawn(stop.clone().run_until_cancelled_owned(live(path, refuses, sender)));
        Self { held, _stop: stop.drop_guard() }
    }

    /// Waits until what it serves is as it should be.
    pub async fn until(&self, seen: impl Fn(&Held) -> bool) -> Held {
        let mut watched = self.held.clone();
        let found = tokio::time::timeout(PATIENCE, watched.wait_for(|held| seen(held))).await;
        if let Ok(held) = found {
            return held.unwrap().clone();
        }
        panic!("it never serves that: {:#?}", self.held.borrow().keys());
    }
}

async fn live(path: PathBuf, refuses: Option<&'static str>, held: watch::Sender<Held>) {
    // The socket comes up in another task.
    let mut client = loop {
        match Client::connect_unix(&path, "test").await {
            Ok(client) => break client,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    client.subscribe(ResourceKind::Cluster, ["*"]).unwrap();
    client.subscribe(ResourceKind::Listener, ["*"]).unwrap();
    while let Ok(response) = client.next().await {
        let is_bad = |resource: &&ClientResource| refuses.is_some_and(|part| contains(resource, part));
        let bad = response.set.iter().find(is_bad);
        if let Some(bad) = bad {
            client.nack(&response, &format!("{} isn't to my taste", bad.name)).unwrap();
            continue;
        }
        follow(&mut client, &response);
        client.ack(&response).unwrap();
        held.send_modify(|held| {
            for name in &response.removed {
                held.remove(&format!("{:?} {name}", response.kind));
            }
            for resource in &response.set {
                held.insert(format!("{:?} {}", response.kind, resource.name), resource.version.clone());
            }
        });
    }
}

/// Asks for what is named by what has come.
fn follow(client: &mut Client, response: &Response) {
    let names: Vec<&str> = response.set.iter().map(|resource| resource.name.as_str()).collect();
    match response.kind {
        ResourceKind::Cluster => {
            client.subscribe(ResourceKind::ClusterLoadAssignment, names).unwrap();
        }
        ResourceKind::Listener => {
            client.subscribe(ResourceKind::VirtualHost, names.iter().map(|name| format!("{name}/*"))).unwrap();
            client.subscribe(ResourceKind::RouteConfiguration, names).unwrap();
        }
        _ => {}
    }
}

fn contains(resource: &ClientResource, part: &str) -> bool {
    resource.name.contains(part) || resource.body.windows(part.len()).any(|window| window == part.as_bytes())
}
