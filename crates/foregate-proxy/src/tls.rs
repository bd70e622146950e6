//! TLS as the workers run it: certificates that can be replaced under a listener, and rustls' configurations.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;
use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, ServerConfig, StoresServerSessions,
};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::client_auth::ClientTrust;
use crate::upstream_tls::Validation;

/// What all of an instance's listeners share, so that sessions survive their changes.
pub(crate) struct TlsShared {
    provider: Arc<CryptoProvider>,
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

/// What is wrong with a certificate or key. Never says anything about the key itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("certificate_chain: holds no PEM certificate")]
    NoCertificate,
    #[error("certificate_chain: not valid PEM")]
    BadPem,
    #[error("private_key: holds no PEM private key")]
    NoKey,
    #[error("private_key: not a usable private key")]
    BadKey,
    #[error("the private key doesn't belong to the certificate")]
    Mismatch,
    #[error("{0}")]
    Tls(#[from] rustls::Error),
}

impl TlsShared {
    /// Fresh keys for session tickets.
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        Ok(Self {
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            tickets: rustls::crypto::aws_lc_rs::Ticketer::new()?,
            sessions: rustls::server::ServerSessionMemoryCache::new(4096),
        })
    }

    /// The crypto library.
    pub(crate) fn provider(&self) -> Arc<CryptoProvider> {
        Arc::clone(&self.provider)
    }

    /// Settings of one filter chain.
    pub(crate) fn chain(
        &self,
        versions: Vec<&'static SupportedProtocolVersion>,
        alpn: Vec<Vec<u8>>,
        certificates: Vec<Arc<SecretCell>>,
        trust: Option<ClientTrust>,
    ) -> Result<TlsChain, rustls::Error> {
        let certificates: Arc<[Arc<SecretCell>]> = certificates.into();
        let trust = trust.map(Arc::new);
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&self.provider)).with_protocol_versions(&versions)?;
        let builder = match &trust {
            Some(trust) => builder.with_client_cert_verifier(Arc::clone(trust) as Arc<dyn ClientCertVerifier>),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Resolver(Arc::clone(&certificates))));
        config.alpn_protocols = alpn;
        if trust.is_some() {
            // A session from a chain that asks for no certificate, or from before a CA was replaced, would be a way
            // around it.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        } else {
            config.ticketer = Arc::clone(&self.tickets);
            config.session_storage = Arc::clone(&self.sessions);
        }
        Ok(TlsChain { config: Arc::new(config), certificates, trust })
    }
}

/// TLS settings of one filter chain.
pub(crate) struct TlsChain {
    /// rustls' form.
    pub(crate) config: Arc<ServerConfig>,
    certificates: Arc<[Arc<SecretCell>]>,
    trust: Option<Arc<ClientTrust>>,
}

impl TlsChain {
    /// Whether all of its certificates are there, and whom to trust.
    pub(crate) fn is_ready(&self) -> bool {
        self.certificates.iter().all(|cell| cell.key.load().is_some())
            && self.trust.as_ref().is_none_or(|trust| trust.is_ready())
    }
}

/// Where a secret's certificate is put; replacing it changes handshakes from then on.
pub(crate) struct SecretCell {
    key: ArcSwapOption<CertifiedKey>,
    validation: ArcSwapOption<Validation>,
}

impl SecretCell {
    /// Puts a certificate in, or takes it out.
    pub(crate) fn set(&self, key: Option<Arc<CertifiedKey>>) {
        self.key.store(key);
    }

    /// Puts in whom to trust, or takes it out.
    pub(crate) fn set_validation(&self, validation: Option<Arc<Validation>>) {
        self.validation.store(validation);
    }

    /// The certificate.
    pub(crate) fn key(&self) -> Option<Arc<CertifiedKey>> {
        self.key.load_full()
    }

    /// Whom to trust.
    pub(crate) fn validation(&self) -> Option<Arc<Validation>> {
        self.validation.load_full()
    }
}

/// Secrets by name.
#[derive(Default)]
pub(crate) struct Secrets {
    cells: HashMap<String, Weak<SecretCell>>,
}

impl Secrets {
    /// The place of a secret.
    pub(crate) fn cell(&mut self, name: &str) -> Arc<SecretCell> {
        if let Some(cell) = self.cells.get(name).and_then(Weak::upgrade) {
            return cell;
        }
        self.cells.retain(|_, cell| cell.strong_count() > 0);
        let cell = Arc::new(SecretCell { key: ArcSwapOption::empty(), validation: ArcSwapOption::empty() });
        self.cells.insert(name.to_owned(), Arc::downgrade(&cell));
        cell
    }

    /// A certificate without a name.
    pub(crate) fn inline(key: Arc<CertifiedKey>) -> Arc<SecretCell> {
        Arc::new(SecretCell { key: ArcSwapOption::new(Some(key)), validation: ArcSwapOption::empty() })
    }
}

/// Chooses the first certificate that the client can check.
struct Resolver(Arc<[Arc<SecretCell>]>);

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resolver of {} certificates", self.0.len())
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut keys = self.0.iter().filter_map(|cell| cell.key.load_full());
        keys.find(|key| key.key.choose_scheme(hello.signature_schemes()).is_some())
    }
}

/// A certificate with its key from PEM texts.
pub(crate) fn certified_key(chain: &[u8], key: &[u8], shared: &TlsShared) -> Result<CertifiedKey, CertificateError> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(|_| CertificateError::BadPem)?;
    if chain.is_empty() {
        return Err(CertificateError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::NoKey)?;
    let key = shared.provider.key_provider.load_private_key(key).map_err(|_| CertificateError::BadKey)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => Err(CertificateError::Mismatch),
        Err(other) => Err(other.into()),
    }
}
