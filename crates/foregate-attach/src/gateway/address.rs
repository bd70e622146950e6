//! Addresses that a Gateway asks for.

use std::net::IpAddr;

use foregate_api::gateway::GatewaySpecAddress;
use foregate_api::gateway::conditions::reason;

use crate::problem::Problem;

/// Whether the platform could give them.
pub(crate) fn check(addresses: &[GatewaySpecAddress]) -> Result<(), Problem> {
    for (i, address) in addresses.iter().enumerate() {
        let kind = address.kind.as_deref().unwrap_or("IPAddress");
        if kind != "IPAddress" {
            return Err(Problem::new(
                reason::UNSUPPORTED_ADDRESS,
                format!("spec.addresses[{i}]: type {kind:?} isn't supported; use IPAddress"),
            ));
        }
        if let Some(value) = given(address)
            && value.parse::<IpAddr>().is_err()
        {
            return Err(Problem::new(
                reason::UNSUPPORTED_ADDRESS,
                format!("spec.addresses[{i}]: {value:?} isn't an IP address"),
            ));
        }
    }
    Ok(())
}

/// The addresses asked for by value; the others leave the choice to the platform.
pub(crate) fn requested(addresses: &[GatewaySpecAddress]) -> Vec<String> {
    addresses.iter().filter_map(given).filter_map(|a| a.parse::<IpAddr>().ok()).map(|a| a.to_string()).collect()
}

fn given(address: &GatewaySpecAddress) -> Option<&str> {
    address.value.as_deref().filter(|value| !value.is_empty())
}
