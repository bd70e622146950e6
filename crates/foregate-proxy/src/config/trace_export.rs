//! `OpenTelemetryConfig`: where spans go, and what they say of who made them.

use std::sync::Arc;
use std::time::Duration;

use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::config::trace::v3::OpenTelemetryConfig;
use foregate_envoy::pb::envoy::extensions::tracers::opentelemetry::resource_detectors::v3::StaticConfigResourceDetectorConfig;
use http::header::HeaderMap;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Uri};

use super::format::{self, Value};
use super::headers::header_name;
use super::parts::{boolean, envoy_grpc, number, timeout};
use super::refusal::{At, Refusal, nothing_left, unpack};
use crate::slots::{Interner, Slot};

/// A collector has so long for one batch.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Envoy's: so many spans wait for the collector at most.
const MAX_WAITING: u32 = 1024;
/// OTLP's call of gRPC.
const CALL: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Where spans go.
#[derive(Debug)]
pub(crate) struct Exporter {
    /// The collector's cluster.
    pub(crate) cluster: Arc<Slot>,
    /// By gRPC; otherwise by HTTP.
    pub(crate) grpc: bool,
    /// The target of requests.
    pub(crate) path: PathAndQuery,
    /// The host of requests.
    pub(crate) host: HeaderValue,
    /// What requests have besides.
    pub(crate) headers: HeaderMap,
    /// For one batch.
    pub(crate) timeout: Duration,
    /// Spans that wait for the collector, at most.
    pub(crate) max_waiting: u32,
    /// Attributes of who made the spans.
    pub(crate) resource: Vec<(String, String)>,
    /// Name and version of what made them.
    pub(crate) scope: Option<(&'static str, &'static str)>,
}

/// What calls itself the maker of spans.
const SCOPE: (&str, &str) = ("foregate", env!("CARGO_PKG_VERSION"));

/// Compiles a tracer whose sampler has been taken out; without a service there is nothing to send to.
pub(super) fn compile(mut message: OpenTelemetryConfig, clusters: &mut Interner) -> Result<Option<Exporter>, Refusal> {
    let resource = resource(&mut message)?;
    let scope = boolean(&mut message.set_instrumentation_scope).unwrap_or(true).then_some(SCOPE);
    let max_waiting = number(&mut message.max_cache_size).unwrap_or(MAX_WAITING).max(1);
    let service = match (message.grpc_service.take(), message.http_service.take()) {
        (Some(_), Some(_)) => return Err(Refusal::new("grpc_service and http_service exclude each other")),
        (Some(grpc), None) => Some(self::grpc(grpc).at("grpc_service")?),
        (None, Some(http)) => Some(self::http(http).at("http_service")?),
        (None, None) => None,
    };
    nothing_left(&message)?;
    Ok(service.map(|service| Exporter {
        cluster: clusters.slot(&service.cluster),
        grpc: service.grpc,
        path: service.path,
        host: service.host,
        headers: service.headers,
        timeout: service.timeout,
        max_waiting,
        resource,
        scope,
    }))
}

struct Service {
    cluster: String,
    grpc: bool,
    path: PathAndQuery,
    host: HeaderValue,
    headers: HeaderMap,
    timeout: Duration,
}

fn grpc(mut message: core::GrpcService) -> Result<Service, Refusal> {
    let mut target = envoy_grpc(&mut message)?;
    let cluster = std::mem::take(&mut target.cluster_name);
    let authority = std::mem::take(&mut target.authority);
    // The engine adds none, and reads no answer that is longer than a status.
    target.skip_envoy_headers = false;
    target.max_receive_message_length = None;
    nothing_left(&target).at("envoy_grpc")?;
    let host = host(if authority.is_empty() { &cluster } else { &authority }).at("envoy_grpc.authority")?;
    let mut headers = HeaderMap::new();
    for (index, value) in std::mem::take(&mut message.initial_metadata).into_iter().enumerate() {
        let (name, value) = header(value).at(format_args!("initial_metadata[{index}]"))?;
        headers.append(name, value);
    }
    let timeout = timeout(message.timeout.take(), Some(TIMEOUT), "timeout")?.unwrap_or(TIMEOUT);
    nothing_left(&message)?;
    Ok(Service { cluster, grpc: true, path: PathAndQuery::from_static(CALL), host, headers, timeout })
}

