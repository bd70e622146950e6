//! XTelemetryPolicy (GEP-4768): what gateways tell of the requests that they serve.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use crate::gateway::{BackendObjectReference, Fraction, HttpHeader, LocalObjectReference, PolicyStatus};

/// What Gateways tell of requests. The oldest policy of a Gateway holds.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.x-k8s.io",
    version = "v1alpha1",
    kind = "XTelemetryPolicy",
    plural = "xtelemetrypolicies",
    namespaced,
    status = "PolicyStatus",
    derive = "PartialEq",
    schema = "disabled",
    shortname = "xtelemetrypolicy"
)]
#[serde(rename_all = "camelCase")]
pub struct XTelemetryPolicySpec {
    /// The Gateways, 1 to 16, of the policy's namespace.
    #[serde(default)]
    pub target_refs: Vec<LocalObjectReference>,
    /// Distributed tracing; none: as the implementation likes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<TracingConfig>,
}

/// Distributed tracing. All but the mode is for [`TelemetryMode::Enabled`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TracingConfig {
    /// Whether.
    #[serde(default)]
    pub mode: TelemetryMode,
    /// Who gets the spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<TracingProvider>,
    /// How many new traces are recorded; none: as the implementation likes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_rate: Option<Fraction>,
    /// What the client's decision counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_based_sampling: Option<ParentBasedSampling>,
    /// `service.name` of the spans' resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// What spans are called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_name: Option<String>,
    /// What spans say besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TelemetryMode {
    /// It is.
    Enabled,
    /// It isn't.
    Disabled,
    /// As the implementation likes it.
    #[default]
    ImplementationDefault,
    /// A value of a newer API.
    #[serde(other)]
    Unknown,
}

/// Who gets spans, over OTLP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TracingProvider {
    /// The collector.
    pub backend_ref: BackendObjectReference,
    /// What requests to it carry besides, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HttpHeader>,
}

/// What the decision counts that a request brings along.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentBasedSampling {
    /// Whether it counts.
    #[serde(default)]
    pub mode: TelemetryMode,
    /// Of the traces that it is for, so many are recorded; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_rate: Option<Fraction>,
}

/// An attribute of spans.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribute {
    /// What it is called.
    pub name: String,
    /// Which of the following says its value.
    pub source_type: AttributeSourceType,
    /// For [`AttributeSourceType::Header`]: a header of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_name: Option<String>,
    /// For [`AttributeSourceType::Literal`]: the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub literal_value: Option<String>,
    /// For [`AttributeSourceType::Attribute`]: an attribute of OpenTelemetry's semantic conventions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute_key: Option<String>,
}

/// Where an attribute's value comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttributeSourceType {
    /// [`Attribute::header_name`].
    Header,
    /// [`Attribute::literal_value`].
    Literal,
    /// [`Attribute::attribute_key`].
    Attribute,
    /// A value of a newer API.
    #[default]
    #[serde(other)]
    Unknown,
}
