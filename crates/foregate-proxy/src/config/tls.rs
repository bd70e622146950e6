//! `DownstreamTlsContext` and `Secret`: how TLS is terminated, and by which certificates.

use std::sync::Arc;

use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use rustls::SupportedProtocolVersion;
use rustls::sign::CertifiedKey;

use super::parts::{ads, boolean, inline_data};
use super::refusal::{At, Refusal, nothing_left, unpack};
use super::upstream_tls::{TlsContext, trust};
use crate::client_auth::ClientTrust;
use crate::tls::{Secrets, TlsChain, TlsShared, certified_key};

/// Compiles a transport socket.
pub(crate) fn transport_socket(
    mut socket: core::TransportSocket,
    context: &mut TlsContext<'_>,
) -> Result<TlsChain, Refusal> {
    use core::transport_socket::ConfigType;
    socket.name.clear();
    let any = match socket.config_type.take() {
        Some(ConfigType::TypedConfig(any)) => any,
        None => return Err(Refusal::field("typed_config", "must be set")),
    };
    let message: tls::DownstreamTlsContext = unpack(&any).at("typed_config")?;
    context_of(message, context).at("typed_config")
}

fn context_of(mut message: tls::DownstreamTlsContext, context: &mut TlsContext<'_>) -> Result<TlsChain, Refusal> {
    let required = boolean(&mut message.require_client_certificate) == Some(true);
    if boolean(&mut message.require_sni) == Some(true) {
        return Err(Refusal::unsupported("require_sni"));
    }
    let common =
        message.common_tls_context.take().ok_or_else(|| Refusal::field("common_tls_context", "must be set"))?;
    nothing_left(&message)?;
    if required && common.validation_context_type.is_none() {
        // Envoy would let in whoever has any certificate.
        return Err(Refusal::field("require_client_certificate", "needs a validation context: whom to trust"));
    }
    common_of(common, required, context).at("common_tls_context")
}

/// Whose certificates a listener accepts, if it asks for any.
fn client_trust(
    message: &mut tls::CommonTlsContext,
    required: bool,
    context: &mut TlsContext<'_>,
) -> Result<Option<ClientTrust>, Refusal> {
    let Some(kind) = message.validation_context_type.take() else { return Ok(None) };
    let trust = trust(kind, context)?;
    Ok(Some(ClientTrust {
        validation: trust.validation,
        secret: trust.secret,
        required,
        provider: context.tls.provider(),
        made: Default::default(),
    }))
}

fn common_of(
    mut message: tls::CommonTlsContext,
    required: bool,
    context: &mut TlsContext<'_>,
) -> Result<TlsChain, Refusal> {
    let trust = client_trust(&mut message, required, context)?;
    let versions = message.tls_params.take().map_or_else(|| Ok(both()), versions).at("tls_params")?;
    let mut cells = Vec::new();
    for (index, mut config) in std::mem::take(&mut message.tls_certificate_sds_secret_configs).into_iter().enumerate() {
        let result = ads(config.sds_config.take()).at("sds_config").and_then(|()| {
            let name = std::mem::take(&mut config.name);
            nothing_left(&config)?;
            Ok(name)
        });
        let name = result.at(format_args!("tls_certificate_sds_secret_configs[{index}]"))?;
        cells.push(context.secrets.cell(&name));
        context.wanted.push(name);
    }
    for (index, certificate) in std::mem::take(&mut message.tls_certificates).into_iter().enumerate() {
        let key = certificate_of(certificate, context.tls).at(format_args!("tls_certificates[{index}]"))?;
        cells.push(Secrets::inline(key));
    }
    if cells.is_empty() {
        return Err(Refusal::new("must name a certificate"));
    }
    let alpn = std::mem::take(&mut message.alpn_protocols);
    if let Some(other) = alpn.iter().find(|protocol| !matches!(&***protocol, "h2" | "http/1.1")) {
        return Err(Refusal::field("alpn_protocols", format!("{other} is {}", super::refusal::UNSUPPORTED)));
    }
    nothing_left(&message)?;
    let alpn = alpn.into_iter().map(String::into_bytes).collect();
    context.tls.chain(versions, alpn, cells, trust).map_err(|e| Refusal::new(e.to_string()))
}

pub(super) fn both() -> Vec<&'static SupportedProtocolVersion> {
    vec![&rustls::version::TLS13, &rustls::version::TLS12]
}

pub(super) fn versions(mut message: tls::TlsParameters) -> Result<Vec<&'static SupportedProtocolVersion>, Refusal> {
    use tls::tls_parameters::TlsProtocol as Wire;
    let level = |version: i32, auto: u8, field: &str| match Wire::try_from(version) {
        Ok(Wire::TlsAuto) => Ok(auto),
        Ok(Wire::TlSv10 | Wire::TlSv11) => {
            Err(Refusal::field(field, "TLS below 1.2 is not supported by the built-in engine"))
        }
        Ok(Wire::TlSv12) => Ok(2),
        Ok(Wire::TlSv13) => Ok(3),
        Err(_) => Err(Refusal::field(field, "isn't a known value")),
    };
    let lowest = level(std::mem::take(&mut message.tls_minimum_protocol_version), 2, "tls_minimum_protocol_version")?;
    let highest = level(std::mem::take(&mut message.tls_maximum_protocol_version), 3, "tls_maximum_protocol_version")?;
    nothing_left(&message)?;
    let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
    if highest >= 3 {
        versions.push(&rustls::version::TLS13);
    }
    if lowest <= 2 {
        versions.push(&rustls::version::TLS12);
    }
    if lowest > highest {
        return Err(Refusal::field("tls_minimum_protocol_version", "must not be above the maximum"));
    }
    Ok(versions)
}

/// Compiles a secret with a server's certificate.
pub(crate) fn secret(mut message: tls::Secret, shared: &TlsShared) -> Result<Arc<CertifiedKey>, Refusal> {
    use tls::secret::Type;
    message.name.clear();
    let key = match message.r#type.take() {
        Some(Type::TlsCertificate(certificate)) => certificate_of(certificate, shared).at("tls_certificate")?,
        Some(Type::SessionTicketKeys(_)) => return Err(Refusal::unsupported("session_ticket_keys")),
        Some(Type::ValidationContext(_)) => return Err(Refusal::unsupported("validation_context")),
        Some(Type::GenericSecret(_)) => return Err(Refusal::unsupported("generic_secret")),
        None => return Err(Refusal::new("must hold something")),
    };
    nothing_left(&message)?;
    Ok(key)
}

/// Messages of this kind never show up in a refusal but by their fields' names: they hold private keys.
pub(super) fn certificate_of(
    mut message: tls::TlsCertificate,
    shared: &TlsShared,
) -> Result<Arc<CertifiedKey>, Refusal> {
    let chain = message.certificate_chain.take().ok_or_else(|| Refusal::field("certificate_chain", "must be set"))?;
    let chain = inline_data(chain).at("certificate_chain")?;
    let key = message.private_key.take().ok_or_else(|| Refusal::field("private_key", "must be set"))?;
    let key = inline_data(key).at("private_key")?;
    nothing_left(&message)?;
    certified_key(&chain, &key, shared).map(Arc::new).map_err(|e| Refusal::new(e.to_string()))
}
