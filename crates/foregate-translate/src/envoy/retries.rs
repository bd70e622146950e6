//! Retries, and how many of them there may be.

use foregate_api::backend::RetryBudget;
use foregate_envoy::pb::envoy::config::cluster::v3::CircuitBreakers;
use foregate_envoy::pb::envoy::config::cluster::v3::circuit_breakers::{Thresholds, thresholds};
use foregate_envoy::pb::envoy::config::route::v3::RetryPolicy;
use foregate_envoy::pb::envoy::config::route::v3::retry_policy::retry_host_predicate::ConfigType;
use foregate_envoy::pb::envoy::config::route::v3::retry_policy::{RetryBackOff, RetryHostPredicate};
use foregate_envoy::pb::envoy::r#type::v3::Percent;
use foregate_envoy::pb::google::protobuf::Any;

use super::common::{millis, uint32};
use crate::ir::Retries;

/// The longest wait is so many times the shortest (Envoy's own default).
const MAX_BACKOFF: u64 = 10;

/// How often Envoy looks for an endpoint that hasn't been tried yet.
const MOST_LOOKS: i64 = 5;
const PREVIOUS_HOSTS: &str = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate";

/// For routes that say nothing: what can't have reached an endpoint is tried once more, at another one where there is
/// one. So nobody gets a 503 from an endpoint that is gone or not there yet, and nothing is done twice.
pub(super) fn by_default() -> RetryPolicy {
    RetryPolicy {
        retry_on: "connect-failure,refused-stream".to_owned(),
        num_retries: Some(uint32(1)),
        retry_host_predicate: elsewhere(),
        host_selection_retry_max_attempts: MOST_LOOKS,
        ..Default::default()
    }
}

/// Failures to connect and resets are always tried again (GEP-1731, feature HTTPRouteRetryConnectionError), unless
/// nothing is.
pub(super) fn build(retries: &Retries) -> RetryPolicy {
    if retries.attempts == 0 {
        return RetryPolicy { num_retries: Some(uint32(0)), ..Default::default() };
    }
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
        retry_host_predicate: elsewhere(),
        host_selection_retry_max_attempts: MOST_LOOKS,
        ..Default::default()
    }
}

/// Not an endpoint that was tried before, as long as there is another.
fn elsewhere() -> Vec<RetryHostPredicate> {
    let predicate = Any { type_url: PREVIOUS_HOSTS.to_owned(), ..Default::default() };
    let name = "envoy.retry_host_predicates.previous_hosts".to_owned();
    vec![RetryHostPredicate { name, config_type: Some(ConfigType::TypedConfig(predicate)) }]
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
