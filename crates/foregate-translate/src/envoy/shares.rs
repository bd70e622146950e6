//! Shares that need a route each. Envoy's weighted clusters can change headers and the host, not the path.

use foregate_envoy::pb::envoy::config::core::v3::RuntimeFractionalPercent;

use super::mirror::fraction;
use crate::ir::{Destination, Forward};

/// One part per destination, with the requests that it takes of those that come to it: an engine draws one number per
/// request and compares it with each route's share, so that shares add up. The last takes what is left.
pub(super) fn split(to: &Forward) -> Vec<(Forward, Option<RuntimeFractionalPercent>)> {
    let sum: u64 = to.destinations.iter().map(|destination| u64::from(destination.weight)).sum();
    let mut before = 0;
    let mut parts = Vec::with_capacity(to.destinations.len());
    for (index, destination) in to.destinations.iter().enumerate() {
        before += u64::from(destination.weight);
        let is_last = index + 1 == to.destinations.len();
        let share = (!is_last)
            .then(|| RuntimeFractionalPercent { default_value: Some(fraction(before, sum)), ..Default::default() });
        parts.push((part(to, destination), share));
    }
    parts
}

/// All of the requests, to one destination.
fn part(to: &Forward, destination: &Destination) -> Forward {
    let mut destination = destination.clone();
    let mut part = Forward { destinations: Vec::new(), ..to.clone() };
    part.path = destination.path.take().or(part.path);
    part.cors = destination.cors.take().or(part.cors);
    part.mirrors.append(&mut destination.mirrors);
    part.destinations.push(destination);
    part
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn shares_add_up() {
        let destination = |weight| Destination {
            cluster: None,
            weight,
            hostname: None,
            request_headers: Default::default(),
            response_headers: Default::default(),
            path: None,
            mirrors: Vec::new(),
            cors: None,
            session: None,
        };
        let destinations = [1, 2, 1_000_000, 1].map(destination).into();
        let parts = split(&Forward { destinations, ..Forward::default() });
        let shares: Vec<Option<u32>> =
            parts.iter().map(|(_, share)| Some(share.as_ref()?.default_value.as_ref()?.numerator)).collect();
        assert_eq!(shares, [Some(1), Some(3), Some(999_999), None]);
        assert!(parts.iter().all(|(part, _)| part.destinations.len() == 1));
    }
}
