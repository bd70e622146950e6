//! Whom to trust at a backend: `validation` of BackendTLSPolicies and of XBackends.

use foregate_api::backend::{CertificateName, UpstreamTls};
use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{BackendTlsPolicyValidation, SubjectAltName};

use super::CaSource;
use crate::problem::{Problem, join};
use crate::world::World;

/// What it trusts.
pub(super) fn named(validation: &BackendTlsPolicyValidation, namespace: &str) -> Vec<CaSource> {
    validation.ca_certificate_refs.iter().filter_map(|r| CaSource::of(r, namespace)).collect()
}

/// What it comes to, and what is wrong with its references; `path` is where it is written.
pub(super) fn read(
    validation: &BackendTlsPolicyValidation,
    world: &World,
    namespace: &str,
    path: &str,
) -> (Result<UpstreamTls, Problem>, Result<(), Problem>) {
    let (ca_certificates, problems) = certificates(validation, world, namespace, path);
    (tls(validation, ca_certificates, path), join(problems))
}

/// Those that can be read, and what is wrong with the others.
fn certificates(
    validation: &BackendTlsPolicyValidation,
    world: &World,
    namespace: &str,
    path: &str,
) -> (String, Vec<Problem>) {
    let (mut text, mut problems) = (String::new(), Vec::new());
    for (i, reference) in validation.ca_certificate_refs.iter().enumerate() {
        let path = format!("{path}.caCertificateRefs[{i}]");
        let Some(source) = CaSource::of(reference, namespace) else {
            let message = format!("{path}: {:?} isn't a ConfigMap, a Secret or a ClusterTrustBundle", reference.kind);
            problems.push(Problem::new(reason::INVALID_KIND, message));
            continue;
        };
        match source.read(world) {
            Ok(certificates) => {
                text.push_str(certificates.trim_end());
                text.push('\n');
            }
            Err(why) => problems.push(Problem::new(reason::INVALID_CA_CERTIFICATE_REF, format!("{path}: {why}"))),
        }
    }
    (text, problems)
}

fn tls(validation: &BackendTlsPolicyValidation, ca_certificates: String, path: &str) -> Result<UpstreamTls, Problem> {
    let system = match validation.well_known_ca_certificates.as_deref() {
        None | Some("") => false,
        Some("System") => true,
        Some(other) => {
            let message = format!("{path}.wellKnownCACertificates: {other:?} isn't System");
            return Err(Problem::new(reason::INVALID, message));
        }
    };
    if !system && ca_certificates.is_empty() {
        let message = format!("{path}: none of caCertificateRefs can be used; see ResolvedRefs");
        return Err(Problem::new(reason::NO_VALID_CA_CERTIFICATE, message));
    }
    let names = validation.subject_alt_names.iter().enumerate();
    Ok(UpstreamTls {
        sni: Some(validation.hostname.to_ascii_lowercase()),
        ca_certificates: (!system).then_some(ca_certificates),
        system_certificates: system,
        insecure_skip_verify: false,
        subject_alt_names: names.map(|(i, name)| certificate_name(name, i, path)).collect::<Result<_, _>>()?,
        alpn: Vec::new(),
    })
}

fn certificate_name(given: &SubjectAltName, i: usize, path: &str) -> Result<CertificateName, Problem> {
    match (given.kind.as_str(), &given.hostname, &given.uri) {
        ("Hostname", Some(name), _) => Ok(CertificateName::Dns(name.to_ascii_lowercase())),
        ("URI", _, Some(uri)) => Ok(CertificateName::Uri(uri.clone())),
        (kind, ..) => {
            let message = format!("{path}.subjectAltNames[{i}]: {kind:?} has no value, or isn't known");
            Err(Problem::new(reason::INVALID, message))
        }
    }
}
