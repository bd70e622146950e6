//! `OutlierDetection`: endpoints that fail again and again are left out for a while.

use std::time::Duration;

use foregate_envoy::pb::envoy::config::cluster::v3 as cluster;
use foregate_envoy::pb::google::protobuf::UInt32Value;

use super::parts::{boolean, number, optional_duration};
use super::refusal::{Refusal, nothing_left};

/// When, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outlier {
    /// After so many answers of 5xx, or none, in a row.
    pub(crate) failures: Option<u32>,
    /// After so many answers of 502, 503 or 504, or none, in a row.
    pub(crate) gateway_failures: Option<u32>,
    /// The first time; the second time twice as long, and so on.
    pub(crate) base: Duration,
    /// But not longer.
    pub(crate) longest: Duration,
    /// After so long without being left out, one time is forgotten.
    pub(crate) interval: Duration,
    /// At most this share of all endpoints at a time.
    pub(crate) most_percent: u32,
    /// One may be in any case.
    pub(crate) always_one: bool,
}

/// Compiles it. Endpoints aren't compared with each other here: who wants that is told so.
pub(crate) fn compile(mut message: cluster::OutlierDetection) -> Result<Outlier, Refusal> {
    match number(&mut message.enforcing_success_rate) {
        Some(0) => {}
        _ => return Err(Refusal::field("enforcing_success_rate", "must be 0: success rates are not compared")),
    }
    if number(&mut message.enforcing_failure_percentage).is_some_and(|percent| percent > 0) {
        return Err(Refusal::unsupported("enforcing_failure_percentage"));
    }
    // How what isn't done would be done.
    message.success_rate_minimum_hosts = None;
    message.success_rate_request_volume = None;
    message.success_rate_stdev_factor = None;
    message.failure_percentage_threshold = None;
    message.failure_percentage_minimum_hosts = None;
    message.failure_percentage_request_volume = None;
    let failures = number(&mut message.consecutive_5xx).unwrap_or(5);
    let gateway_failures = number(&mut message.consecutive_gateway_failure).unwrap_or(5);
    let base = optional_duration(message.base_ejection_time.take(), "base_ejection_time")?;
    let base = base.unwrap_or(Duration::from_secs(30));
    let longest = optional_duration(message.max_ejection_time.take(), "max_ejection_time")?;
    let interval = optional_duration(message.interval.take(), "interval")?.unwrap_or(Duration::from_secs(10));
    let outlier = Outlier {
        failures: enforced(&mut message.enforcing_consecutive_5xx, true, "enforcing_consecutive_5xx")?
            .then_some(failures.max(1)),
        gateway_failures: enforced(
            &mut message.enforcing_consecutive_gateway_failure,
            false,
            "enforcing_consecutive_gateway_failure",
        )?
        .then_some(gateway_failures.max(1)),
        base,
        longest: longest.unwrap_or(Duration::from_secs(300)).max(base),
        interval,
        most_percent: number(&mut message.max_ejection_percent).unwrap_or(10),
        always_one: boolean(&mut message.always_eject_one_host).unwrap_or(false),
    };
    nothing_left(&message)?;
    Ok(outlier)
}

/// All or nothing.
fn enforced(percent: &mut Option<UInt32Value>, default: bool, field: &str) -> Result<bool, Refusal> {
    match number(percent) {
        None => Ok(default),
        Some(0) => Ok(false),
        Some(100) => Ok(true),
        Some(_) => Err(Refusal::field(field, "must be 0 or 100")),
    }
}
