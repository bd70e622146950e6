//! Certificates: whether a Secret holds a usable pair.

use foregate_api::cluster::of_user;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Whether a text holds certificates that can be trusted, and nothing else that claims to be one.
pub(crate) fn check_roots(text: &str) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.map_err(|_| "isn't PEM".to_owned())?;
        roots.add(certificate).map_err(|_| "has a certificate that can't be read".to_owned())?;
    }
    if roots.is_empty() { Err("holds no PEM certificate".to_owned()) } else { Ok(()) }
}

/// Tenant and cluster that the first certificate of a PEM chain is a credential for, by its common name; none: it is
/// another kind of credential.
pub(crate) fn credential_of(chain: &[u8]) -> Option<(String, String)> {
    let certificate = CertificateDer::pem_slice_iter(chain).next()?.ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).ok()?;
    let user = parsed.subject().iter_common_name().next()?.as_str().ok()?;
    let (tenant, cluster) = of_user(user)?;
    Some((tenant.to_owned(), cluster.to_owned()))
}

/// From when until when the first certificate of a PEM chain is good, in seconds since 1970.
pub(crate) fn validity(chain: &[u8]) -> Option<std::ops::Range<i64>> {
    let certificate = CertificateDer::pem_slice_iter(chain).next()?.ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).ok()?;
    Some(parsed.validity().not_before.timestamp()..parsed.validity().not_after.timestamp())
}

/// Whether a PEM certificate chain can be served with a PEM key. The error says what is wrong; it never holds any of
/// the key.
pub(crate) fn check(chain: &[u8], key: &[u8]) -> Result<(), String> {
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("tls.crt isn't PEM: {error}"))?;
    if certificates.is_empty() {
        return Err("tls.crt holds no PEM certificate".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "tls.key holds no PEM private key".to_owned())?;
    let key = any_supported_type(&key)
        .map_err(|_| "tls.key is of a kind that isn't supported; use RSA of 2048 bits or more, or ECDSA".to_owned())?;
    CertifiedKey::new(certificates, key).keys_match().map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => "the certificate in tls.crt isn't that of the key in tls.key".to_owned(),
        other => format!("the certificate in tls.crt can't be read: {other}"),
    })
}
