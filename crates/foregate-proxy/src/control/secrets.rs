//! Certificates. A replaced one counts for handshakes from then on; nothing else changes.

use std::collections::HashMap;
use std::sync::Arc;

use foregate_xds::client::Response;

use super::store::{Refusals, Store};
use crate::config::refusal::decode;
use crate::config::tls::secret;
use crate::tls::{SecretCell, Secrets, TlsShared};

/// Secrets that have come.
pub(super) struct SecretStore {
    pub(super) cells: Secrets,
    pub(super) tls: TlsShared,
    present: HashMap<String, Arc<SecretCell>>,
}

impl SecretStore {
    pub(super) fn new() -> Result<Self, rustls::Error> {
        Ok(Self { cells: Secrets::default(), tls: TlsShared::new()?, present: HashMap::new() })
    }
}

impl Store {
    pub(super) fn apply_secrets(&mut self, response: &Response, refusals: &mut Refusals) {
        for resource in &response.set {
            match decode(&resource.body).and_then(|message| secret(message, &self.secrets.tls)) {
                Ok(key) => {
                    let cell = self.secrets.cells.cell(&resource.name);
                    cell.set(Some(key));
                    self.secrets.present.insert(resource.name.clone(), cell);
                }
                Err(refusal) => refusals.add(&resource.name, &refusal),
            }
        }
        for name in &response.removed {
            if let Some(cell) = self.secrets.present.remove(name) {
                cell.set(None);
            }
        }
    }
}
