//! Certificates.

use foregate_envoy::pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
use foregate_envoy::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

/// A `kubernetes.io/tls` Secret as an SDS secret, or what is wrong with it. The text never has its content.
pub(crate) fn build(name: &str, secret: &Secret) -> Result<tls::Secret, String> {
    let chain = part(secret, "tls.crt", "CERTIFICATE-----")?;
    let key = part(secret, "tls.key", "PRIVATE KEY-----")?;
    let certificate = tls::TlsCertificate {
        certificate_chain: Some(inline(chain)),
        private_key: Some(inline(key)),
        ..Default::default()
    };
    Ok(tls::Secret { name: name.to_owned(), r#type: Some(tls::secret::Type::TlsCertificate(certificate)) })
}

fn part<'a>(secret: &'a Secret, key: &str, marker: &str) -> Result<&'a ByteString, String> {
    let data = secret.data.as_ref().and_then(|data| data.get(key)).filter(|data| !data.0.is_empty());
    let data = data.ok_or_else(|| format!("data[{key}]: is missing; a certificate needs tls.crt and tls.key"))?;
    let is_pem = data.0.windows(marker.len()).any(|window| window == marker.as_bytes());
    if is_pem {
        Ok(data)
    } else {
        Err(format!("data[{key}]: has no PEM block that ends in {:?}", &marker[..marker.len() - 5]))
    }
}

fn inline(data: &ByteString) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(data.0.clone())), ..Default::default() }
}
