//! One gateway's resources: plain data that streams read.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foregate_envoy::{Delta, Resource, ResourceId, ResourceKind};

/// A resource, and the sequence of the change that brought this version.
#[derive(Debug, PartialEq)]
pub struct Entry {
    /// The resource.
    pub resource: Resource,
    /// When it came: see [`Store::apply`].
    pub sequence: u64,
    /// A listener of applications that are xDS clients themselves (`api_listener`): it binds no port, and only who asks
    /// for it by name gets it.
    pub within_application: bool,
}

/// Field number of `Listener.api_listener`.
const API_LISTENER: u32 = 19;

/// Whether an encoded message has a field.
fn has_field(mut body: &[u8], field: u32) -> bool {
    use prost::encoding::{DecodeContext, decode_key, skip_field};
    while let Ok((tag, wire_type)) = decode_key(&mut body) {
        if tag == field {
            return true;
        }
        if skip_field(wire_type, tag, &mut body, DecodeContext::default()).is_err() {
            return false;
        }
    }
    false
}

impl Entry {
    /// An entry of a change.
    pub fn new(resource: Resource, sequence: u64) -> Self {
        let within_application = resource.id.kind == ResourceKind::Listener && has_field(&resource.body, API_LISTENER);
        Self { resource, sequence, within_application }
    }

    /// The name of the resource.
    pub fn name(&self) -> &Arc<str> {
        &self.resource.id.name
    }

    /// The version of the resource.
    pub fn version(&self) -> &Arc<str> {
        &self.resource.version
    }

    /// What it names.
    pub fn needs(&self) -> &[ResourceId] {
        &self.resource.needs
    }
}

/// The route configuration that a virtual host belongs to, by its name `<route configuration>/<domain>`.
pub fn route_configuration_of(virtual_host: &str) -> &str {
    virtual_host.rsplit_once('/').map_or(virtual_host, |(configuration, _)| configuration)
}

/// The resources of one group.
#[derive(Debug, Default)]
pub struct Store {
    kinds: [HashMap<Arc<str>, Arc<Entry>>; ResourceKind::ALL.len()],
    /// Names of virtual hosts by route configuration.
    virtual_hosts: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// How many resources name this one.
    needed: HashMap<ResourceId, u32>,
    sequence: u64,
}

impl Store {
    /// An empty store at sequence 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies a change, removals first, and returns the ids of what really changed. The sequence grows by one.
    pub fn apply(&mut self, delta: Delta) -> Vec<ResourceId> {
        self.sequence += 1;
        let mut changed = Vec::with_capacity(delta.set.len() + delta.remove.len());
        for id in delta.remove {
            if self.remove(&id) {
                changed.push(id);
            }
        }
        for resource in delta.set {
            let id = resource.id.clone();
            if self.set(resource) {
                changed.push(id);
            }
        }
        changed
    }

    /// Removes everything; as [`Store::apply`].
    pub fn clear(&mut self) -> Vec<ResourceId> {
        let remove = self.iter().map(|entry| entry.resource.id.clone()).collect();
        self.apply(Delta { set: Vec::new(), remove })
    }

    fn set(&mut self, resource: Resource) -> bool {
        let id = resource.id.clone();
        let old = self.get(&id).cloned();
        let same = old.as_ref().is_some_and(|old| *old.version() == resource.version);
        for need in resource.needs.iter() {
            *self.needed.entry(need.clone()).or_default() += 1;
        }
        if let Some(old) = &old {
            self.forget_needs(old);
        } else if id.kind == ResourceKind::VirtualHost {
            let configuration = route_configuration_of(&id.name);
            if let Some(names) = self.virtual_hosts.get_mut(configuration) {
                names.insert(id.name.clone());
            } else {
                self.virtual_hosts.insert(configuration.into(), BTreeSet::from([id.name.clone()]));
            }
        }
        // Owners may change (a new generation) while the content stays: the new ones are kept, nothing is sent.
        let sequence = match &old {
            Some(old) if same => old.sequence,
            _ => self.sequence,
        };
        self.kinds[id.kind as usize].insert(id.name, Arc::new(Entry::new(resource, sequence)));
        !same
    }

    fn remove(&mut self, id: &ResourceId) -> bool {
        let kind = &mut self.kinds[id.kind as usize];
        let Some(old) = kind.remove(&id.name) else { return false };
        if kind.capacity() > 64 && kind.capacity() > 4 * kind.len() {
            kind.shrink_to_fit();
        }
        self.forget_needs(&old);
        if id.kind == ResourceKind::VirtualHost {
            let configuration = route_configuration_of(&id.name);
            if let Some(names) = self.virtual_hosts.get_mut(configuration) {
                names.remove(&id.name);
                if names.is_empty() {
                    self.virtual_hosts.remove(configuration);
                }
            }
        }
        true
    }

    fn forget_needs(&mut self, old: &Entry) {
        for need in old.needs() {
            if let Some(count) = self.needed.get_mut(need) {
                *count -= 1;
                if *count == 0 {
                    self.needed.remove(need);
                }
            }
        }
    }

    /// The resource with this id.
    pub fn get(&self, id: &ResourceId) -> Option<&Arc<Entry>> {
        self.kinds[id.kind as usize].get(&id.name)
    }

    /// All resources of a kind, in no order.
    pub fn of_kind(&self, kind: ResourceKind) -> impl Iterator<Item = &Arc<Entry>> {
        self.kinds[kind as usize].values()
    }

    /// The names of a route configuration's virtual hosts, in order.
    pub fn virtual_hosts(&self, route_configuration: &str) -> impl Iterator<Item = &Arc<str>> {
        self.virtual_hosts.get(route_configuration).into_iter().flatten()
    }

    /// Whether a resource in the store names this one.
    pub fn is_needed(&self, id: &ResourceId) -> bool {
        self.needed.contains_key(id)
    }

    /// All resources, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.kinds.iter().flat_map(HashMap::values)
    }

    /// The sequence of the last change; 0 before the first.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}
