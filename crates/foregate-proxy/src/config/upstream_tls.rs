//! `UpstreamTlsContext`: TLS to endpoints.

use std::sync::Arc;

use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use rustls::RootCertStore;
use rustls_pki_types::ServerName;

use super::parts::{ads, inline_data, number, text_matcher};
use super::refusal::{At, Refusal, nothing_left, unpack};
use super::tls::{both, certificate_of, versions};
use crate::routing::matchers::{TextMatch, TextMatcher};
use crate::tls::{SecretCell, Secrets, TlsShared};
use crate::upstream_tls::{SanMatcher, SystemRoots, UpstreamTls, Validation, roots_of};

/// Sessions that are remembered per cluster, if nothing is said.
const SESSIONS: usize = 256;

/// What compiling TLS needs from its surroundings.
pub(crate) struct TlsContext<'a> {
    /// Secrets by name.
    pub(crate) secrets: &'a mut Secrets,
    /// The crypto library.
    pub(crate) tls: &'a TlsShared,
    /// What the system trusts.
    pub(crate) roots: &'a SystemRoots,
    /// Names of secrets to ask for.
    pub(crate) wanted: Vec<String>,
}

/// Compiles a cluster's transport socket; `None`: no TLS.
pub(super) fn transport_socket(
    mut socket: core::TransportSocket,
    context: &mut TlsContext<'_>,
) -> Result<Option<UpstreamTls>, Refusal> {
    use core::transport_socket::ConfigType;
    use foregate_envoy::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
    socket.name.clear();
    let any = match socket.config_type.take() {
        Some(ConfigType::TypedConfig(any)) => any,
        None => return Err(Refusal::field("typed_config", "must be set")),
    };
    if any.type_url.ends_with("/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer") {
        let raw: RawBuffer = unpack(&any).at("typed_config")?;
        return nothing_left(&raw).at("typed_config").map(|()| None);
    }
    let message: tls::UpstreamTlsContext = unpack(&any).at("typed_config")?;
    upstream(message, context).at("typed_config").map(Some)
}

fn upstream(mut message: tls::UpstreamTlsContext, context: &mut TlsContext<'_>) -> Result<UpstreamTls, Refusal> {
    let sni = std::mem::take(&mut message.sni);
    if !sni.is_empty() && !matches!(ServerName::try_from(&*sni), Ok(ServerName::DnsName(_))) {
        return Err(Refusal::field("sni", "must be a host name"));
    }
    let sni_of_endpoint = std::mem::take(&mut message.auto_host_sni);
    let name_must_fit = std::mem::take(&mut message.auto_sni_san_validation);
    if name_must_fit && sni.is_empty() && !sni_of_endpoint {
        return Err(Refusal::field("auto_sni_san_validation", "needs sni or auto_host_sni"));
    }
    let sessions = number(&mut message.max_session_keys).map_or(SESSIONS, |keys| keys.min(65_536) as usize);
    let common =
        message.common_tls_context.take().ok_or_else(|| Refusal::field("common_tls_context", "must be set"))?;
    nothing_left(&message)?;
    let mut tls = UpstreamTls {
        sni: (!sni.is_empty()).then(|| sni.into()),
        sni_of_endpoint,
        name_must_fit,
        versions: both(),
        certificate: None,
        validation: None,
        validation_secret: None,
        sessions,
        provider: context.tls.provider(),
        made: Default::default(),
    };
    common_of(&mut tls, common, context).at("common_tls_context")?;
    Ok(tls)
}

