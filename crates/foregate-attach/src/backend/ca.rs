//! Certificates that are trusted: `ca.crt` of ConfigMaps and Secrets, and ClusterTrustBundles.

use std::fmt;
use std::sync::Arc;

use foregate_api::gateway::LocalObjectReference;
use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::ConfigMap;

use crate::certificate::check_roots;
use crate::need::Need;
use crate::world::World;
use crate::{Attach, Change, Key};

/// The key that holds them.
pub(crate) const CA_KEY: &str = "ca.crt";

/// An object that may hold trusted certificates.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum CaSource {
    ConfigMap(Key),
    Secret(Key),
    /// By its name: it has no namespace.
    TrustBundle(Arc<str>),
}

/// An object that names trusted certificates.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TlsUser {
    Backend(Key),
    Gateway(Key),
    Policy(Key),
    XBackend(Key),
}

/// Trusted certificates as PEM; or what is wrong with them.
pub(crate) type Ca = Result<String, String>;

impl CaSource {
    /// What a reference leads to; none: another kind.
    pub fn of(reference: &LocalObjectReference, namespace: &str) -> Option<Self> {
        let key = Key::new(namespace, reference.name.as_str());
        match (reference.group.as_str(), reference.kind.as_str()) {
            ("", "ConfigMap") => Some(Self::ConfigMap(key)),
            ("", "Secret") => Some(Self::Secret(key)),
            ("certificates.k8s.io", "ClusterTrustBundle") => Some(Self::TrustBundle(key.name)),
            _ => None,
        }
    }

    /// What it holds.
    pub fn read(&self, world: &World) -> Ca {
        let absent = || format!("{self} doesn't exist");
        let text = match self {
            Self::ConfigMap(key) => world.config_maps.get(key).ok_or_else(absent)?.as_ref(),
            Self::Secret(key) => world.secrets.get(key).ok_or_else(absent)?.ca.as_ref(),
            Self::TrustBundle(name) => Some(world.trust_bundles.get(name).ok_or_else(absent)?),
        };
        let text = text.ok_or_else(|| format!("{self} has no {CA_KEY}"))?;
        match check_roots(text) {
            Ok(()) => Ok(text.clone()),
            Err(why) => Err(match self {
                Self::TrustBundle(_) => format!("{self} {why}"),
                _ => format!("{CA_KEY} of {self} {why}"),
            }),
        }
    }
}

impl fmt::Display for CaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConfigMap(key) => write!(f, "ConfigMap {key}"),
            Self::Secret(key) => write!(f, "Secret {key}"),
            Self::TrustBundle(name) => write!(f, "ClusterTrustBundle {name}"),
        }
    }
}

impl Attach {
    pub(crate) fn take_trust_bundle(&mut self, change: Change<ClusterTrustBundle>) {
        let (name, new) = match change {
            Change::Set(object) => {
                (object.metadata.name.as_deref().unwrap_or_default().into(), Some(object.spec.trust_bundle.clone()))
            }
            Change::Gone(key) => (key.name, None),
        };
        let old = match &new {
            Some(text) => self.world.trust_bundles.insert(Arc::clone(&name), text.clone()),
            None => self.world.trust_bundles.remove(&name),
        };
        if old != new {
            self.mark_ca_users(&CaSource::TrustBundle(name));
        }
    }

    pub(crate) fn take_config_map(&mut self, change: Change<ConfigMap>) {
        let (key, new) = match change {
            Change::Set(object) => {
                let text = object.data.as_ref().and_then(|data| data.get(CA_KEY)).cloned();
                (Key::of(&object.metadata), Some(text))
            }
            Change::Gone(key) => (key, None),
        };
        if !self.needs(&Need::ConfigMap(key.clone())) {
            return;
        }
        let old = match &new {
            Some(text) => self.world.config_maps.insert(key.clone(), text.clone()),
            None => self.world.config_maps.remove(&key),
        };
        if old != new {
            self.mark_ca_users(&CaSource::ConfigMap(key));
        }
    }

    /// Marks what names an object with trusted certificates.
    pub(crate) fn mark_ca_users(&mut self, source: &CaSource) {
        for user in self.index.ca_users.of(source) {
            match user {
                TlsUser::Backend(key) => self.dirty.directs.insert(key.clone()),
                TlsUser::Gateway(key) => self.dirty.gateways.insert(key.clone()),
                TlsUser::Policy(key) => self.dirty.policies.insert(key.clone()),
                TlsUser::XBackend(key) => self.dirty.xbackends.insert(key.clone()),
            };
        }
    }
}
