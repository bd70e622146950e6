//! A simulated client: it takes responses of different kinds in any order, refuses what is poisoned, subscribes to
//! what it is told about, and may come back with what it had.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use foregate_envoy::pb::envoy::config::cluster::v3::Cluster;
use foregate_envoy::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use foregate_envoy::pb::envoy::config::listener::v3::Listener;
use foregate_envoy::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use foregate_envoy::{ResourceId, ResourceKind};
use foregate_xds::stream::{Names, Profile, Request, Response, Sent};
use prost::Message;

pub const DELTA_VHDS: Profile = Profile { delta: true, vhds: true };
pub const DELTA: Profile = Profile { delta: true, vhds: false };
pub const SOTW: Profile = Profile { delta: false, vhds: false };

/// Version and body of what a client has, by kind and name.
pub type Have = BTreeMap<ResourceKind, BTreeMap<Arc<str>, (Arc<str>, Bytes)>>;

pub struct Client {
    pub profile: Profile,
    /// As Envoy, it keeps the good parts of a response that it refuses.
    pub partial: bool,
    pub have: Have,
    pub requests: VecDeque<Request>,
    pub responses: BTreeMap<ResourceKind, VecDeque<Response>>,
    subscribed: BTreeMap<ResourceKind, BTreeSet<Arc<str>>>,
    /// Names subscribed by the request to come, and versions that it has.
    nonces: BTreeMap<ResourceKind, String>,
    resumed: BTreeSet<ResourceKind>,
}

impl Client {
    pub fn new(profile: Profile, partial: bool) -> Self {
        let mut client = Self {
            profile,
            partial,
            have: Have::new(),
            requests: VecDeque::new(),
            responses: BTreeMap::new(),
            subscribed: BTreeMap::new(),
            nonces: BTreeMap::new(),
            resumed: BTreeSet::new(),
        };
        client.connect(false);
        client
    }

    /// A new stream; with what the last one had, or with nothing.
    pub fn connect(&mut self, resume: bool) {
        self.requests.clear();
        self.responses.clear();
        self.subscribed.clear();
        self.nonces.clear();
        if !resume {
            self.have.clear();
        }
        self.resumed = self.have.keys().copied().collect();
        self.subscribe(ResourceKind::Cluster, ["*".into()].into());
        self.subscribe(ResourceKind::Listener, ["*".into()].into());
        self.follow();
    }

    fn of(&self, kind: ResourceKind) -> impl Iterator<Item = (&Arc<str>, &(Arc<str>, Bytes))> {
        self.have.get(&kind).into_iter().flatten()
    }

    fn subscribe(&mut self, kind: ResourceKind, names: BTreeSet<Arc<str>>) {
        let before = self.subscribed.insert(kind, names.clone()).unwrap_or_default();
        if before == names {
            return;
        }
        let nonce = self.nonces.get(&kind).cloned().unwrap_or_default();
        let names = if self.profile.delta {
            let resumed = self.resumed.remove(&kind);
            let have = self.of(kind).filter(|_| resumed);
            Names::Change {
                subscribe: names.difference(&before).cloned().collect(),
                unsubscribe: before.difference(&names).cloned().collect(),
                initial: have.map(|(name, (version, _))| (name.clone(), version.clone())).collect(),
            }
        } else {
            Names::All(names.into_iter().collect())
        };
        let nonce = if self.profile.delta { String::new() } else { nonce };
        self.requests.push_back(Request { kind, names, nonce, error: None });
    }

    /// Subscribes to what it has been told about, and drops what nothing names any more.
    fn follow(&mut self) {
        let mut endpoints = BTreeSet::new();
        let mut secrets = BTreeSet::new();
        for (name, (_, body)) in self.of(ResourceKind::Cluster) {
            endpoints.insert(name.clone());
            let cluster = Cluster::decode(body.clone()).unwrap();
            secrets.extend(secret_of(&cluster.alt_stat_name));
        }
        let mut routes = BTreeSet::new();
        for (name, (_, body)) in self.of(ResourceKind::Listener) {
            routes.insert(name.clone());
            secrets.extend(secret_of(&Listener::decode(body.clone()).unwrap().stat_prefix));
        }
        self.drop_other(ResourceKind::ClusterLoadAssignment, &endpoints);
        self.drop_other(ResourceKind::Secret, &secrets);
        self.drop_other(ResourceKind::RouteConfiguration, &routes);
        self.subscribe(ResourceKind::ClusterLoadAssignment, endpoints);
        self.subscribe(ResourceKind::Secret, secrets);
        self.subscribe(ResourceKind::RouteConfiguration, routes);
        if self.profile.vhds {
            let configurations: BTreeSet<Arc<str>> =
                self.of(ResourceKind::RouteConfiguration).map(|(name, _)| name.clone()).collect();
            if let Some(hosts) = self.have.get_mut(&ResourceKind::VirtualHost) {
                hosts.retain(|name, _| configurations.contains(name.split('/').next().unwrap()));
            }
            let globs = configurations.iter().map(|name| format!("{name}/*").into()).collect();
            self.subscribe(ResourceKind::VirtualHost, globs);
        }
    }

