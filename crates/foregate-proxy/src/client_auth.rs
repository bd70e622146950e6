//! Certificates of clients: whom to trust, and whether a client must show one.

use std::fmt::{self, Debug};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::tls::SecretCell;
use crate::upstream_tls::{Validation, check_names};

/// Whose certificates are accepted.
pub(crate) struct ClientTrust {
    /// In the listener.
    pub(crate) validation: Option<Arc<Validation>>,
    /// In a secret; together with the other, both count.
    pub(crate) secret: Option<Arc<SecretCell>>,
    /// Who shows none is turned away.
    pub(crate) required: bool,
    /// The crypto library.
    pub(crate) provider: Arc<CryptoProvider>,
    /// What was made last, of which roots.
    pub(crate) made: ArcSwapOption<Made>,
}

/// A verifier of certificate chains, and the roots that it was made of.
pub(crate) struct Made {
    roots: Arc<RootCertStore>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ClientTrust {
    /// Whether it is known whom to trust.
    pub(crate) fn is_ready(&self) -> bool {
        self.secret.as_ref().is_none_or(|cell| cell.validation().is_some())
    }

    /// What counts now; a secret that isn't there trusts nobody.
    fn parts(&self) -> Result<Vec<Arc<Validation>>, rustls::Error> {
        let mut parts: Vec<_> = self.validation.iter().cloned().collect();
        if let Some(cell) = &self.secret {
            parts.push(cell.validation().ok_or(CertificateError::UnknownIssuer)?);
        }
        Ok(parts)
    }

    fn verifier(&self, roots: Arc<RootCertStore>) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
        if let Some(made) = &*self.made.load()
            && Arc::ptr_eq(&made.roots, &roots)
        {
            return Ok(Arc::clone(&made.verifier));
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        self.made.store(Some(Arc::new(Made { roots, verifier: Arc::clone(&verifier) })));
        Ok(verifier)
    }
}

impl Debug for ClientTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTrust").field("required", &self.required).finish_non_exhaustive()
    }
}

impl ClientCertVerifier for ClientTrust {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    /// None: whom we trust may change with a secret.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let parts = self.parts()?;
        if !parts.iter().any(|part| part.accept_untrusted) {
            let roots = parts.iter().find_map(|part| part.roots.clone()).ok_or(CertificateError::UnknownIssuer)?;
            self.verifier(roots)?.verify_client_cert(end_entity, intermediates, now)?;
        }
        check_names(end_entity, &ParsedCertificate::try_from(end_entity)?, &parts)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
