//! The credential by which a platform knows this cluster is renewed before it expires: a key is made here, the platform
//! signs it, and both go into the Secret that the old ones were in. Its watch then tells of them as of any change.
//!
//! What can't be written is told, and tried again; until it expires the old credential is good.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use foregate_api::WorkloadCluster;
use foregate_api::class_parameters::CREDENTIAL_KEYS;
use foregate_api::credential::{CertificateRequest, SUBRESOURCE};
use foregate_attach::Connection;
use http::Request;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource};
use serde_json::json;
use tokio::time::Instant;

use crate::voice::Failure;
use crate::write::MANAGER;

/// Between two attempts, at least.
const AGAIN: Duration = Duration::from_secs(300);
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Renews the credential of one target.
pub struct Renewal {
    /// Where the Secret is.
    workload: Client,
    /// What was made and isn't written yet, and the certificate that it is to replace.
    made: Option<(Vec<u8>, Credential)>,
    /// No attempt before.
    next: Option<Instant>,
    /// What the last attempt has failed with.
    stale: Option<String>,
}

/// A certificate and its key, both PEM.
struct Credential {
    certificate: String,
    key: String,
}

impl Renewal {
    /// One that writes to a workload cluster's Secrets.
    pub fn new(workload: Client) -> Self {
        Self { workload, made: None, next: None, stale: None }
    }

    /// Renews if it is time. Returns why it isn't done though it is time.
    pub async fn keep(&mut self, platform: &Client, to: &Connection) -> Option<String> {
        let now = jiff::Timestamp::now();
        let Some(validity) = to.validity().filter(|validity| is_due(validity, now.as_second())) else {
            (self.made, self.stale) = (None, None);
            return None;
        };
        if self.next.is_some_and(|next| Instant::now() < next) {
            return self.stale.clone();
        }
        self.next = Some(Instant::now() + AGAIN);
        self.stale = self.renew(platform, to).await.err().map(|why| {
            let expires = jiff::Timestamp::from_second(validity.end).unwrap_or(now);
            format!("its credential expires at {expires}, and can't be renewed: {why}")
        });
        self.stale.clone()
    }

    async fn renew(&mut self, platform: &Client, to: &Connection) -> Result<(), String> {
        let made = match self.made.take().filter(|(replaced, _)| *replaced == to.certificate) {
            Some((_, made)) => made,
            None => within(ask(platform, to)).await.map_err(|why| format!("the platform makes none: {why}"))?,
        };
        if let Err(why) = within(self.write(to, &made)).await {
            self.made = Some((to.certificate.clone(), made));
            let secret = &to.secret;
            return Err(format!(
                "Secret {secret} can't be written: {why}. `foregate controller install --credential {}` gives the right \
                 to; or `foregate cluster renew` on the platform's side prints another",
                secret.name
            ));
        }
        tracing::info!(secret = %to.secret, url = to.url, "the credential is renewed");
        Ok(())
    }

    /// Replaces what is in the Secret, unless somebody else has done so.
    async fn write(&self, to: &Connection, made: &Credential) -> Result<(), Failure> {
        let [certificate, key] = CREDENTIAL_KEYS;
        let patch = json!({
            "metadata": { "resourceVersion": to.secret_version },
            "data": { certificate: STANDARD.encode(&made.certificate), key: STANDARD.encode(&made.key) },
        });
        let api = Api::<Secret>::namespaced(self.workload.clone(), &to.secret.namespace);
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let written = api.patch_metadata(&to.secret.name, &params, &Patch::Merge(patch)).await;
        written.map(drop).map_err(|error| Failure::from(&error))
    }
}

async fn within<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(Failure::late()))
}

/// Whether a third of a validity is left, or less.
fn is_due(validity: &std::ops::Range<i64>, now: i64) -> bool {
    now >= validity.end - (validity.end - validity.start) / 3
}

/// Makes a key, and has the platform certify it.
async fn ask(platform: &Client, to: &Connection) -> Result<Credential, Failure> {
    let key = rcgen::KeyPair::generate().map_err(|error| Failure::own(&error))?;
    let wish = CertificateRequest::new(key.public_key_pem());
    let body = serde_json::to_vec(&wish).map_err(|error| Failure::own(&error))?;
    let path = format!("{}/{}/{SUBRESOURCE}", WorkloadCluster::url_path(&(), Some(&to.namespace)), to.cluster);
    let request = Request::post(path).header("content-type", "application/json").body(body);
    let request = request.map_err(|error| Failure::own(&error))?;
    let answer: CertificateRequest = platform.request(request).await.map_err(|error| Failure::from(&error))?;
    let signed = answer.status.ok_or_else(|| Failure::own(&std::io::Error::other("its answer has no certificate")))?;
    Ok(Credential { certificate: signed.certificate, key: key.serialize_pem() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_the_validity_is_left() {
        let validity = 1_000..4_000;
        for (now, due) in [(1_000, false), (2_999, false), (3_000, true), (4_000, true), (9_000, true)] {
            assert_eq!(is_due(&validity, now), due, "{now}");
        }
    }
}
