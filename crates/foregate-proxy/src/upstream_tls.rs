//! TLS to endpoints: whom to trust, who they have to be, who we are.
//!
//! Nothing is shared between handshakes but sessions, and those only as long as trust and our own certificate are the
//! same: a replaced secret begins with none, so that no resumed session gets around it.

use std::fmt::{self, Debug};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::routing::matchers::TextMatcher;
use crate::tls::SecretCell;

/// Where systems keep the certificates that they trust.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A name in a certificate, and what it has to be.
#[derive(Debug)]
pub(crate) enum SanMatcher {
    /// This host name, or a wildcard for it.
    ExactDns(ServerName<'static>),
    /// A host name.
    Dns(TextMatcher),
    /// A URI.
    Uri(TextMatcher),
    /// An e-mail address.
    Email(TextMatcher),
    /// An IP address, as text.
    Ip(TextMatcher),
}

/// Whom to trust.
#[derive(Debug, Default)]
pub(crate) struct Validation {
    /// Who signs certificates that are trusted.
    pub(crate) roots: Option<Arc<RootCertStore>>,
    /// One of these names must be in the certificate; empty: no name is asked for.
    pub(crate) names: Vec<SanMatcher>,
    /// Anybody is trusted.
    pub(crate) accept_untrusted: bool,
}

/// What a worker has to know of a cluster's TLS.
pub(crate) struct UpstreamTls {
    /// The name that is asked for.
    pub(crate) sni: Option<Box<str>>,
    /// The name that is asked for is the endpoint's, if it has one.
    pub(crate) sni_of_endpoint: bool,
    /// The certificate must have the name that is asked for.
    pub(crate) name_must_fit: bool,
    /// TLS versions.
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    /// Our own certificate.
    pub(crate) certificate: Option<Arc<SecretCell>>,
    /// Whom to trust: in the cluster.
    pub(crate) validation: Option<Arc<Validation>>,
    /// Whom to trust: in a secret; together with the other, both count.
    pub(crate) validation_secret: Option<Arc<SecretCell>>,
    /// Sessions that are remembered; 0 for none.
    pub(crate) sessions: usize,
    /// The crypto library.
    pub(crate) provider: Arc<CryptoProvider>,
    /// What was made last, by what is offered.
    pub(crate) made: [ArcSwapOption<Configured>; 4],
}

impl Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls").field("sni", &self.sni).finish_non_exhaustive()
    }
}

/// Protocols that are offered in a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// HTTP/1.1 only.
    Http1 = 0,
    /// HTTP/2 only.
    Http2 = 1,
    /// Both.
    Both = 2,
    /// None: what is spoken is the client's and the endpoint's affair.
    Nothing = 3,
}

impl Offer {
    fn protocols(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[b"h2"],
            Self::Both => &[b"h2", b"http/1.1"],
            Self::Nothing => &[],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

/// Secrets at one time.
#[derive(Clone, Default)]
struct Inputs {
    certificate: Option<Arc<CertifiedKey>>,
    validation: Option<Arc<Validation>>,
}

impl Inputs {
    fn same(&self, other: &Self) -> bool {
        fn same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
            one.map(Arc::as_ptr) == other.map(Arc::as_ptr)
        }
        same(self.certificate.as_ref(), other.certificate.as_ref())
            && same(self.validation.as_ref(), other.validation.as_ref())
    }
}

/// rustls' form of the settings, and the secrets that it was made of.
pub(crate) struct Configured {
    inputs: Inputs,
    config: Arc<ClientConfig>,
}

/// Why there can be no handshake.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error("the secret with the own certificate hasn't come")]
    NoCertificate,
    #[error("the secret with the trusted CA hasn't come")]
    NoValidation,
    #[error("no CA is trusted")]
    NoRoots,
    #[error("{0}")]
    Tls(#[from] rustls::Error),
}

impl UpstreamTls {
    /// The name to ask an endpoint for.
    pub(crate) fn name_for(&self, endpoint: &str) -> Option<ServerName<'static>> {
        let own = Some(endpoint).filter(|name| self.sni_of_endpoint && !name.is_empty());
        let name = own.or(self.sni.as_deref())?;
        ServerName::try_from(name.to_owned()).ok()
    }

    /// Settings for a handshake now; `named` says whether there is a name to ask for.
    pub(crate) fn config(&self, offer: Offer, named: bool) -> Result<Arc<ClientConfig>, SetupError> {
        let inputs = Inputs {
            certificate: self.certificate.as_ref().and_then(|cell| cell.key()),
            validation: self.validation_secret.as_ref().and_then(|cell| cell.validation()),
        };
        let slot = &self.made[offer as usize];
        if let Some(made) = &*slot.load()
            && made.inputs.same(&inputs)
            && made.config.enable_sni == named
        {
            return Ok(Arc::clone(&made.config));
        }
        let config = Arc::new(self.make(offer, named, &inputs)?);
        slot.store(Some(Arc::new(Configured { inputs, config: Arc::clone(&config) })));
        Ok(config)
    }