fn common_of(
    tls: &mut UpstreamTls,
    mut message: tls::CommonTlsContext,
    context: &mut TlsContext<'_>,
) -> Result<(), Refusal> {
    if let Some(parameters) = message.tls_params.take() {
        tls.versions = versions(parameters).at("tls_params")?;
    }
    let alpn = std::mem::take(&mut message.alpn_protocols);
    // What is offered follows from what is spoken: another offer would end in a conversation that nobody understands.
    if let Some(other) = alpn.iter().find(|protocol| !matches!(&***protocol, "h2" | "http/1.1")) {
        return Err(Refusal::field("alpn_protocols", format!("{other} is {}", super::refusal::UNSUPPORTED)));
    }
    own_certificate(tls, &mut message, context)?;
    let trust = match message.validation_context_type.take() {
        Some(kind) => trust(kind, context)?,
        None => return Err(Refusal::field("validation_context", NO_TRUST)),
    };
    (tls.validation, tls.validation_secret) = (trust.validation, trust.secret);
    nothing_left(&message)
}

fn own_certificate(
    tls: &mut UpstreamTls,
    message: &mut tls::CommonTlsContext,
    context: &mut TlsContext<'_>,
) -> Result<(), Refusal> {
    let named = std::mem::take(&mut message.tls_certificate_sds_secret_configs);
    let inline = std::mem::take(&mut message.tls_certificates);
    if named.len() + inline.len() > 1 {
        return Err(Refusal::field("tls_certificates", "endpoints can be shown one certificate only"));
    }
    for config in named {
        tls.certificate = Some(secret(config, context).at("tls_certificate_sds_secret_configs[0]")?);
    }
    for certificate in inline {
        let key = certificate_of(certificate, context.tls).at("tls_certificates[0]")?;
        tls.certificate = Some(Secrets::inline(key));
    }
    Ok(())
}

fn secret(mut config: tls::SdsSecretConfig, context: &mut TlsContext<'_>) -> Result<Arc<SecretCell>, Refusal> {
    ads(config.sds_config.take()).at("sds_config")?;
    let name = std::mem::take(&mut config.name);
    nothing_left(&config)?;
    if name.is_empty() {
        return Err(Refusal::field("name", "must be set"));
    }
    let cell = context.secrets.cell(&name);
    context.wanted.push(name);
    Ok(cell)
}

/// Whom to trust.
#[derive(Default)]
pub(super) struct Trust {
    /// As the message itself says.
    pub(super) validation: Option<Arc<Validation>>,
    /// As a secret says.
    pub(super) secret: Option<Arc<SecretCell>>,
}

/// Compiles whom to trust.
#[allow(deprecated, reason = "what is refused is named")]
pub(super) fn trust(
    kind: tls::common_tls_context::ValidationContextType,
    context: &mut TlsContext<'_>,
) -> Result<Trust, Refusal> {
    use tls::common_tls_context::ValidationContextType as Kind;
    let mut trust = Trust::default();
    match kind {
        Kind::ValidationContext(message) => {
            let validation = validation(message, context.roots).at("validation_context")?;
            if validation.roots.is_none() && !validation.accept_untrusted {
                return Err(Refusal::field("validation_context.trusted_ca", NO_TRUST));
            }
            trust.validation = Some(Arc::new(validation));
        }
        Kind::ValidationContextSdsSecretConfig(config) => {
            trust.secret = Some(secret(config, context).at("validation_context_sds_secret_config")?);
        }
        Kind::CombinedValidationContext(message) => {
            trust = combined(message, context).at("combined_validation_context")?;
        }
        Kind::ValidationContextCertificateProvider(_) => {
            return Err(Refusal::unsupported("validation_context_certificate_provider"));
        }
        Kind::ValidationContextCertificateProviderInstance(_) => {
            return Err(Refusal::unsupported("validation_context_certificate_provider_instance"));
        }
    }
    Ok(trust)
}

/// Envoy doesn't check certificates then; here that has to be said.
const NO_TRUST: &str =
    "must be set: endpoints' certificates are always checked, unless trust_chain_verification is ACCEPT_UNTRUSTED";

