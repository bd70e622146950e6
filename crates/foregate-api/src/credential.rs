//! Client certificates of workload clusters and gateway nodes: what is asked of the subresource `certificate` of a
//! WorkloadCluster or GatewayNode, and what is answered. As with a ServiceAccount's `token`, nothing is stored.
//!
//! Who owns a key posts the public one; the private one is never sent. A certificate names its object's UID and the
//! generation of credentials ([`uid`]), so it is good for that object and for no later one of the same name.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

/// Name of the subresource. Who may `create` it is given certificates.
pub const SUBRESOURCE: &str = "certificate";
/// How long a certificate is good, in seconds, unless its object says otherwise: 90 days.
pub const SECONDS: u32 = 90 * 86_400;
/// The shortest and longest validity that an object may ask for, in seconds: an hour, and ten years.
pub const RANGE: std::ops::RangeInclusive<u32> = 3_600..=315_360_000;
/// Reason of a 401 whose credential was revoked: its object is there and wants a newer one.
pub const REVOKED: &str = "CredentialRevoked";
/// Reason of a 401 whose credential was made for an object that is no more.
pub const REMOVED: &str = "OwnerRemoved";

/// A request for a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateRequest {
    /// `foregate.dev/v1alpha1`.
    pub api_version: String,
    /// `CertificateRequest`.
    pub kind: String,
    /// What is asked.
    pub spec: CertificateRequestSpec,
    /// What is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<CertificateRequestStatus>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateRequestSpec {
    /// A public key on the curve P-256, PEM.
    pub public_key: String,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateRequestStatus {
    /// The client certificate, PEM.
    pub certificate: String,
    /// The certificate that the platform's own is verified by, PEM.
    pub certificate_authority: String,
    /// Until when the certificate is good.
    pub expiration_timestamp: Time,
}

impl CertificateRequest {
    /// A request for a public key.
    pub fn new(public_key: String) -> Self {
        Self {
            api_version: format!("{}/{}", crate::GROUP, crate::VERSION),
            kind: "CertificateRequest".to_owned(),
            spec: CertificateRequestSpec { public_key },
            status: None,
        }
    }
}

/// The user's UID in a credential of a generation.
pub fn uid(object: &str, generation: i64) -> String {
    format!("{object}/{generation}")
}

/// The object's UID and the credential's generation in a user's UID.
pub fn of_uid(text: &str) -> Option<(&str, i64)> {
    let (uid, generation) = text.split_once('/')?;
    Some((uid, generation.parse().ok()?))
}

/// How long a certificate is good, in seconds, for an object that asks for `wanted`.
pub fn seconds(wanted: Option<u32>) -> u32 {
    wanted.map_or(SECONDS, |wanted| wanted.clamp(*RANGE.start(), *RANGE.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_names_object_and_generation() {
        assert_eq!(of_uid(&uid("u-1", 3)), Some(("u-1", 3)));
        for other in ["u-1", "u-1/", "u-1/x", ""] {
            assert_eq!(of_uid(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_stored_out_of_range_is_brought_into_it() {
        for (wanted, expected) in
            [(None, SECONDS), (Some(1), 3_600), (Some(7_200), 7_200), (Some(u32::MAX), 315_360_000)]
        {
            assert_eq!(seconds(wanted), expected, "{wanted:?}");
        }
    }
}
