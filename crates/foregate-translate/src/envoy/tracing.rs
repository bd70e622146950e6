//! Distributed tracing: what a connection manager has for it.
//!
//! It is put into what the template made, so that gateways whose templates are older have it, too. A template that
//! traces by itself goes first.

use foregate_api::tracing::{MILLION, StandardAttribute, TracingValue};
use foregate_envoy::pb::envoy::config::listener::v3::filter::ConfigType;
use foregate_envoy::pb::envoy::config::listener::v3::{Filter, Listener};
use foregate_envoy::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::Tracing as Message,
};
use prost::{Message as _, Name};
use serde_json::{Value, json};

use crate::{Problem, ir};

/// Name of the message.
const TYPE: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing";
const SAMPLERS: &str = "type.googleapis.com/envoy.extensions.tracers.opentelemetry.samplers.v3";
/// The resolution of `random_sampling`, in millionths.
const STEP: u32 = 100;
/// What spans always say, beyond what engines say by themselves: what OpenTelemetry means by these names. An Envoy that
/// is too old to decide as this one does refuses it.
const ALWAYS: [StandardAttribute; 6] = [
    StandardAttribute::RequestMethod,
    StandardAttribute::ResponseStatusCode,
    StandardAttribute::UrlPath,
    StandardAttribute::UrlScheme,
    StandardAttribute::ClientAddress,
    StandardAttribute::UserAgent,
];

/// The message, as JSON.
///
/// Whether a trace is recorded is decided twice: by `random_sampling`, which counts for all requests, and by the
/// sampler. The first is what counts of parents' traces; the second makes up for it where there is no parent.
pub(crate) fn message(tracing: &ir::Tracing) -> Value {
    let wanted = &tracing.wanted;
    let sampler = match wanted.parent_sampling {
        None => ratio(wanted.sampling),
        Some(parents) => {
            let left = u64::from(wanted.sampling) * u64::from(MILLION) / u64::from(steps(parents).max(1));
            let wrapped = ratio(u32::try_from(left).unwrap_or(MILLION).min(MILLION));
            sampler("parent_based", "ParentBasedSamplerConfig", "wrapped_sampler", wrapped)
        }
    };
    let mut message = json!({
        // Nobody outside decides what is recorded.
        "client_sampling": { "value": 0 },
        "random_sampling": { "value": f64::from(wanted.parent_sampling.map_or(MILLION, steps)) / 10_000.0 },
        "spawn_upstream_span": true,
        "custom_tags": tags(wanted),
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "grpc_service": {
                    "envoy_grpc": { "cluster_name": tracing.cluster, "authority": tracing.authority },
                    "timeout": "10s",
                },
                "service_name": wanted.service_name,
                "sampler": sampler,
            },
        },
    });
    if let Some(name) = &wanted.span_name {
        message["operation"] = name.replace('%', "%%").into();
    }
    message
}

/// A share in steps of the resolution; a small one isn't none.
fn steps(share: u32) -> u32 {
    let rounded = (share + STEP / 2) / STEP * STEP;
    if share == 0 { 0 } else { rounded.max(STEP) }
}

fn ratio(share: u32) -> Value {
    let percentage = json!({ "numerator": share, "denominator": "MILLION" });
    sampler("trace_id_ratio_based", "TraceIdRatioBasedSamplerConfig", "sampling_percentage", percentage)
}

fn sampler(name: &str, kind: &str, field: &str, value: Value) -> Value {
    json!({
        "name": format!("envoy.tracers.opentelemetry.samplers.{name}"),
        "typed_config": { "@type": format!("{SAMPLERS}.{kind}"), field: value },
    })
}

fn tags(wanted: &foregate_api::tracing::Tracing) -> Vec<Value> {
    let known = |attribute| StandardAttribute::ALL.into_iter().find(|(_, it)| *it == attribute);
    let always = ALWAYS.into_iter().filter_map(known);
    let always = always.filter(|(name, _)| wanted.attributes.iter().all(|own| own.name != *name));
    let always = always.map(|(name, attribute)| json!({ "tag": name, "value": command(attribute) }));
    let own = wanted.attributes.iter().map(|attribute| match &attribute.value {
        TracingValue::Literal(text) => json!({ "tag": attribute.name, "literal": { "value": text } }),
        TracingValue::Header(header) => json!({ "tag": attribute.name, "request_header": { "name": header } }),
        TracingValue::Standard(standard) => json!({ "tag": attribute.name, "value": command(*standard) }),
    });
    always.chain(own).collect()
}

