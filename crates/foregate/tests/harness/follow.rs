//! A watch that outlives its server, as an informer's does: resumed where it was, listed anew where the server says so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};

/// What a client has been told of all ConfigMaps of a namespace. Clones are the same client.
#[derive(Clone, Default)]
pub struct Follower(Arc<Mutex<Told>>);

/// What it was told so far.
#[derive(Clone, Default)]
pub struct Told {
    /// Objects that are there, with their resourceVersions.
    pub present: BTreeMap<String, u64>,
    /// How often it was told that an object has come.
    pub came: BTreeMap<String, usize>,
    /// How often it was told that an object has gone.
    pub went: BTreeMap<String, usize>,
    /// Events, lists not counted.
    pub events: usize,
    /// Lists after the first.
    pub lists: usize,
    /// What no client may be told: the same twice, or something that contradicts what was said before.
    pub faults: Vec<String>,
    version: Option<u64>,
}

impl Follower {
    /// Everything so far.
    pub fn told(&self) -> Told {
        self.0.lock().unwrap().clone()
    }

    /// Follows one server until that is gone.
    pub async fn until_gone(self, api: Api<ConfigMap>) {
        loop {
            let version = self.0.lock().unwrap().version;
            let Some(version) = version else {
                let Ok(list) = api.list(&ListParams::default()).await else { return };
                self.0.lock().unwrap().listed(list.metadata.resource_version, &list.items);
                continue;
            };
            let mut events = match api.watch(&WatchParams::default(), &version.to_string()).await {
                Ok(events) => events.boxed(),
                Err(kube::Error::Api(status)) if status.code == 410 => {
                    self.0.lock().unwrap().version = None;
                    continue;
                }
                Err(_) => return,
            };
            while let Some(event) = events.next().await {
                let Ok(event) = event else { return };
                if !self.0.lock().unwrap().event(&event) {
                    break;
                }
            }
            if self.0.lock().unwrap().version.is_some() {
                return;
            }
        }
    }
}

impl Told {
    /// Returns false if the watch can't go on.
    fn event(&mut self, event: &WatchEvent<ConfigMap>) -> bool {
        let object = match event {
            WatchEvent::Bookmark(_) => return true,
            WatchEvent::Error(status) => {
                if status.code != 410 {
                    self.faults.push(format!("the watch failed: {status:?}"));
                }
                self.version = None;
                return false;
            }
            WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => object,
        };
        let (name, version) = (object.name_any(), version(object));
        self.events += 1;
        if self.version.is_some_and(|before| version <= before) {
            self.faults.push(format!("{name}: version {version} comes after {:?}", self.version));
        }
        self.version = Some(version);
        let known = self.present.contains_key(&name);
        match event {
            WatchEvent::Added(_) if !known => self.came(name, version),
            WatchEvent::Modified(_) if known => drop(self.present.insert(name, version)),
            WatchEvent::Deleted(_) if known => self.went(&name),
            _ => self.faults.push(format!("{name}: known: {known}, but told: {event:?}")),
        }
        true
    }

    fn listed(&mut self, at: Option<String>, objects: &[ConfigMap]) {
        self.lists += usize::from(!self.came.is_empty());
        let listed: BTreeMap<String, u64> = objects.iter().map(|object| (object.name_any(), version(object))).collect();
        let gone: Vec<String> = self.present.keys().filter(|name| !listed.contains_key(*name)).cloned().collect();
        gone.iter().for_each(|name| self.went(name));
        for (name, version) in listed {
            match self.present.get(&name) {
                None => self.came(name, version),
                Some(before) if *before > version => self.faults.push(format!("{name}: {version} after {before}")),
                Some(_) => drop(self.present.insert(name, version)),
            }
        }
        self.version = at.and_then(|at| at.parse().ok());
        assert!(self.version.is_some(), "a list has a resourceVersion");
    }

    fn came(&mut self, name: String, version: u64) {
        *self.came.entry(name.clone()).or_default() += 1;
        self.present.insert(name, version);
    }

    fn went(&mut self, name: &str) {
        *self.went.entry(name.to_owned()).or_default() += 1;
        self.present.remove(name);
    }
}

/// An object's resourceVersion: a number (KEP-5504).
pub fn version(object: &ConfigMap) -> u64 {
    object.resource_version().unwrap().parse().unwrap()
}
