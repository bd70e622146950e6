//! `RetryPolicy`: when a request is sent again.

use std::time::Duration;

use foregate_envoy::pb::envoy::config::route::v3 as route;
use foregate_envoy::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use http::{HeaderMap, StatusCode};

use super::parts::{duration, number, optional_duration};
use super::refusal::{At, Refusal, nothing_left, unpack};

/// When, how often and how fast a request is sent again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    /// Nothing was sent: no connection.
    pub(crate) connect_failure: bool,
    /// The connection broke before a response began.
    pub(crate) reset: bool,
    /// The endpoint didn't look at the request: HTTP/2 only.
    pub(crate) refused: bool,
    /// 500 to 599, and resets.
    pub(crate) any_5xx: bool,
    /// 502, 503, 504.
    pub(crate) gateway_error: bool,
    /// 409.
    pub(crate) retriable_4xx: bool,
    /// These.
    pub(crate) statuses: Vec<u16>,
    /// These of gRPC, in a response's head.
    pub(crate) grpc_statuses: Vec<u8>,
    /// Never twice to the same endpoint, if there is another, even if the request belongs to it.
    pub(crate) not_again: bool,
    /// How many times at most, after the first.
    pub(crate) retries: u32,
    /// How long one try may take.
    pub(crate) per_try_timeout: Option<Duration>,
    /// Base of the exponential back-off.
    pub(crate) base_interval: Duration,
    /// Its end.
    pub(crate) max_interval: Duration,
}

/// Compiles a policy.
pub(crate) fn compile(mut message: route::RetryPolicy) -> Result<RetryPolicy, Refusal> {
    let mut policy = RetryPolicy {
        retries: number(&mut message.num_retries).unwrap_or(1),
        per_try_timeout: optional_duration(message.per_try_timeout.take(), "per_try_timeout")?
            .filter(|timeout| !timeout.is_zero()),
        base_interval: Duration::from_millis(25),
        max_interval: Duration::from_millis(250),
        ..RetryPolicy::default()
    };
    let codes = std::mem::take(&mut message.retriable_status_codes);
    for condition in std::mem::take(&mut message.retry_on).split(',').map(str::trim) {
        condition_into(&mut policy, condition, &codes).at("retry_on")?;
    }
    if let Some(back_off) = message.retry_back_off.take() {
        back_off_into(&mut policy, back_off).at("retry_back_off")?;
    }
    policy.not_again = not_again(std::mem::take(&mut message.retry_host_predicate))?;
    // How often Envoy tries to find such an endpoint; here it is found if there is one.
    message.host_selection_retry_max_attempts = 0;
    nothing_left(&message)?;
    Ok(policy)
}

/// The only predicate there is: not an endpoint that was tried before.
fn not_again(predicates: Vec<route::retry_policy::RetryHostPredicate>) -> Result<bool, Refusal> {
    use route::retry_policy::retry_host_predicate::ConfigType;
    let there = !predicates.is_empty();
    for (index, predicate) in predicates.into_iter().enumerate() {
        let field = format!("retry_host_predicate[{index}]");
        let Some(ConfigType::TypedConfig(any)) = predicate.config_type else {
            return Err(Refusal::field(format!("{field}.typed_config"), "must be set"));
        };
        let predicate: PreviousHostsPredicate = unpack(&any).at("typed_config").at(&field)?;
        nothing_left(&predicate).at("typed_config").at(&field)?;
    }
    Ok(there)
}

fn condition_into(policy: &mut RetryPolicy, condition: &str, codes: &[u32]) -> Result<(), Refusal> {
    match condition {
        "" => {}
        "5xx" => policy.any_5xx = true,
        "gateway-error" => policy.gateway_error = true,
        "reset" => policy.reset = true,
        "connect-failure" => policy.connect_failure = true,
        // Nothing can have been done: there was no connection, or the endpoint didn't look at the request.
        "reset-before-request" => (policy.connect_failure, policy.refused) = (true, true),
        "cancelled" => policy.grpc_statuses.push(1),
        "deadline-exceeded" => policy.grpc_statuses.push(4),
        "resource-exhausted" => policy.grpc_statuses.push(8),
        "internal" => policy.grpc_statuses.push(13),
        "unavailable" => policy.grpc_statuses.push(14),
        "retriable-4xx" => policy.retriable_4xx = true,
        "refused-stream" => policy.refused = true,
        "retriable-status-codes" => {
            for code in codes {
                let code = u16::try_from(*code).ok().filter(|code| (100..600).contains(code));
                policy.statuses.extend(Some(
                    code.ok_or_else(|| Refusal::new("retriable_status_codes holds something that isn't a status"))?,
                ));
            }
        }
        other => return Err(Refusal::new(format!("{other:?} is {}", super::refusal::UNSUPPORTED))),
    }
    Ok(())
}

fn back_off_into(policy: &mut RetryPolicy, mut message: route::retry_policy::RetryBackOff) -> Result<(), Refusal> {
    let base = message.base_interval.take().ok_or_else(|| Refusal::field("base_interval", "must be set"))?;
    policy.base_interval = duration(&base).at("base_interval")?.max(Duration::from_millis(1));
    policy.max_interval = optional_duration(message.max_interval.take(), "max_interval")?
        .unwrap_or(policy.base_interval.saturating_mul(10));
    if policy.max_interval < policy.base_interval {
        return Err(Refusal::field("max_interval", "must not be less than base_interval"));
    }
    nothing_left(&message)
}

impl RetryPolicy {
    /// Whether what an endpoint may have looked at is sent again, so that it has to be kept.
    pub(crate) fn resends(&self) -> bool {
        let on_response = self.retriable_4xx || !self.statuses.is_empty() || !self.grpc_statuses.is_empty();
        self.retries > 0 && (self.on_reset() || on_response)
    }

    /// Whether a response is tried again.
    pub(crate) fn on_response(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        self.on_status(status) || (!self.grpc_statuses.is_empty() && self.on_grpc_status(headers))
    }

    fn on_grpc_status(&self, headers: &HeaderMap) -> bool {
        let status = headers.get("grpc-status").and_then(|status| status.to_str().ok()?.parse().ok());
        status.is_some_and(|status| self.grpc_statuses.contains(&status))
    }

    fn on_status(&self, status: StatusCode) -> bool {
        let code = status.as_u16();
        (self.any_5xx && status.is_server_error())
            || (self.gateway_error && matches!(code, 502..=504))
            || (self.retriable_4xx && code == 409)
            || self.statuses.contains(&code)
    }

    /// Whether a failed connection attempt is tried again.
    pub(crate) fn on_connect_failure(&self) -> bool {
        self.connect_failure || self.any_5xx || self.gateway_error || self.reset
    }

    /// Whether a connection that broke, or a try that took too long, is tried again.
    pub(crate) fn on_reset(&self) -> bool {
        self.reset || self.any_5xx || self.gateway_error
    }

    /// Whether a request that an endpoint didn't look at is tried again.
    pub(crate) fn on_refused(&self) -> bool {
        self.refused || self.on_reset()
    }

    /// How long to wait before the nth retry (from 1): random, up to an exponentially growing bound.
    pub(crate) fn back_off(&self, retry: u32) -> Duration {
        let bound = self.base_interval.saturating_mul(2_u32.saturating_pow(retry.min(16)).saturating_sub(1));
        let bound = bound.min(self.max_interval).max(Duration::from_millis(1));
        bound.mul_f64(rand::random::<f64>())
    }
}
