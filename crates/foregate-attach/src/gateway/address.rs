//! Addresses that a Gateway asks for, those that it has, and where they can be reached from (GEP-5093).

use std::net::IpAddr;

use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{GatewaySpecAddress, GatewayStatusAddress};

use crate::problem::Problem;

/// The one value that is taken and reported: it means nothing. No other is given, and the feature isn't claimed: what a
/// gateway's addresses can be reached from is up to the network that they are in.
const SENTINEL: &str = "testing.x-k8s.io/sentinel";

/// Whether the platform could give any of them.
pub(crate) fn check(addresses: &[GatewaySpecAddress]) -> Result<(), Problem> {
    let unsupported = |message| Err(Problem::new(reason::UNSUPPORTED_ADDRESS, message));
    for (i, address) in addresses.iter().enumerate() {
        let kind = address.kind.as_deref().unwrap_or("IPAddress");
        if kind != "IPAddress" {
            return unsupported(format!("spec.addresses[{i}]: type {kind:?} isn't supported; use IPAddress"));
        }
        if let Some(value) = given(address)
            && value.parse::<IpAddr>().is_err()
        {
            return unsupported(format!("spec.addresses[{i}]: {value:?} isn't an IP address"));
        }
    }
    let mut unroutable = addresses.iter().filter(|address| !is_routable(address));
    match unroutable.next() {
        Some(first) if addresses.iter().all(|address| !is_routable(address)) => {
            let asked = routability(first);
            unsupported(format!("spec.addresses: routability {asked:?} isn't supported; leave it to the platform"))
        }
        _ => Ok(()),
    }
}

/// The addresses asked for by value; the others leave the choice to the platform.
pub(crate) fn requested(addresses: &[GatewaySpecAddress]) -> Vec<String> {
    let routable = addresses.iter().filter(|address| is_routable(address));
    routable.filter_map(parsed).map(|address| address.to_string()).collect()
}

/// What became of what a Gateway asks for.
pub(super) struct Assignment {
    /// Those that it has.
    pub addresses: Vec<GatewayStatusAddress>,
    /// Whether everything asked for is there; none: nothing is known yet.
    pub outcome: Option<Result<(), Problem>>,
}

/// Compares what is asked for with the addresses that the gateway has. `is_final`: there will be no others.
pub(super) fn assigned(asked: &[GatewaySpecAddress], has: &[String], is_final: bool) -> Assignment {
    let mut free: Vec<(&String, &str)> = has.iter().map(|address| (address, "")).collect();
    let (mut taken, mut missing) = (Vec::new(), Vec::new());
    // Who asks for a certain address has it before who takes any.
    let (certain, any): (Vec<_>, Vec<_>) = asked.iter().enumerate().partition(|(_, a)| given(a).is_some());
    for (i, entry) in certain.into_iter().chain(any) {
        let wanted = parsed(entry);
        let is_it = |(address, _): &(&String, &str)| wanted.is_none_or(|w| address.parse() == Ok(w));
        match free.iter().position(is_it).filter(|_| is_routable(entry)) {
            Some(at) => taken.push((free.remove(at).0, routability(entry))),
            None => missing.push(i),
        }
    }
    let found = taken.len();
    taken.append(&mut free);
    let reports = asked.iter().any(|address| address.routability.is_some());
    let addresses = taken.into_iter().map(|(address, routability)| GatewayStatusAddress {
        kind: Some("IPAddress".to_owned()),
        value: address.clone(),
        routability: reports.then(|| routability.to_owned()),
    });
    let addresses: Vec<GatewayStatusAddress> = addresses.collect();
    missing.sort_unstable();
    let outcome = match addresses.is_empty() {
        true if !is_final => None,
        true => {
            Some(Err(Problem::new(reason::NOT_ASSIGNED, "the gateway has no address; see the condition Programmed")))
        }
        false if missing.is_empty() => Some(Ok(())),
        false => {
            let which: Vec<String> = missing.iter().map(|i| format!("spec.addresses[{i}]")).collect();
            let reason = if found == 0 { reason::NOT_ASSIGNED } else { reason::PARTIALLY_ASSIGNED };
            Some(Err(Problem::new(reason, format!("not assigned: {}", which.join(", ")))))
        }
    };
    Assignment { addresses, outcome }
}

