//! Certificates.

use bytes::Bytes;
use foregate_api::{ORIGIN_ANNOTATION, Origin};
use foregate_envoy::{Owner, Resource};
use k8s_openapi::api::core::v1::Secret;
use prost::Message;

use super::Translator;
use super::ingest::SECRET;
use super::proxies::secret_id;
use super::work::Work;
use crate::envoy::{self, check};
use crate::{Key, Problem};

/// Name of the message.
const TYPE: &str = "envoy.extensions.transport_sockets.tls.v3.Secret";

impl Translator {
    /// Makes the certificates of Secrets that changed, or that listeners name or don't name any more.
    pub(super) fn make_certificates(&mut self, work: &mut Work) {
        for key in std::mem::take(&mut work.secrets) {
            let named = self.index.proxies_by_secret.has(&key);
            let was_there = self.has_certificate(&key);
            if let Some(secret) = self.index.secrets.get_mut(&key) {
                work.judge(SECRET, &key);
                if secret.gone && !named {
                    let owner = secret.tracked.owner.clone();
                    self.index.secrets.remove(&key);
                    self.forget(&owner, SECRET, &key);
                } else {
                    // A tenant may have Secrets for other ends: what no listener names isn't judged.
                    secret.body = None;
                    if named {
                        secret.make(&key);
                    } else {
                        secret.tracked.problem = None;
                    }
                }
            }
            self.publish_secret(&key, work);
            if was_there != self.has_certificate(&key) {
                self.mark_clients(&key, work);
            }
        }
    }

    /// Routes of gateways that show a certificate to backends: without it there are no connections to them.
    fn mark_clients(&self, key: &Key, work: &mut Work) {
        for name in self.index.proxies_by_secret.of(key) {
            let shown = self.index.proxies.get(name).and_then(|proxy| proxy.plan.client_certificate.as_ref());
            if shown == Some(key) {
                self.mark_routes(name, work);
                work.named.insert(name.clone());
            }
        }
    }

    fn publish_secret(&self, key: &Key, work: &mut Work) {
        let made = self.index.secrets.get(key).and_then(|secret| secret.body.clone());
        for proxy in self.index.proxies_by_secret.of(key) {
            match &made {
                Some((body, owner)) => work.publish(proxy, Self::encoded(secret_id(key), body, [], [owner.clone()])),
                None => work.retract(proxy, secret_id(key)),
            }
            work.listeners.insert(proxy.clone());
        }
    }

    /// A resource of bytes.
    pub(super) fn encoded(
        id: foregate_envoy::ResourceId,
        body: &Bytes,
        needs: impl Into<std::sync::Arc<[foregate_envoy::ResourceId]>>,
        owners: impl Into<std::sync::Arc<[Owner]>>,
    ) -> Resource {
        Resource { id, version: version_of(body), body: body.clone(), needs: needs.into(), owners: owners.into() }
    }
}

/// Content hash.
fn version_of(content: &[u8]) -> std::sync::Arc<str> {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(content)).into()
}

impl crate::index::Certificate {
    /// Makes the certificate of the best form that there is.
    fn make(&mut self, key: &Key) {
        let mut problem = None;
        for (index, secret) in self.tracked.candidates().enumerate() {
            let made = envoy::secret::build(&key.to_string(), secret).and_then(|message| {
                let body = Bytes::from(message.encode_to_vec());
                // The rule's text names fields only.
                check(TYPE, &body, "data").map_err(|problem: Problem| problem.to_string())?;
                Ok(body)
            });
            match made {
                Ok(body) => {
                    self.body = Some((body, secret_owner(key, secret)));
                    break;
                }
                Err(reason) if index == 0 => problem = Some(reason),
                Err(_) => {}
            }
        }
        self.tracked.problem = problem;
    }
}

/// UID of the user's Secret, which the copy has in an annotation (else the copy's own); and in the place of a
/// generation, which Secrets don't have, a hash of the content, so that a quarantine ends with the next content.
pub(super) fn secret_owner(key: &Key, secret: &Secret) -> Owner {
    let annotation = secret.metadata.annotations.as_ref().and_then(|all| all.get(ORIGIN_ANNOTATION));
    let origin = annotation.and_then(|text| serde_json::from_str::<Origin>(text).ok()).map(|origin| origin.uid);
    let uid = origin.or_else(|| secret.metadata.uid.clone()).unwrap_or_else(|| key.to_string());
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    for (name, data) in secret.data.iter().flatten() {
        hash.update(name.as_bytes());
        hash.update(&data.0);
    }
    Owner { uid: uid.into(), generation: (hash.digest() >> 1).cast_signed() }
}
