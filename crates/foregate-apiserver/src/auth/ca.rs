//! The server's own certificate authority, its certificates and its clients'.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY};
use x509_parser::prelude::FromDer;

use super::Caller;

/// Validity of the authority.
const CA_LIFE: Duration = Duration::from_secs(3650 * 86_400);
/// Validity of a server's certificate.
pub(crate) const SERVER_LIFE: Duration = Duration::from_secs(90 * 86_400);
/// Clocks may differ by this much, and by no more than a twelfth of what is left of a validity.
const SKEW: Duration = Duration::from_secs(3600);
/// Where Kubernetes has a user's UID in a certificate's subject.
const USER_UID: [u64; 8] = [1, 3, 6, 1, 4, 1, 57683, 2];

/// Certificates can't be read or made.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file can't be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} is damaged: {detail}; remove {dir} to get a new certificate authority (clients need new kubeconfigs then)", path = path.display(), dir = path.parent().unwrap_or(path).display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// It isn't what certificates are made for.
    #[error("not a public key on the curve P-256 in PEM (`BEGIN PUBLIC KEY`)")]
    PublicKey,
    /// A certificate can't be made.
    #[error("a certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Credential {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// The certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, in PEM.
    pub certificate: String,
}

impl Authority {
    /// Reads the authority in `dir`, or makes one there; only its owner can read the key.
    ///
    /// # Errors
    /// [`CaError`]
    pub fn open(dir: &Path) -> Result<Self, CaError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| CaError::Io { path, source }
        };
        std::fs::create_dir_all(dir).map_err(io(dir))?;
        let (certificate_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
        if !key_path.exists() || !certificate_path.exists() {
            let key = KeyPair::generate()?;
            let certificate = params(CA_LIFE).self_signed(&key)?;
            write_private(&key_path, &key.serialize_pem()).map_err(io(&key_path))?;
            write_private(&certificate_path, &certificate.pem()).map_err(io(&certificate_path))?;
        }
        let text = std::fs::read_to_string(&key_path).map_err(io(&key_path))?;
        let key =
            KeyPair::from_pem(&text).map_err(|e| CaError::Damaged { path: key_path.clone(), detail: e.to_string() })?;
        let certificate = std::fs::read_to_string(&certificate_path).map_err(io(&certificate_path))?;
        CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|e| CaError::Damaged { path: certificate_path.clone(), detail: e.to_string() })?;
        Ok(Self { issuer: Issuer::new(params(CA_LIFE), key), certificate })
    }

    /// A certificate for a server that is reached by these names and addresses.
    ///
    /// # Errors
    /// [`CaError::Make`]
    pub fn server(&self, names: &[String]) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), CaError> {
        let key = KeyPair::generate()?;
        let mut params = leaf(CertificateParams::new(names.to_vec())?, SERVER_LIFE);
        params.distinguished_name.push(DnType::CommonName, "foregate");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        let der = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Ok((certificate.der().clone(), der))
    }

    /// A certificate for a user in one group.
    ///
    /// # Errors
    /// [`CaError::Make`]
    pub fn client(&self, user: &str, group: &str, life: Duration) -> Result<Credential, CaError> {
        let key = KeyPair::generate()?;
        let certificate = client_params(user, group, None, life).signed_by(&key, &self.issuer)?;
        Ok(Credential { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// A certificate, in PEM, for a user in one group who has a UID and keeps its key for itself.
    ///
    /// # Errors
    /// [`CaError::PublicKey`] unless `public_key` is the PEM of a key on the curve P-256.
    pub fn certify(
        &self,
        public_key: &str,
        (user, group, uid): (&str, &str, &str),
        life: Duration,
    ) -> Result<String, CaError> {
        let key = PublicKey::read(public_key).ok_or(CaError::PublicKey)?;
        Ok(client_params(user, group, Some(uid), life).signed_by(&key, &self.issuer)?.pem())
    }
}

/// A key of the user's own, in PEM: the private one and the public one.
///
/// # Errors
/// [`CaError::Make`]
pub fn key_pair() -> Result<(String, String), CaError> {
    let key = KeyPair::generate()?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

/// A public key on the curve P-256.
struct PublicKey(Vec<u8>);

impl PublicKey {
    fn read(pem: &str) -> Option<Self> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok()?;
        let (rest, info) = x509_parser::x509::SubjectPublicKeyInfo::from_der(&der).ok()?;
        let curve = info.algorithm.parameters.as_ref().and_then(|it| it.as_oid().ok());
        let point = info.subject_public_key.data.to_vec();
        let fits = rest.is_empty()
            && info.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY
            && curve.is_some_and(|curve| curve == OID_EC_P256)
            && point.len() == 65
            && point[0] == 4;
        fits.then_some(Self(point))
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn client_params(user: &str, group: &str, uid: Option<&str>, life: Duration) -> CertificateParams {
    let mut params = leaf(CertificateParams::default(), life);
    params.distinguished_name.push(DnType::CommonName, user);
    params.distinguished_name.push(DnType::OrganizationName, group);
    if let Some(uid) = uid {
        params.distinguished_name.push(DnType::CustomDnType(USER_UID.to_vec()), uid);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn params(life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "foregate-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    valid(&mut params, life);
    params
}

fn leaf(mut params: CertificateParams, life: Duration) -> CertificateParams {
    params.distinguished_name = DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, life);
    params
}

fn valid(params: &mut CertificateParams, life: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - SKEW.min(life / 12)).into();
    params.not_after = (now + life).into();
}

/// The names under which this machine's server is reached, besides `more`.
pub fn names(more: &[IpAddr]) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    names.extend(more.iter().filter(|ip| !ip.is_unspecified()).map(IpAddr::to_string));
    names.extend(std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|h| h.trim().to_owned()));
    names.retain(|n| !n.is_empty());
    names.sort();
    names.dedup();
    names
}

/// Whom a verified client certificate names.
pub fn subject(certificate: &CertificateDer<'_>) -> Option<Caller> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = parsed.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|o| o.as_str().ok().map(str::to_owned)).collect();
    let uid = x509_parser::der_parser::oid::Oid::from(&USER_UID).ok()?;
    let mut uids = subject.iter_by_oid(&uid);
    let uid = match (uids.next(), uids.next()) {
        (Some(uid), None) => uid.as_str().ok()?.to_owned(),
        (None, _) => String::new(),
        // Nobody has two.
        (Some(_), Some(_)) => return None,
    };
    Some(Caller { uid, ..Caller::new(user, groups) })
}

/// From when until when a certificate is good, in seconds since 1970.
pub fn validity(certificate: &CertificateDer<'_>) -> Option<std::ops::Range<i64>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(parsed.validity().not_before.timestamp()..parsed.validity().not_after.timestamp())
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let part = path.with_extension("part");
    let mut options = std::fs::OpenOptions::new();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_authority_is_found_again_and_names_its_clients() {
        let dir = tempfile::tempdir().unwrap();
        let first = Authority::open(dir.path()).unwrap();
        let again = Authority::open(dir.path()).unwrap();
        assert_eq!(first.certificate, again.certificate);
        let credential = again.client("ann", "ops", Duration::from_secs(60)).unwrap();
        let der = CertificateDer::from_pem_slice(credential.certificate.as_bytes()).unwrap();
        assert_eq!(subject(&der), Some(Caller::new("ann", vec!["ops".into()])));
        let (_, public) = key_pair().unwrap();
        let certificate = again.certify(&public, ("bob", "ops", "u-1/2"), Duration::from_secs(60)).unwrap();
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        assert_eq!(subject(&der), Some(Caller { uid: "u-1/2".into(), ..Caller::new("bob", vec!["ops".into()]) }));
        let other = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().public_key_pem();
        for bad in ["", "x", &public[..100], &credential.key, &credential.certificate, &other] {
            let error = again.certify(bad, ("bob", "ops", ""), Duration::from_secs(60));
            assert!(matches!(error, Err(CaError::PublicKey)), "{bad}");
        }
        std::fs::write(dir.path().join("ca.key"), "no key").unwrap();
        assert!(matches!(Authority::open(dir.path()), Err(CaError::Damaged { .. })));
    }
}
