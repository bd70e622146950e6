//! Copies of clusters' Secrets that nobody needs any more.
//!
//! A remote cluster's controller may write copies of its Secrets, but not read any: it can't find those that it has left
//! behind. So the platform removes a copy (it has the cluster's label and says where it is from) once no claim of its
//! namespace has named it for a while, and no gateway is held at a revision that needs it. Other Secrets are left alone.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use foregate_api::{CLUSTER_LABEL, GatewayClaim, ORIGIN_ANNOTATION};
use foregate_xds::{ResourceId, ResourceKind};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

use crate::outbox::{Kind, Target, Write};
use crate::pipeline::Pipeline;
use crate::pipeline::pin::Pin;
use crate::store::{Changed, Key};

/// A copy is there before the claim that names it, and stays until the next one does. A controller that was away writes
/// its claims anew within that time.
pub(crate) const GRACE: Duration = Duration::from_secs(600);

/// Who names Secrets, and which copies nobody does.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// How many claims name a Secret.
    named: HashMap<Key, usize>,
    /// To be looked at.
    touched: BTreeSet<Key>,
    /// Copies that nobody names, and when they go.
    unused: HashMap<Key, Instant>,
    due: BTreeSet<(Instant, Key)>,
}

impl Copies {
    /// A claim is new, changed or gone.
    pub(super) fn claim(&mut self, changed: &Changed<GatewayClaim>) {
        for key in changed.new.iter().flat_map(|claim| names(claim)) {
            *self.named.entry(key.clone()).or_default() += 1;
            self.touched.insert(key);
        }
        for key in changed.old.iter().flat_map(|claim| names(claim)) {
            if let Some(count) = self.named.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.named.remove(&key);
                }
            }
            self.touched.insert(key);
        }
    }

    /// A Secret is new, changed or gone.
    pub(super) fn secret(&mut self, changed: &Changed<Secret>) {
        self.touched.insert(changed.key.clone());
    }

    fn set(&mut self, key: Key, until: Option<Instant>) {
        if let Some(before) = self.unused.remove(&key) {
            self.due.remove(&(before, key.clone()));
        }
        if let Some(until) = until {
            self.unused.insert(key.clone(), until);
            self.due.insert((until, key));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl Pipeline {
    /// Removes copies whose time is over.
    pub(super) fn remove_copies(&mut self, now: Instant) {
        for key in std::mem::take(&mut self.copies.touched) {
            let unused = !self.copies.named.contains_key(&key)
                && self.stores.secrets.get(&key).is_some_and(|secret| is_copy(secret));
            let since = self.copies.unused.get(&key).copied();
            self.copies.set(key, unused.then(|| since.unwrap_or(now + GRACE)));
        }
        while let Some((at, key)) = self.copies.due.first().cloned()
            && at <= now
        {
            let needed = self.is_held_back(&key);
            let secret = self.stores.secrets.get(&key).filter(|_| !needed);
            let write = secret.and_then(|secret| secret.uid()).map(|uid| Write::Delete { uid });
            self.outbox.want(Target { kind: Kind::Secret, key: key.clone() }, write, now);
            // Should that fail, or be too early, it is looked at again.
            self.copies.set(key, Some(now + GRACE));
        }
    }

    /// Whether a gateway is held at a revision that needs a Secret, or may be.
    fn is_held_back(&self, key: &Key) -> bool {
        let id = ResourceId::new(ResourceKind::Secret, key.to_string());
        self.gateways.iter().filter(|(proxy, _)| proxy.namespace == key.namespace).any(|(_, gateway)| {
            match &gateway.pin {
                Some(Pin::Held(held)) => held.needs.contains(&id),
                // What it needs is being found out.
                Some(_) => true,
                None => gateway.pinned.is_some(),
            }
        })
    }
}

/// The Secrets that a claim names.
fn names(claim: &GatewayClaim) -> Vec<Key> {
    let namespace = claim.namespace().unwrap_or_default();
    let tls = claim.spec.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let names = tls.flat_map(|tls| &tls.certificates).chain(&claim.spec.backend_client_certificate);
    names.map(|name| Key::new(&*namespace, name)).collect()
}

fn is_copy(secret: &Secret) -> bool {
    let meta = &secret.metadata;
    let has = |map: &Option<std::collections::BTreeMap<String, String>>, key: &str| {
        map.as_ref().is_some_and(|map| map.contains_key(key))
    };
    has(&meta.labels, CLUSTER_LABEL) && has(&meta.annotations, ORIGIN_ANNOTATION) && meta.deletion_timestamp.is_none()
}