    fn make(&self, offer: Offer, named: bool, inputs: &Inputs) -> Result<ClientConfig, SetupError> {
        if self.certificate.is_some() && inputs.certificate.is_none() {
            return Err(SetupError::NoCertificate);
        }
        if self.validation_secret.is_some() && inputs.validation.is_none() {
            return Err(SetupError::NoValidation);
        }
        let parts: Vec<Arc<Validation>> =
            [&inputs.validation, &self.validation].into_iter().flatten().cloned().collect();
        let untrusted = parts.iter().any(|part| part.accept_untrusted);
        let roots = parts.iter().find_map(|part| part.roots.clone());
        if !untrusted && roots.as_ref().is_none_or(|roots| roots.is_empty()) {
            return Err(SetupError::NoRoots);
        }
        let asked = parts.iter().any(|part| !part.names.is_empty());
        // Envoy asks for no name then; whoever has any certificate of the CA could stand in for the endpoint.
        let name_must_fit = self.name_must_fit || (named && !asked && !untrusted);
        let provider = Arc::clone(&self.provider);
        let verifier = Verifier { roots: roots.filter(|_| !untrusted), parts, name_must_fit, provider };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&self.versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &inputs.certificate {
            Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(key)))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = offer.protocols();
        config.enable_sni = named;
        config.resumption =
            if self.sessions == 0 { Resumption::disabled() } else { Resumption::in_memory_sessions(self.sessions) };
        Ok(config)
    }
}

/// Checks what endpoints show.
struct Verifier {
    /// `None`: anybody is trusted.
    roots: Option<Arc<RootCertStore>>,
    parts: Vec<Arc<Validation>>,
    name_must_fit: bool,
    provider: Arc<CryptoProvider>,
}

impl Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if let Some(roots) = &self.roots {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        }
        if self.name_must_fit {
            verify_server_name(&certificate, server_name)?;
        }
        check_names(end_entity, &certificate, &self.parts)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Checks that a certificate has one of the names that are asked for, if any are.
pub(crate) fn check_names(
    end_entity: &CertificateDer<'_>,
    certificate: &ParsedCertificate<'_>,
    parts: &[Arc<Validation>],
) -> Result<(), rustls::Error> {
    let mut wanted = parts.iter().flat_map(|part| &part.names).peekable();
    if wanted.peek().is_none() {
        return Ok(());
    }
    let shown = names_in(end_entity);
    if wanted.any(|matcher| fits(matcher, certificate, &shown)) {
        return Ok(());
    }
    Err(CertificateError::Other(OtherError(Arc::new(WrongName))).into())
}

#[derive(Debug, thiserror::Error)]
#[error("the certificate has none of the names that match_typed_subject_alt_names asks for")]
struct WrongName;

/// A name in a certificate.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    Dns(String),
    Uri(String),
    Email(String),
    Ip(IpAddr),
}

fn names_in(certificate: &CertificateDer<'_>) -> Vec<Shown> {
    use x509_parser::extensions::GeneralName;
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return Vec::new() };
    let Ok(Some(names)) = parsed.subject_alternative_name() else { return Vec::new() };
    let shown = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(Shown::Dns(name.to_ascii_lowercase())),
        GeneralName::URI(uri) => Some(Shown::Uri((*uri).to_owned())),
        GeneralName::RFC822Name(email) => Some(Shown::Email((*email).to_owned())),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| Shown::Ip(bytes.into())),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| Shown::Ip(bytes.into())),
        },
        _ => None,
    });
    shown.collect()
}

fn fits(matcher: &SanMatcher, certificate: &ParsedCertificate<'_>, shown: &[Shown]) -> bool {
    match matcher {
        SanMatcher::ExactDns(name) => verify_server_name(certificate, name).is_ok(),
        SanMatcher::Dns(text) => shown.iter().any(|name| matches!(name, Shown::Dns(name) if text.matches(name))),
        SanMatcher::Uri(text) => shown.iter().any(|name| matches!(name, Shown::Uri(name) if text.matches(name))),
        SanMatcher::Email(text) => shown.iter().any(|name| matches!(name, Shown::Email(name) if text.matches(name))),
        SanMatcher::Ip(text) => shown.iter().any(|name| matches!(name, Shown::Ip(ip) if text.matches(&ip.to_string()))),
    }
}

/// Trusted certificates from PEM text.
pub(crate) fn roots_of(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| "not valid PEM".to_owned())?;
        roots.add(certificate).map_err(|error| format!("holds a certificate that can't be trusted: {error}"))?;
    }
    if roots.is_empty() {
        return Err("holds no PEM certificate".to_owned());
    }
    Ok(roots)
}

/// What this system trusts, read when it is first asked for and again when the file has changed.
#[derive(Default)]
pub(crate) struct SystemRoots {
    read: Mutex<Option<RootsFile>>,
}

/// A file, as it was when it was read.
struct RootsFile {
    path: String,
    changed: Option<SystemTime>,
    roots: Arc<RootCertStore>,
}

impl SystemRoots {
    /// Whether a path is one where systems keep them.
    pub(crate) fn is_usual(path: &str) -> bool {
        SYSTEM_ROOTS.contains(&path)
    }

    /// The certificates, of the first file that there is.
    pub(crate) fn load(&self) -> Result<Arc<RootCertStore>, String> {
        let path = SYSTEM_ROOTS.into_iter().find(|path| Path::new(path).exists());
        self.load_from(path.ok_or("this system has no file of trusted certificates")?)
    }

    /// The certificates of one file. Those that can't be read are left out, as everywhere.
    pub(crate) fn load_from(&self, path: &str) -> Result<Arc<RootCertStore>, String> {
        let changed = std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        let mut read = self.read.lock();
        if let Some(known) = &*read
            && known.path == path
            && known.changed == changed
        {
            return Ok(Arc::clone(&known.roots));
        }
        let pem = std::fs::read(path).map_err(|error| format!("{path} can't be read: {error}"))?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
        if roots.is_empty() {
            return Err(format!("{path} holds no certificate"));
        }
        let roots = Arc::new(roots);
        *read = Some(RootsFile { path: path.to_owned(), changed, roots: Arc::clone(&roots) });
        Ok(roots)
    }
}