fn given(address: &GatewaySpecAddress) -> Option<&str> {
    address.value.as_deref().filter(|value| !value.is_empty())
}

fn parsed(address: &GatewaySpecAddress) -> Option<IpAddr> {
    given(address)?.parse().ok()
}

fn routability(address: &GatewaySpecAddress) -> &str {
    address.routability.as_deref().unwrap_or_default()
}

fn is_routable(address: &GatewaySpecAddress) -> bool {
    matches!(routability(address), "" | SENTINEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(value: &str, routability: &str) -> GatewaySpecAddress {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        GatewaySpecAddress { kind: None, value: some(value), routability: some(routability) }
    }

    #[test]
    fn what_is_asked_for_and_what_is_there() {
        let (any, one, other) = (ask("", ""), ask("10.0.0.1", ""), ask("10.0.0.2", ""));
        let (sentinel, cluster) = (ask("", SENTINEL), ask("", "Cluster"));
        for (asked, has, expected, outcome) in [
            (vec![], vec!["10.0.0.1"], vec![("10.0.0.1", None)], "AddressesAssigned"),
            (vec![], vec![], vec![], "-"),
            (vec![any.clone()], vec!["10.0.0.9"], vec![("10.0.0.9", None)], "AddressesAssigned"),
            (vec![any.clone(), one.clone()], vec!["10.0.0.1"], vec![("10.0.0.1", None)], "PartiallyAssigned: [0]"),
            (
                vec![any.clone(), one.clone()],
                vec!["10.0.0.1", "10.0.0.9"],
                vec![("10.0.0.1", None), ("10.0.0.9", None)],
                "AddressesAssigned",
            ),
            (vec![one.clone(), other], vec!["10.0.0.2"], vec![("10.0.0.2", None)], "PartiallyAssigned: [0]"),
            (vec![one], vec!["10.0.0.2"], vec![("10.0.0.2", None)], "NotAssigned: [0]"),
            (vec![sentinel], vec!["10.0.0.1"], vec![("10.0.0.1", Some(SENTINEL))], "AddressesAssigned"),
            (vec![cluster, any], vec!["10.0.0.1"], vec![("10.0.0.1", Some(""))], "PartiallyAssigned: [0]"),
        ] {
            let has: Vec<String> = has.into_iter().map(str::to_owned).collect();
            let found = assigned(&asked, &has, false);
            let shown: Vec<_> = found.addresses.iter().map(|a| (a.value.as_str(), a.routability.as_deref())).collect();
            assert_eq!(shown, expected, "{asked:?}");
            let said = match &found.outcome {
                None => "-".to_owned(),
                Some(Ok(())) => "AddressesAssigned".to_owned(),
                Some(Err(problem)) => {
                    format!("{}: {}", problem.reason, problem.message.replace("not assigned: spec.addresses", ""))
                }
            };
            assert_eq!(said, outcome, "{asked:?}");
        }
    }

    #[test]
    fn what_can_not_be_given_at_all_is_refused() {
        for (asked, refused) in [
            (vec![], false),
            (vec![ask("", "")], false),
            (vec![ask("", SENTINEL)], false),
            (vec![ask("", "Cluster")], true),
            (vec![ask("", "Cluster"), ask("", "example.com/vpc")], true),
            (vec![ask("", "Cluster"), ask("", "")], false),
            (vec![ask("host.test", "")], true),
        ] {
            assert_eq!(check(&asked).is_err(), refused, "{asked:?}");
        }
        assert_eq!(requested(&[ask("10.0.0.1", "Cluster"), ask("::1", ""), ask("", "")]), ["::1"]);
    }
}
