//! Certificates that are trusted: `ca.crt` of ConfigMaps and Secrets.

use foregate_api::gateway::LocalObjectReference;
use k8s_openapi::api::core::v1::ConfigMap;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::world::World;
use crate::{Attach, Change, Key};

/// The key that holds them.
pub(crate) const CA_KEY: &str = "ca.crt";

/// An object that may hold trusted certificates.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum CaSource {
    ConfigMap(Key),
    Secret(Key),
}

/// An object that names trusted certificates.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TlsUser {
    Backend(Key),
    Policy(Key),
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
            _ => None,
        }
    }

    /// What it holds.
    pub fn read(&self, world: &World) -> Ca {
        let (what, found) = match self {
            Self::ConfigMap(key) => (format!("ConfigMap {key}"), world.config_maps.get(key)),
            Self::Secret(key) => (format!("Secret {key}"), world.secrets.get(key).map(|secret| &secret.ca)),
        };
        let Some(text) = found else { return Err(format!("{what} doesn't exist")) };
        let text = text.as_deref().ok_or_else(|| format!("{what} has no {CA_KEY}"))?;
        match check(text) {
            Ok(()) => Ok(text.to_owned()),
            Err(why) => Err(format!("{CA_KEY} of {what} {why}")),
        }
    }
}

/// Whether a text holds certificates, and nothing else that claims to be one.
fn check(text: &str) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.map_err(|_| "isn't PEM".to_owned())?;
        roots.add(certificate).map_err(|_| "has a certificate that can't be read".to_owned())?;
    }
    if roots.is_empty() { Err("holds no PEM certificate".to_owned()) } else { Ok(()) }
}

impl Attach {
    pub(crate) fn take_config_map(&mut self, change: Change<ConfigMap>) {
        let (key, new) = match change {
            Change::Set(object) => {
                let text = object.data.as_ref().and_then(|data| data.get(CA_KEY)).cloned();
                (Key::of(&object.metadata), Some(text))
            }
            Change::Gone(key) => (key, None),
        };
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
                TlsUser::Policy(key) => self.dirty.policies.insert(key.clone()),
            };
        }
    }
}
