//! The node's credential is renewed before it expires, and taken anew when its file changes.
//!
//! The file is what counts: a new credential is in it before it is used. Connections that are open go on; those that are
//! made later show the new certificate.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use foregate_api::GatewayNode;
use foregate_apiserver::auth::ca;
use foregate_xds::tls::Identity;
use http::Request;
use kube::Client;
use kube::client::Body;
use parking_lot::RwLock;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::credential::{Credential, CredentialError};
use crate::certificates;

/// Between two looks at the file, which an administrator may have replaced.
const LOOK: Duration = Duration::from_secs(5);
/// Between two attempts to renew it, at least.
const AGAIN: Duration = Duration::from_secs(300);

/// Keeps the credential of a running node.
pub struct Keeper {
    path: PathBuf,
    credential: Credential,
    identity: Identity,
    client: Arc<RwLock<Client>>,
    /// No attempt before.
    next: Instant,
    /// What keeps the file from being used, as it was said last.
    said: Option<String>,
}

impl Keeper {
    /// `identity` is who the node is towards the xDS port.
    ///
    /// # Errors
    /// When address or certificates make no sense.
    pub async fn new(path: PathBuf, credential: Credential, identity: Identity) -> Result<Self, CredentialError> {
        let client = Arc::new(RwLock::new(credential.client().await?));
        Ok(Self { path, credential, identity, client, next: Instant::now(), said: None })
    }

    /// A client of the platform's API that has the newest credential.
    pub fn client(&self) -> Client {
        let current = self.client.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let client = current.read().clone();
            async move { client.send(request).await }
        });
        Client::new(service, "default")
    }

    /// Keeps it until shutdown.
    pub async fn keep(mut self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            self.reread().await;
            if self.is_due() && Instant::now() >= self.next {
                self.next = Instant::now() + AGAIN;
                if let Err(why) = self.renew().await {
                    tracing::warn!("the node's credential can't be renewed, and is tried again: {why}");
                }
            }
        }
    }

    /// Takes what is in the file.
    async fn reread(&mut self) {
        let found = match Credential::read(&self.path) {
            Ok(found) if found == self.credential => None,
            Ok(found) => Some(self.take(found).await),
            Err(error) => Some(Err(error.to_string())),
        };
        match found {
            None => self.said = None,
            Some(Ok(())) => {
                self.said = None;
                tracing::info!(path = %self.path.display(), "the node has another credential");
            }
            Some(Err(why)) if self.said.as_ref() != Some(&why) => {
                tracing::warn!("the node keeps the credential that it has: {why}");
                self.said = Some(why);
            }
            Some(Err(_)) => {}
        }
    }

    /// Uses a credential from now on.
    async fn take(&mut self, credential: Credential) -> Result<(), String> {
        let of = |it: &Credential| (it.node.clone(), it.api.clone(), it.xds.clone(), it.certificate_authority.clone());
        if of(&credential) != of(&self.credential) {
            return Err("its file is another node's or another platform's: start the node again to use it".to_owned());
        }
        let client = credential.client().await.map_err(|error| error.to_string())?;
        self.identity.set(&credential.certificate, &credential.key).map_err(|error| error.to_string())?;
        *self.client.write() = client;
        self.credential = credential;
        Ok(())
    }

    /// Whether a third of its validity is left, or less.
    fn is_due(&self) -> bool {
        let certificate = CertificateDer::from_pem_slice(self.credential.certificate.as_bytes()).ok();
        let validity = certificate.and_then(|certificate| ca::validity(&certificate));
        validity.is_some_and(|it| jiff::Timestamp::now().as_second() >= it.end - (it.end - it.start) / 3)
    }

    async fn renew(&mut self) -> Result<(), String> {
        let made = certificates::ask::<GatewayNode>(&self.client(), None, &self.credential.node).await;
        let made = made.map_err(|error| crate::cli::api::chain(&error))?;
        let credential = Credential { certificate: made.signed.certificate, key: made.key, ..self.credential.clone() };
        credential.replace(&self.path).map_err(|error| format!("{}: {error}", self.path.display()))?;
        self.take(credential).await?;
        tracing::info!(expires = %made.signed.expiration_timestamp.0, "the node's credential is renewed");
        Ok(())
    }
}
