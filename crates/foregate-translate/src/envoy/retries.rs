//! Retries, and how many of them there may be.

use foregate_api::backend::RetryBudget;
use foregate_envoy::pb::envoy::config::cluster::v3::CircuitBreakers;
use foregate_envoy::pb::envoy::config::cluster::v3::circuit_breakers::{Thresholds, thresholds};
use foregate_envoy::pb::envoy::config::route::v3::RetryPolicy;
use foregate_envoy::pb::envoy::config::route::v3::retry_policy::RetryBackOff;
use foregate_envoy::pb::envoy::r#type::v3::Percent;

use super::common::{millis, uint32};
use crate::ir::Retries;

/// The longest wait is so many times the shortest (Envoy's own default).
const MAX_BACKOFF: u64 = 10;

/// Failures to connect and resets are always tried again (GEP-1731, feature HTTPRouteRetryConnectionError).
pub(super) fn build(retries: &Retries) -> RetryPolicy {
    let on = ["connect-failure", "refused-stream", "reset"];
    let codes = (!retries.codes.is_empty()).then_some("retriable-status-codes");
    RetryPolicy {
        retry_on: on.into_iter().chain(codes).collect::<Vec<_>>().join(","),
        num_retries: Some(uint32(retries.attempts)),
        per_try_timeout: retries.attempt_timeout_millis.map(millis),
        retriable_status_codes: retries.codes.iter().copied().map(u32::from).collect(),
        retry_back_off: retries.backoff_millis.map(|base| RetryBackOff {
            base_interval: Some(millis(base)),
            max_interval: Some(millis(base.saturating_mul(MAX_BACKOFF))),
        }),
        ..Default::default()
    }
}

/// At most this share of a cluster's active requests may be retries (GEP-3388).
pub(super) fn budget(budget: &RetryBudget) -> CircuitBreakers {
    let bounds = thresholds::RetryBudget {
        budget_percent: Some(Percent { value: f64::from(budget.percent.min(100)) }),
        min_retry_concurrency: Some(uint32(budget.min_concurrent)),
        ..Default::default()
    };
    let thresholds = Thresholds { retry_budget: Some(bounds), ..Default::default() };
    CircuitBreakers { thresholds: vec![thresholds], ..Default::default() }
}
