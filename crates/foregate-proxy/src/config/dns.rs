//! How a cluster's host names are resolved: `dns_lookup_family`, `dns_refresh_rate` and their like.

use std::net::IpAddr;
use std::time::Duration;

use foregate_envoy::pb::envoy::config::cluster::v3 as cluster;

use super::endpoints::{self, LoadAssignment, Names};
use super::parts::{duration, optional_duration};
use super::refusal::{At, Refusal, nothing_left};

/// Envoy's default.
const REFRESH: Duration = Duration::from_secs(5);
/// Names are looked up no more often, whatever is configured.
const SHORTEST: Duration = Duration::from_millis(100);
/// And no less often: an address that moved is found some time.
const LONGEST: Duration = Duration::from_secs(3600);

/// Which addresses of a name are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Those of the kind that the system puts first: it knows which it can reach. (Envoy: IPv6 if there is any.)
    System,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// IPv4 if there is any, else IPv6.
    V4Preferred,
    /// All.
    All,
}

impl Family {
    /// The addresses that are used.
    pub(crate) fn choose(self, all: Vec<IpAddr>) -> Vec<IpAddr> {
        let v4 = match (self, all.first()) {
            (Self::All, _) | (_, None) => return all,
            (Self::System, Some(first)) => first.is_ipv4(),
            (Self::V4, _) => true,
            (Self::V6, _) => false,
            (Self::V4Preferred, _) => all.iter().any(IpAddr::is_ipv4),
        };
        all.into_iter().filter(|address| address.is_ipv4() == v4).collect()
    }
}

/// How names are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dns {
    /// Only the first address of a name is used (LOGICAL_DNS).
    pub(crate) logical: bool,
    /// Which addresses.
    pub(crate) family: Family,
    /// Time between two lookups.
    pub(crate) refresh: Duration,
    /// Time to the first lookup after one that failed; it doubles with each.
    pub(crate) after_failure: Duration,
    /// But isn't longer than this.
    pub(crate) after_failures: Duration,
}

/// Takes what a cluster with names says.
#[allow(deprecated, reason = "its successor, a cluster type of its own, is newer than many who write these")]
pub(super) fn take(message: &mut cluster::Cluster, logical: bool) -> Result<(Dns, LoadAssignment), Refusal> {
    let load = message.load_assignment.take();
    let load = load.ok_or_else(|| Refusal::field("load_assignment", "must be set"))?;
    let assignment = endpoints::compile(load, Names::Resolved).at("load_assignment")?;
    if logical && assignment.len() != 1 {
        return Err(Refusal::field("load_assignment", "must have exactly one endpoint with LOGICAL_DNS"));
    }
    let refresh = bounded(message.dns_refresh_rate.take(), "dns_refresh_rate")?.unwrap_or(REFRESH);
    let (after_failure, after_failures) = match message.dns_failure_refresh_rate.take() {
        Some(rate) => failure_rate(rate).at("dns_failure_refresh_rate")?,
        None => (refresh, refresh),
    };
    // Lookups are spread over a tenth of their interval in any case.
    message.dns_jitter = None;
    Ok((Dns { logical, family: family(message)?, refresh, after_failure, after_failures }, assignment))
}

fn bounded(
    value: Option<foregate_envoy::pb::google::protobuf::Duration>,
    field: &str,
) -> Result<Option<Duration>, Refusal> {
    Ok(optional_duration(value, field)?.map(|rate| rate.clamp(SHORTEST, LONGEST)))
}

fn failure_rate(mut rate: cluster::cluster::RefreshRate) -> Result<(Duration, Duration), Refusal> {
    let base = rate.base_interval.take().ok_or_else(|| Refusal::field("base_interval", "must be set"))?;
    let base = duration(&base).at("base_interval")?.clamp(SHORTEST, LONGEST);
    let most = bounded(rate.max_interval.take(), "max_interval")?.unwrap_or(base.saturating_mul(10));
    nothing_left(&rate)?;
    if most < base {
        return Err(Refusal::field("max_interval", "must not be less than base_interval"));
    }
    Ok((base, most))
}

fn family(message: &mut cluster::Cluster) -> Result<Family, Refusal> {
    use cluster::cluster::DnsLookupFamily as Wire;
    match Wire::try_from(std::mem::take(&mut message.dns_lookup_family)) {
        Ok(Wire::Auto) => Ok(Family::System),
        Ok(Wire::V4Only) => Ok(Family::V4),
        Ok(Wire::V6Only) => Ok(Family::V6),
        Ok(Wire::V4Preferred) => Ok(Family::V4Preferred),
        Ok(Wire::All) => Ok(Family::All),
        Err(_) => Err(Refusal::field("dns_lookup_family", "isn't a known value")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn families() {
        let both = ["::1", "10.0.0.1", "::2"];
        for (family, all, want) in [
            (Family::System, &both[..], &["::1", "::2"][..]),
            (Family::System, &["10.0.0.1", "::1"], &["10.0.0.1"]),
            (Family::V4, &both, &["10.0.0.1"]),
            (Family::V6, &both, &["::1", "::2"]),
            (Family::V4Preferred, &both, &["10.0.0.1"]),
            (Family::V4Preferred, &["::1"], &["::1"]),
            (Family::All, &both, &both),
            (Family::V4, &[], &[]),
        ] {
            let parse = |texts: &[&str]| -> Vec<IpAddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
            assert_eq!(family.choose(parse(all)), parse(want), "{family:?} of {all:?}");
        }
    }
}
