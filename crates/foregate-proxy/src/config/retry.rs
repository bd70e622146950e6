//! `RetryPolicy`: when a request is sent again.

use std::time::Duration;

use foregate_envoy::pb::envoy::config::route::v3 as route;
use http::StatusCode;

use super::parts::{duration, number, optional_duration};
use super::refusal::{At, Refusal, nothing_left};

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
    // How often Envoy's host selection tries again is about predicates, which aren't supported.
    nothing_left(&message)?;
    Ok(policy)
}

fn condition_into(policy: &mut RetryPolicy, condition: &str, codes: &[u32]) -> Result<(), Refusal> {
    match condition {
        "" => {}
        "5xx" => policy.any_5xx = true,
        "gateway-error" => policy.gateway_error = true,
        "reset" | "reset-before-request" => policy.reset = true,
        "connect-failure" => policy.connect_failure = true,
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
    /// Whether a response with this status is tried again.
    pub(crate) fn on_status(&self, status: StatusCode) -> bool {
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
