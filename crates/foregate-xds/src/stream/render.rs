//! Making responses: bodies are shared, not copied, except where virtual hosts are put into a route configuration.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use bytes::{BufMut, Bytes, BytesMut};
use foregate_envoy::{ResourceId, ResourceKind};
use prost::encoding::encode_varint;

use super::Stream;
use super::decide::vhds_over_ads;
use super::flight::Batch;
use super::item::Change;
use crate::store::{Entry, route_configuration_of};

/// One resource in a response.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// Its name.
    pub name: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// The encoded message.
    pub body: Bytes,
}

/// A response, the same for both protocols.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// Of which kind.
    pub kind: ResourceKind,
    /// Resources.
    pub resources: Vec<Sent>,
    /// Names of those that are gone; always empty in state of the world.
    pub removed: Vec<Arc<str>>,
    /// Unique within the stream.
    pub nonce: String,
}

/// Up to this number, changed virtual hosts are put in their places one by one.
const FEW: usize = 16;

static VHDS: LazyLock<Bytes> = LazyLock::new(vhds_over_ads);

impl From<&Entry> for Sent {
    fn from(entry: &Entry) -> Self {
        let resource = &entry.resource;
        Self { name: resource.id.name.clone(), version: resource.version.clone(), body: resource.body.clone() }
    }
}

/// A route configuration with its virtual hosts (field 2), in the order given: encoded messages are concatenated.
pub(super) fn composed<'a>(shell: &Entry, hosts: impl Iterator<Item = &'a Arc<Entry>> + Clone) -> Sent {
    let each = |host: &Arc<Entry>| host.resource.body.len() + 6;
    let mut body = BytesMut::with_capacity(shell.resource.body.len() + hosts.clone().map(each).sum::<usize>());
    body.put_slice(&shell.resource.body);
    for host in hosts {
        body.put_u8(2 << 3 | 2);
        encode_varint(host.resource.body.len() as u64, &mut body);
        body.put_slice(&host.resource.body);
    }
    let body = body.freeze();
    let version = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&body)).into();
    Sent { name: shell.resource.id.name.clone(), version, body }
}

/// A route configuration that has its virtual hosts fetched over VHDS.
fn with_vhds(shell: &Entry) -> Sent {
    let mut body = BytesMut::with_capacity(shell.resource.body.len() + VHDS.len());
    body.put_slice(&shell.resource.body);
    body.put_slice(&VHDS);
    Sent { body: body.freeze(), ..Sent::from(shell) }
}

impl Stream {
    pub(super) fn render(&self, kind: ResourceKind, batch: &Batch, nonce: String) -> Response {
        let mut response = Response { kind, resources: Vec::new(), removed: Vec::new(), nonce };
        if kind == ResourceKind::RouteConfiguration && self.composes() {
            self.render_composed(batch, &mut response);
        } else if self.is_partial(kind) {
            for (id, change) in batch {
                match change {
                    Change::Set(entry) if kind == ResourceKind::RouteConfiguration => {
                        response.resources.push(with_vhds(entry));
                    }
                    Change::Set(entry) => response.resources.push(Sent::from(&**entry)),
                    Change::Remove => response.removed.push(id.name.clone()),
                }
            }
        } else {
            self.render_complete(kind, batch, &mut response);
        }
        response
    }

    /// All that the client has, with the batch applied.
    fn render_complete(&self, kind: ResourceKind, batch: &Batch, response: &mut Response) {
        let changes: HashMap<&str, &Change> = batch.iter().map(|(id, change)| (&*id.name, change)).collect();
        for (name, item) in &self.channel(kind).items {
            let entry = match changes.get(&**name) {
                Some(Change::Set(entry)) => Some(entry),
                Some(Change::Remove) => None,
                None => item.acked.as_ref(),
            };
            response.resources.extend(entry.map(|entry| Sent::from(&**entry)));
        }
        response.resources.sort_by(|a, b| a.name.cmp(&b.name));
    }

    fn render_composed(&self, batch: &Batch, response: &mut Response) {
        let changes: HashMap<&ResourceId, &Change> = batch.iter().map(|(id, change)| (id, change)).collect();
        let configurations: BTreeSet<&str> = batch
            .iter()
            .map(|(id, _)| match id.kind {
                ResourceKind::VirtualHost => route_configuration_of(&id.name),
                _ => &id.name,
            })
            .collect();
        for configuration in configurations {
            let id = ResourceId::new(ResourceKind::RouteConfiguration, configuration);
            let shell = match changes.get(&id) {
                Some(Change::Remove) => {
                    response.removed.push(id.name);
                    continue;
                }
                Some(Change::Set(entry)) => Some(entry),
                None => self.item(&id).and_then(|item| item.acked.as_ref()),
            };
            let Some(shell) = shell else { continue };
            let hosts = self.hosts_with(configuration, &changes);
            response.resources.push(composed(shell, hosts.into_iter()));
        }
    }

    /// The virtual hosts that the client has in a route configuration, with the batch applied, in order of name.
    fn hosts_with<'a>(
        &'a self,
        configuration: &str,
        changes: &HashMap<&ResourceId, &'a Change>,
    ) -> Vec<&'a Arc<Entry>> {
        let held = self.hosts.get(configuration).into_iter().flatten();
        let mut hosts: Vec<_> = held.map(|(_, entry)| entry).collect();
        let position = |hosts: &[&Arc<Entry>], name: &str| hosts.binary_search_by(|host| (**host.name()).cmp(name));
        if changes.len() <= FEW {
            for (id, change) in changes.iter().filter(|(id, _)| is_in(configuration, id)) {
                match (position(&hosts, &id.name), *change) {
                    (Ok(at), Change::Set(entry)) => hosts[at] = entry,
                    (Err(at), Change::Set(entry)) => hosts.insert(at, entry),
                    (Ok(at), Change::Remove) => drop(hosts.remove(at)),
                    (Err(_), Change::Remove) => {}
                }
            }
            return hosts;
        }
        hosts.retain(|host| !changes.contains_key(&host.resource.id));
        hosts.extend(changes.iter().filter(|(id, _)| is_in(configuration, id)).filter_map(
            |(_, change)| match change {
                Change::Set(entry) => Some(entry),
                Change::Remove => None,
            },
        ));
        hosts.sort_by(|a, b| a.name().cmp(b.name()));
        hosts
    }
}

/// Whether it is a virtual host of a route configuration.
fn is_in(configuration: &str, id: &ResourceId) -> bool {
    id.kind == ResourceKind::VirtualHost && route_configuration_of(&id.name) == configuration
}
