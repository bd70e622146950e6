//! Certificates, and whom to trust. A replaced one counts for handshakes from then on; nothing else changes.

use std::collections::HashMap;
use std::sync::Arc;

use foregate_envoy::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use foregate_xds::client::Response;
use rustls::sign::CertifiedKey;

use super::store::{Refusals, Store};
use crate::config::refusal::{At, Refusal, decode, nothing_left};
use crate::config::{tls, upstream_tls};
use crate::tls::{SecretCell, Secrets, TlsShared};
use crate::upstream_tls::{SystemRoots, Validation};

/// Secrets that have come.
pub(super) struct SecretStore {
    pub(super) cells: Secrets,
    pub(super) tls: TlsShared,
    pub(super) roots: SystemRoots,
    present: HashMap<String, Arc<SecretCell>>,
}

/// What a secret may hold.
enum Held {
    Certificate(Arc<CertifiedKey>),
    Trust(Validation),
}

impl SecretStore {
    pub(super) fn new() -> Result<Self, rustls::Error> {
        Ok(Self {
            cells: Secrets::default(),
            tls: TlsShared::new()?,
            roots: SystemRoots::default(),
            present: HashMap::new(),
        })
    }

    fn compile(&self, body: &[u8]) -> Result<Held, Refusal> {
        let mut message: pb::Secret = decode(body)?;
        match message.r#type.take() {
            Some(pb::secret::Type::ValidationContext(context)) => {
                message.name.clear();
                nothing_left(&message)?;
                upstream_tls::validation(context, &self.roots).at("validation_context").map(Held::Trust)
            }
            other => {
                message.r#type = other;
                tls::secret(message, &self.tls).map(Held::Certificate)
            }
        }
    }
}

impl Store {
    pub(super) fn apply_secrets(&mut self, response: &Response, refusals: &mut Refusals) {
        for resource in &response.set {
            let held = match self.secrets.compile(&resource.body) {
                Ok(held) => held,
                Err(refusal) => {
                    refusals.add(&resource.name, &refusal);
                    continue;
                }
            };
            let cell = self.secrets.cells.cell(&resource.name);
            let (key, validation) = match held {
                Held::Certificate(key) => (Some(key), None),
                Held::Trust(validation) => (None, Some(Arc::new(validation))),
            };
            cell.set(key);
            cell.set_validation(validation);
            self.secrets.present.insert(resource.name.clone(), cell);
        }
        for name in &response.removed {
            if let Some(cell) = self.secrets.present.remove(name) {
                cell.set(None);
                cell.set_validation(None);
            }
        }
    }
}