fn combined(
    mut message: tls::common_tls_context::CombinedCertificateValidationContext,
    context: &mut TlsContext<'_>,
) -> Result<Trust, Refusal> {
    let mut trust = Trust::default();
    if let Some(default) = message.default_validation_context.take() {
        trust.validation = Some(Arc::new(validation(default, context.roots).at("default_validation_context")?));
    }
    let config = message.validation_context_sds_secret_config.take();
    let config = config.ok_or_else(|| Refusal::field("validation_context_sds_secret_config", "must be set"))?;
    trust.secret = Some(secret(config, context).at("validation_context_sds_secret_config")?);
    nothing_left(&message).map(|()| trust)
}

/// Compiles whom to trust.
pub(crate) fn validation(
    mut message: tls::CertificateValidationContext,
    system: &SystemRoots,
) -> Result<Validation, Refusal> {
    use tls::certificate_validation_context::TrustChainVerification as Trust;
    let accept_untrusted = match Trust::try_from(std::mem::take(&mut message.trust_chain_verification)) {
        Ok(Trust::VerifyTrustChain) => false,
        Ok(Trust::AcceptUntrusted) => true,
        Err(_) => return Err(Refusal::field("trust_chain_verification", "isn't a known value")),
    };
    let own = message.trusted_ca.take().map(|source| trusted_ca(source, system)).transpose().at("trusted_ca")?;
    let systems = match message.system_root_certs.take() {
        Some(_) => Some(system.load().map_err(|error| Refusal::field("system_root_certs", error))?),
        None => None,
    };
    let mut names = Vec::new();
    for (index, matcher) in std::mem::take(&mut message.match_typed_subject_alt_names).into_iter().enumerate() {
        names.push(name_matcher(matcher).at(format_args!("match_typed_subject_alt_names[{index}]"))?);
    }
    // A hint for clients, of no meaning here.
    message.suppress_client_ca_list = false;
    nothing_left(&message)?;
    // Envoy takes the system's only where there are no own ones.
    Ok(Validation { roots: own.or(systems), names, accept_untrusted })
}

fn trusted_ca(source: core::DataSource, system: &SystemRoots) -> Result<Arc<RootCertStore>, Refusal> {
    use core::data_source::Specifier;
    if let Some(Specifier::Filename(path)) = &source.specifier
        && SystemRoots::is_usual(path)
    {
        // Whoever wrote it means what the system trusts, wherever this one keeps it.
        return system.load_from(path).or_else(|_| system.load()).map_err(Refusal::new);
    }
    roots_of(&inline_data(source)?).map(Arc::new).map_err(Refusal::new)
}

fn name_matcher(mut message: tls::SubjectAltNameMatcher) -> Result<SanMatcher, Refusal> {
    use tls::subject_alt_name_matcher::SanType;
    let matcher = message.matcher.take().ok_or_else(|| Refusal::field("matcher", "must be set"))?;
    let matcher = text_matcher(matcher).at("matcher")?;
    let kind = SanType::try_from(std::mem::take(&mut message.san_type));
    nothing_left(&message)?;
    match kind {
        Ok(SanType::Dns) => Ok(dns(matcher)),
        Ok(SanType::Uri) => Ok(SanMatcher::Uri(matcher)),
        Ok(SanType::Email) => Ok(SanMatcher::Email(matcher)),
        Ok(SanType::IpAddress) => Ok(SanMatcher::Ip(matcher)),
        Ok(SanType::OtherName) => Err(Refusal::field("san_type", "OTHER_NAME is not supported by the built-in engine")),
        Ok(SanType::Unspecified) | Err(_) => Err(Refusal::field("san_type", "must be set")),
    }
}

fn dns(matcher: TextMatcher) -> SanMatcher {
    if let TextMatch::Exact(name) = &matcher.kind
        && let Ok(name @ ServerName::DnsName(_)) = ServerName::try_from(name.to_string())
    {
        return SanMatcher::ExactDns(name);
    }
    SanMatcher::Dns(matcher)
}
