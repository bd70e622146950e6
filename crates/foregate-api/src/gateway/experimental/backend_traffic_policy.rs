//! XBackendTrafficPolicy (GEP-3388, GEP-1619).

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use crate::gateway::{LocalObjectReference, PolicyStatus, SessionPersistence};

/// How traffic to backends is handled.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.x-k8s.io",
    version = "v1alpha1",
    kind = "XBackendTrafficPolicy",
    plural = "xbackendtrafficpolicies",
    namespaced,
    status = "PolicyStatus",
    derive = "PartialEq",
    schema = "disabled",
    shortname = "xbtrafficpolicy"
)]
#[serde(rename_all = "camelCase")]
pub struct XBackendTrafficPolicySpec {
    /// The backends, 1 to 16, of the policy's namespace.
    #[serde(default)]
    pub target_refs: Vec<LocalObjectReference>,
    /// Bounds retries; none: unbounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_constraint: Option<RetryConstraint>,
    /// Keeps clients with their endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

/// Bounds retries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryConstraint {
    /// What share of requests may be retries; none: 20 % of 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetDetails>,
    /// How many there may always be; none: 10 per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_retry_rate: Option<RequestRate>,
}

/// A share of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetDetails {
    /// In percent, 0 to 100; none: 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// Of the requests of this time, a GEP-2257 duration of 1 s to 1 h; none: 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
}

/// A number of requests per time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRate {
    /// So many, 1 to 1,000,000…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// … in this time, a GEP-2257 duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
}