    fn drop_other(&mut self, kind: ResourceKind, names: &BTreeSet<Arc<str>>) {
        if let Some(have) = self.have.get_mut(&kind) {
            have.retain(|name, _| names.contains(name));
        }
    }

    /// Takes the next response of a kind, if there is one, puts it in place or refuses it, and answers.
    pub fn take(&mut self, kind: ResourceKind) -> bool {
        let Some(response) = self.responses.get_mut(&kind).and_then(VecDeque::pop_front) else { return false };
        let poisoned: Vec<bool> = response.resources.iter().map(|sent| is_poisoned(kind, &sent.body)).collect();
        let refused = poisoned.contains(&true);
        if !refused || self.partial {
            let good = response.resources.iter().zip(poisoned).filter(|(_, poisoned)| !poisoned);
            self.place(kind, good.map(|(sent, _)| sent).collect(), &response);
        }
        self.nonces.insert(kind, response.nonce.clone());
        let names = if self.profile.delta {
            Names::Change { subscribe: vec![], unsubscribe: vec![], initial: Default::default() }
        } else {
            Names::All(self.subscribed.get(&kind).into_iter().flatten().cloned().collect())
        };
        let error = refused.then(|| "poisoned".to_owned());
        self.requests.push_back(Request { kind, names, nonce: response.nonce, error });
        self.follow();
        true
    }

    fn place(&mut self, kind: ResourceKind, good: Vec<&Sent>, response: &Response) {
        let wanted = self.subscribed.get(&kind).cloned().unwrap_or_default();
        let have = self.have.entry(kind).or_default();
        if !self.profile.delta && matches!(kind, ResourceKind::Cluster | ResourceKind::Listener) {
            // What a partial client refuses stays as it was.
            let named: BTreeSet<_> = response.resources.iter().map(|sent| sent.name.clone()).collect();
            have.retain(|name, _| named.contains(name));
        }
        for name in &response.removed {
            have.remove(name);
        }
        for sent in good {
            let named = wanted.contains("*") || kind == ResourceKind::VirtualHost || wanted.contains(&sent.name);
            if named {
                have.insert(sent.name.clone(), (sent.version.clone(), sent.body.clone()));
            }
        }
        if kind == ResourceKind::VirtualHost {
            have.retain(|name, _| wanted.contains(&*format!("{}/*", name.split('/').next().unwrap())));
        }
    }

    /// The virtual hosts that it has, however they came, by full name.
    pub fn hosts(&self) -> BTreeMap<Arc<str>, Bytes> {
        if self.profile.vhds {
            return self.of(ResourceKind::VirtualHost).map(|(name, (_, body))| (name.clone(), body.clone())).collect();
        }
        let configurations = self.of(ResourceKind::RouteConfiguration);
        configurations
            .flat_map(|(_, (_, body))| RouteConfiguration::decode(body.clone()).unwrap().virtual_hosts)
            .map(|host| (host.domains[0].as_str().into(), host.encode_to_vec().into()))
            .collect()
    }

    /// Make before break: each cluster that a virtual host names is there, with its endpoints.
    pub fn check(&self) -> Result<(), String> {
        let has = |kind, name: &str| self.have.get(&kind).is_some_and(|have| have.contains_key(name));
        for (host, body) in self.hosts() {
            for cluster in clusters_of(&body) {
                if !has(ResourceKind::Cluster, &cluster) {
                    return Err(format!("{host} names {cluster}, which isn't there"));
                }
                if !has(ResourceKind::ClusterLoadAssignment, &cluster) {
                    return Err(format!("{host} names {cluster}, which has no endpoints"));
                }
            }
        }
        Ok(())
    }

    pub fn version(&self, id: &ResourceId) -> Option<&Arc<str>> {
        self.have.get(&id.kind)?.get(&id.name).map(|(version, _)| version)
    }
}

pub fn clusters_of(host: &Bytes) -> Vec<String> {
    let name = VirtualHost::decode(host.clone()).unwrap().name;
    let clusters = name.split(';').nth(1).unwrap();
    clusters.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn secret_of(text: &str) -> Option<Arc<str>> {
    text.split(';').nth(1).filter(|name| !name.is_empty()).map(Into::into)
}

/// Whether a client refuses it. A composed route configuration is as bad as its worst virtual host.
pub fn is_poisoned(kind: ResourceKind, body: &Bytes) -> bool {
    let body = body.clone();
    match kind {
        ResourceKind::Cluster => Cluster::decode(body).unwrap().alt_stat_name.contains('!'),
        ResourceKind::ClusterLoadAssignment => {
            ClusterLoadAssignment::decode(body).unwrap().endpoints.iter().any(|locality| locality.priority >= 100)
        }
        ResourceKind::Listener => Listener::decode(body).unwrap().stat_prefix.contains('!'),
        ResourceKind::RouteConfiguration => {
            let message = RouteConfiguration::decode(body).unwrap();
            let hosts = message.virtual_hosts.iter().any(|host| host.name.contains('!'));
            hosts || message.internal_only_headers.iter().any(|header| header.contains('!'))
        }
        ResourceKind::VirtualHost => VirtualHost::decode(body).unwrap().name.contains('!'),
        ResourceKind::Secret | ResourceKind::ExtensionConfig => false,
    }
}