/// What Envoy calls an attribute.
const fn command(attribute: StandardAttribute) -> &'static str {
    match attribute {
        StandardAttribute::ClientAddress => "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        StandardAttribute::RequestMethod => "%REQ(:METHOD)%",
        StandardAttribute::RequestBodySize => "%BYTES_RECEIVED%",
        StandardAttribute::ResponseStatusCode => "%RESPONSE_CODE%",
        StandardAttribute::LocalAddress => "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%",
        StandardAttribute::LocalPort => "%DOWNSTREAM_LOCAL_PORT%",
        StandardAttribute::PeerAddress => "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
        StandardAttribute::PeerPort => "%DOWNSTREAM_DIRECT_REMOTE_PORT%",
        StandardAttribute::TlsServerName => "%REQUESTED_SERVER_NAME%",
        StandardAttribute::UrlPath => "%PATH(NQ:PATH)%",
        // Not `:scheme`: that says how the endpoint is spoken with.
        StandardAttribute::UrlScheme => "%REQ(X-FORWARDED-PROTO)%",
        StandardAttribute::UserAgent => "%REQ(USER-AGENT)%",
    }
}

/// Puts it into the connection managers of the filter chains that have it; `chains` is what the template saw.
pub(super) fn add(listener: &mut Listener, chains: &Value) -> Result<(), Problem> {
    for data in chains.as_array().into_iter().flatten().filter(|data| data["tracing"].is_object()) {
        let message: Message = foregate_envoy::decode_json(TYPE, &data["tracing"]).map_err(|diagnostics| {
            let all = diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            Problem::template("tracing", all)
        })?;
        let chains = listener.filter_chains.iter_mut().chain(&mut listener.default_filter_chain);
        for chain in chains.filter(|chain| data["name"] == *chain.name) {
            chain.filters.iter_mut().for_each(|filter| trace(filter, &message));
        }
    }
    Ok(())
}

fn trace(filter: &mut Filter, message: &Message) {
    let Some(ConfigType::TypedConfig(any)) = &mut filter.config_type else { return };
    if any.type_url != HttpConnectionManager::type_url() {
        return;
    }
    // What isn't one is found out when the whole is checked.
    let Ok(mut manager) = HttpConnectionManager::decode(&*any.value) else { return };
    if manager.tracing.is_none() {
        manager.tracing = Some(message.clone());
        any.value = manager.encode_to_vec();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// What both decisions together come to, without a parent and with one that is recorded.
    #[test]
    fn shares_come_out_as_they_are_wanted() {
        for (sampling, parents) in [
            (MILLION, Some(MILLION)),
            (50_000, Some(500_000)),
            (333_333, Some(333_333)),
            (1, Some(1)),
            (0, Some(0)),
            (0, Some(MILLION)),
            (123_456, None),
        ] {
            let wanted = foregate_api::tracing::Tracing {
                backend: "b".into(),
                sampling,
                parent_sampling: parents,
                service_name: "s".into(),
                span_name: None,
                attributes: Vec::new(),
            };
            let message = message(&ir::Tracing { cluster: "c".into(), authority: "a".into(), wanted });
            let all = message["random_sampling"]["value"].as_f64().unwrap() / 100.0;
            let config = &message["provider"]["typed_config"]["sampler"]["typed_config"];
            let wrapped = &config["wrapped_sampler"]["typed_config"];
            let ratio = if parents.is_some() { wrapped } else { config };
            let ratio = ratio["sampling_percentage"]["numerator"].as_f64().unwrap() / 1e6;
            let near = |got: f64, want: u32| (got - f64::from(want) / 1e6).abs() < 1.1e-4;
            assert!(near(all * ratio, sampling), "{sampling} {parents:?}: {message}");
            assert!(near(all, parents.unwrap_or(MILLION)), "{sampling} {parents:?}: {message}");
        }
    }
}
