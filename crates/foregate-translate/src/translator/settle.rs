//! What came out, compared with what gateways have.

use std::collections::BTreeMap;

use foregate_envoy::{Delta, Resource, ResourceId, ResourceKind};

use super::Translator;
use super::work::Work;
use crate::index::Proxy;
use crate::{Output, ResourceChange};

impl Translator {
    pub(super) fn settle(&mut self, work: Work) -> Output {
        let mut output = Output::default();
        for (key, resources) in work.pending {
            let Some(proxy) = self.index.proxies.get_mut(&key) else { continue };
            let (delta, changes) = proxy.settle(resources);
            if delta.is_empty() {
                continue;
            }
            let name = key.proxy_ref();
            output.deltas.insert(name.clone(), delta);
            let causes = work.causes.get(&key).map(|causes| causes.values().map(|it| (**it).clone()).collect());
            output.causes.insert(name.clone(), causes.unwrap_or_default());
            output.changes.insert(name, changes);
        }
        for (key, published) in work.removed {
            let mut remove: Vec<ResourceId> = published.into_keys().collect();
            remove.sort_unstable();
            output.deltas.insert(key.proxy_ref(), Delta { set: Vec::new(), remove });
        }
        output.reports = work.judged.into_iter().filter_map(|object| self.report(object)).collect();
        output
    }
}

impl Proxy {
    /// Takes resources as they are now, in the order of their ids; answers what differs.
    fn settle(&mut self, resources: BTreeMap<ResourceId, Option<Resource>>) -> (Delta, Vec<ResourceChange>) {
        let mut delta = Delta::default();
        let mut changes = Vec::new();
        for (id, resource) in resources {
            let old = match &resource {
                Some(resource) if self.published.get(&id) == Some(resource) => continue,
                Some(resource) => self.published.insert(id.clone(), resource.clone()),
                None => match self.published.remove(&id) {
                    Some(old) => Some(old),
                    None => continue,
                },
            };
            changes.extend(change(&id, old.as_ref(), resource.as_ref()));
            match resource {
                Some(resource) => delta.set.push(resource),
                None => delta.remove.push(id),
            }
        }
        (delta, changes)
    }
}

/// For the revision: never endpoints or secrets, and nothing that reads the same.
fn change(id: &ResourceId, old: Option<&Resource>, new: Option<&Resource>) -> Option<ResourceChange> {
    if matches!(id.kind, ResourceKind::ClusterLoadAssignment | ResourceKind::Secret) {
        return None;
    }
    let (old_version, new_version) = (old.map(|it| it.version.clone()), new.map(|it| it.version.clone()));
    (old_version != new_version).then(|| ResourceChange {
        id: id.clone(),
        old: old.map(|it| it.body.clone()),
        old_version,
        old_needs: old.map(|it| it.needs.clone()).unwrap_or_default(),
        new_version,
    })
}
