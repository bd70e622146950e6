//! Spans as OTLP has them (`opentelemetry/proto/trace/v1`): what of them is needed here.

use foregate_envoy::pb::opentelemetry::proto::common::v1::any_value::Value;
use foregate_envoy::pb::opentelemetry::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, message};

use super::context::Context;
use crate::config::trace_export::Exporter;

/// `SPAN_KIND_SERVER`
pub(super) const SERVER: i32 = 2;
/// `SPAN_KIND_CLIENT`
pub(super) const CLIENT: i32 = 3;
/// `STATUS_CODE_ERROR`
const ERROR: i32 = 2;
/// Whether the parent is remote is known …
const HAS_IS_REMOTE: u32 = 0x100;
/// … and it is.
const IS_REMOTE: u32 = 0x200;

/// `Span`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) name: String,
    #[prost(int32, tag = "6")]
    pub(super) kind: i32,
    #[prost(fixed64, tag = "7")]
    pub(super) start: u64,
    #[prost(fixed64, tag = "8")]
    pub(super) end: u64,
    #[prost(message, repeated, tag = "9")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    pub(super) status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    pub(super) flags: u32,
}

/// `Status`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "3")]
    pub(super) code: i32,
}

impl Span {
    pub(super) fn new(context: &Context, kind: i32, name: String, (start, end): (u64, u64)) -> Self {
        Self {
            trace_id: context.trace_id.to_be_bytes().to_vec(),
            span_id: context.span_id.to_be_bytes().to_vec(),
            parent_span_id: context.parent.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
            name,
            kind,
            start,
            end: end.max(start),
            flags: u32::from(context.sampled) | HAS_IS_REMOTE | if context.is_remote { IS_REMOTE } else { 0 },
            ..Self::default()
        }
    }

    /// Sets an attribute; there is one of each name.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
        match self.attributes.iter_mut().find(|attribute| attribute.key == name) {
            Some(attribute) => attribute.value = value,
            None => self.attributes.push(KeyValue { key: name.to_owned(), value, ..KeyValue::default() }),
        }
    }

    pub(super) fn fail(&mut self) {
        self.status = Some(Status { code: ERROR });
    }

    /// Appends it to a batch.
    pub(super) fn encode_into(&self, batch: &mut Vec<u8>) {
        message::encode(SPANS, self, batch);
    }
}

/// `ScopeSpans.spans`
const SPANS: u32 = 2;

/// `Resource`
#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

/// An `ExportTraceServiceRequest` with all spans of a batch.
pub(super) fn request(exporter: &Exporter, batch: &[u8]) -> Vec<u8> {
    let mut scope_spans = Vec::with_capacity(batch.len() + 64);
    if let Some((name, version)) = exporter.scope {
        let (name, version) = (name.to_owned(), version.to_owned());
        message::encode(1, &InstrumentationScope { name, version, ..Default::default() }, &mut scope_spans);
    }
    scope_spans.extend_from_slice(batch);
    let attributes = exporter.resource.iter().map(|(name, value)| KeyValue {
        key: name.clone(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.clone())) }),
        ..KeyValue::default()
    });
    let mut resource_spans = Vec::with_capacity(scope_spans.len() + 256);
    message::encode(1, &Resource { attributes: attributes.collect() }, &mut resource_spans);
    push(2, &scope_spans, &mut resource_spans);
    let mut request = Vec::with_capacity(resource_spans.len() + 8);
    push(1, &resource_spans, &mut request);
    request
}

fn push(tag: u32, body: &[u8], out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(body.len() as u64, out);
    out.extend_from_slice(body);
}
