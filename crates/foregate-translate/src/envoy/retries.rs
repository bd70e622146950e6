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

/// A cluster's limits: only those that somebody has asked for. Envoy's own are 1024 connections, and as many sessions of
/// UDP and waiting requests, and three retries at once: a busy backend would be refused requests that it can answer.
pub(super) fn limits(budget: Option<&RetryBudget>) -> CircuitBreakers {
    let none = || Some(uint32(u32::MAX));
    // At most this share of the active requests may be retries (GEP-3388).
    let bounds = budget.map(|budget| thresholds::RetryBudget {
        budget_percent: Some(Percent { value: f64::from(budget.percent.min(100)) }),
        min_retry_concurrency: Some(uint32(budget.min_concurrent)),
        ..Default::default()
    });
    let thresholds = Thresholds {
        max_connections: none(),
        max_pending_requests: none(),
        max_requests: none(),
        max_retries: if bounds.is_none() { none() } else { None },
        retry_budget: bounds,
        ..Default::default()
    };
    CircuitBreakers { thresholds: vec![thresholds], ..Default::default() }
}
