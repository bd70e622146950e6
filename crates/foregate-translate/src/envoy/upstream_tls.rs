//! TLS to backends.

use foregate_api::backend::{BackendProtocol, CertificateName, UpstreamTls};
use foregate_envoy::pb;
use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use foregate_envoy::pb::envoy::r#type::matcher::v3 as matcher;
use prost::Message;
use tls::certificate_validation_context::TrustChainVerification;
use tls::common_tls_context::ValidationContextType;
use tls::subject_alt_name_matcher::SanType;

use super::common::{ads, regex};

/// Name of the message.
const TYPE: &str = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
/// Where Debian and most others keep what the host trusts.
const SYSTEM_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whether the backend chooses between HTTP/1.1 and HTTP/2.
pub(super) fn offers_both(tls: &UpstreamTls) -> bool {
    ["h2", "http/1.1"].iter().all(|protocol| tls.alpn.iter().any(|offered| offered == protocol))
}

/// The transport socket; `client` is the secret with the certificate that is shown.
pub(super) fn build(given: &UpstreamTls, protocol: BackendProtocol, client: Option<&str>) -> core::TransportSocket {
    let shown = client.map(|name| tls::SdsSecretConfig { name: name.to_owned(), sds_config: Some(ads()) });
    let of_endpoint = given.sni.is_none();
    let any_name = given.subject_alt_names.is_empty();
    let context = tls::UpstreamTlsContext {
        common_tls_context: Some(tls::CommonTlsContext {
            alpn_protocols: alpn(given, protocol),
            tls_certificate_sds_secret_configs: shown.into_iter().collect(),
            validation_context_type: Some(ValidationContextType::ValidationContext(validation(given))),
            ..Default::default()
        }),
        sni: given.sni.clone().unwrap_or_default(),
        auto_host_sni: of_endpoint,
        auto_sni_san_validation: of_endpoint && any_name && !given.insecure_skip_verify,
        ..Default::default()
    };
    core::TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(pb::google::protobuf::Any {
            type_url: format!("type.googleapis.com/{TYPE}"),
            value: context.encode_to_vec(),
        })),
    }
}

/// What is spoken is what is offered; in the user's order where there is a choice.
fn alpn(given: &UpstreamTls, protocol: BackendProtocol) -> Vec<String> {
    if offers_both(given) {
        return given.alpn.clone();
    }
    match protocol {
        BackendProtocol::Http => vec!["http/1.1".to_owned()],
        BackendProtocol::H2c => vec!["h2".to_owned()],
        // What is in these connections isn't known here.
        BackendProtocol::Tcp | BackendProtocol::Udp => given.alpn.clone(),
    }
}

fn validation(given: &UpstreamTls) -> tls::CertificateValidationContext {
    if given.insecure_skip_verify {
        return tls::CertificateValidationContext {
            trust_chain_verification: TrustChainVerification::AcceptUntrusted as i32,
            ..Default::default()
        };
    }
    let source = match &given.ca_certificates {
        Some(text) => core::data_source::Specifier::InlineString(text.clone()),
        None => core::data_source::Specifier::Filename(SYSTEM_CERTIFICATES.to_owned()),
    };
    tls::CertificateValidationContext {
        trusted_ca: Some(core::DataSource { specifier: Some(source), ..Default::default() }),
        match_typed_subject_alt_names: names(given),
        ..Default::default()
    }
}

/// One of the names is needed; without any, the one that was sent.
fn names(given: &UpstreamTls) -> Vec<tls::SubjectAltNameMatcher> {
    if !given.subject_alt_names.is_empty() {
        return given.subject_alt_names.iter().map(name).collect();
    }
    let sent = given.sni.iter().map(|sni| name(&CertificateName::Dns(sni.clone())));
    sent.collect()
}

fn name(name: &CertificateName) -> tls::SubjectAltNameMatcher {
    let (kind, pattern) = match name {
        CertificateName::Dns(name) => (SanType::Dns, dns(name)),
        CertificateName::Uri(uri) => (SanType::Uri, matcher::string_matcher::MatchPattern::Exact(uri.clone())),
    };
    tls::SubjectAltNameMatcher {
        san_type: kind as i32,
        matcher: Some(matcher::StringMatcher { match_pattern: Some(pattern), ..Default::default() }),
        ..Default::default()
    }
}

/// Envoy matches a name byte by byte, but lets a wildcard of the certificate stand for one label; a wildcard that is
/// asked for has to be met by a name of one more label, or by itself.
fn dns(name: &str) -> matcher::string_matcher::MatchPattern {
    use matcher::string_matcher::MatchPattern;
    match name.strip_prefix("*.") {
        Some(rest) => MatchPattern::SafeRegex(regex(format!("[^.]+\\.{}", ::regex::escape(rest)))),
        None => MatchPattern::Exact(name.to_owned()),
    }
}