fn http(mut message: core::HttpService) -> Result<Service, Refusal> {
    use core::http_uri::HttpUpstreamType;
    let mut uri = message.http_uri.take().ok_or_else(|| Refusal::field("http_uri", "must be set"))?;
    let target: Uri = std::mem::take(&mut uri.uri)
        .parse()
        .map_err(|_| Refusal::field("http_uri.uri", "must be a URL like http://collector/v1/traces"))?;
    let authority = target.authority().map_or("", |authority| authority.as_str());
    let host = host(authority).at("http_uri.uri")?;
    let path = target.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let Some(HttpUpstreamType::Cluster(cluster)) = uri.http_upstream_type.take() else {
        return Err(Refusal::field("http_uri.cluster", "must be set"));
    };
    let timeout = timeout(uri.timeout.take(), Some(TIMEOUT), "http_uri.timeout")?.unwrap_or(TIMEOUT);
    nothing_left(&uri).at("http_uri")?;
    let mut headers = HeaderMap::new();
    for (index, mut option) in std::mem::take(&mut message.request_headers_to_add).into_iter().enumerate() {
        let added: Result<_, Refusal> = (|| {
            let value = option.header.take().ok_or_else(|| Refusal::field("header", "must be set"))?;
            let header = header(value).at("header")?;
            nothing_left(&option)?;
            Ok(header)
        })();
        let (name, value) = added.at(format_args!("request_headers_to_add[{index}]"))?;
        headers.append(name, value);
    }
    nothing_left(&message)?;
    Ok(Service { cluster, grpc: false, path, host, headers, timeout })
}

/// A header for the collector; it is no secret to the log of refusals what it is called, but what it says.
fn header(mut message: core::HeaderValue) -> Result<(HeaderName, HeaderValue), Refusal> {
    let name = header_name(&std::mem::take(&mut message.key)).at("key")?;
    let raw = std::mem::take(&mut message.raw_value);
    let text = std::mem::take(&mut message.value);
    let mut value = match format::compile(if raw.is_empty() { text.as_bytes() } else { &raw }) {
        Ok(Value::Literal(value)) => value,
        Ok(Value::Format(_)) => return Err(Refusal::unsupported("commands in the value")),
        Err(_) => return Err(Refusal::field("value", "isn't one that a header can have")),
    };
    value.set_sensitive(true);
    Ok((name, value))
}

/// Some names of clusters are no names of hosts.
fn host(text: &str) -> Result<HeaderValue, Refusal> {
    let fits = text.parse::<http::uri::Authority>().is_ok();
    let text = if fits { text } else { "collector" };
    HeaderValue::from_str(text).map_err(|_| Refusal::new("must be a host"))
}

fn resource(message: &mut OpenTelemetryConfig) -> Result<Vec<(String, String)>, Refusal> {
    let mut attributes = Vec::new();
    let mut set = |name: &str, value: &str| attributes.push((name.to_owned(), value.to_owned()));
    if boolean(&mut message.set_telemetry_sdk_resource_attributes).unwrap_or(true) {
        set("telemetry.sdk.language", "rust");
        set("telemetry.sdk.name", SCOPE.0);
        set("telemetry.sdk.version", SCOPE.1);
    }
    let service = std::mem::take(&mut message.service_name);
    if boolean(&mut message.set_service_name_resource_attribute).unwrap_or(true) {
        set("service.name", if service.is_empty() { "unknown_service:envoy" } else { &service });
    }
    for (index, detector) in std::mem::take(&mut message.resource_detectors).into_iter().enumerate() {
        let path = format!("resource_detectors[{index}].typed_config");
        let any = detector.typed_config.ok_or_else(|| Refusal::field(&path, "must be set"))?;
        let detected: StaticConfigResourceDetectorConfig = unpack(&any).at(path)?;
        attributes.extend(detected.attributes);
    }
    Ok(attributes)
}
