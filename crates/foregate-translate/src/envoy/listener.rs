//! Listeners, from the text that a gateway's template rendered.

use bytes::Bytes;
use foregate_api::claim::{ClientValidation, ClientValidationMode};
use foregate_envoy::pb::envoy::config::listener::v3::Listener;
use prost::Message;
use serde_json::{Value, json};

use super::{check, tracing};
use crate::Problem;

/// Name of the message.
const TYPE: &str = "envoy.config.listener.v3.Listener";
/// Where its template is.
const FIELD: &str = "spec.template.envoy.listener";

/// Reads and checks a rendered listener, which must have the name that it was asked for; `data` is what its template
/// saw.
pub(crate) fn from_text(name: &str, text: &str, data: &Value) -> Result<Bytes, Problem> {
    let mut listener: Listener = foregate_envoy::decode_yaml(TYPE, text).map_err(|diagnostics| {
        let all = diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Problem::template(FIELD, format!("as rendered: {all}"))
    })?;
    if listener.name != name {
        let reason = format!("as rendered: name is {:?}; it must be {{{{ .listener.name }}}}", listener.name);
        return Err(Problem::template(FIELD, reason));
    }
    tracing::add(&mut listener, &data["listener"]["filterChains"])?;
    let mut body = listener.encode_to_vec();
    foregate_envoy::canonical::sort(TYPE, &mut body);
    check(TYPE, &body, FIELD)?;
    Ok(body.into())
}

/// What a filter chain's `rds` is: the one way in which routes enter a listener.
pub(crate) fn routes_over_ads(route_configuration: &str) -> Value {
    json!({ "config_source": ads(), "route_config_name": route_configuration })
}

/// One of a filter chain's `tls_certificate_sds_secret_configs`.
pub(crate) fn secret_over_ads(name: &str) -> Value {
    json!({ "name": name, "sds_config": ads() })
}

/// What a `DownstreamTlsContext` says of clients' certificates.
pub(crate) fn client_validation(validation: &ClientValidation) -> Value {
    let mut context = json!({ "trusted_ca": { "inline_string": validation.ca_certificates } });
    let required = validation.mode == ClientValidationMode::AllowValidOnly;
    if !required {
        context["trust_chain_verification"] = json!("ACCEPT_UNTRUSTED");
    }
    json!({ "required": required, "context": context })
}

fn ads() -> Value {
    json!({ "ads": {}, "resource_api_version": "V3" })
}
