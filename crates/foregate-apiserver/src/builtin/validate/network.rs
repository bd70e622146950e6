//! Services and EndpointSlices.

use serde_json::Value;

use super::unsupported;
use crate::schema::{FieldError, FieldErrorKind, is_dns_label, is_dns_subdomain};

/// A Service.
pub(super) fn service(new: &Value, errors: &mut Vec<FieldError>) {
    const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    const AFFINITIES: &[&str] = &["ClientIP", "None"];
    let spec = new.get("spec").unwrap_or(&Value::Null);
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default();
    if !TYPES.contains(&kind) {
        errors.push(unsupported("spec.type".into(), &kind.into(), TYPES));
    }
    if let Some(affinity) = spec.get("sessionAffinity").filter(|value| !AFFINITIES.iter().any(|name| *value == name)) {
        errors.push(unsupported("spec.sessionAffinity".into(), affinity, AFFINITIES));
    }
    if let Some(address) = spec.get("clusterIP").and_then(Value::as_str)
        && !matches!(address, "" | "None")
        && address.parse::<std::net::IpAddr>().is_err()
    {
        errors.push(FieldError::invalid(
            "spec.clusterIP",
            &address.into(),
            "must be empty, 'None', or a valid IP address",
        ));
    }
    let ports = spec.get("ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let headless = spec.get("clusterIP").is_some_and(|address| address == "None");
    if kind == "ExternalName" {
        let name = spec.get("externalName").and_then(Value::as_str).unwrap_or_default();
        if !is_dns_subdomain(name.trim_end_matches('.')) {
            errors.push(FieldError::invalid(
                "spec.externalName",
                &name.into(),
                "must be a lowercase RFC 1123 hostname",
            ));
        }
    } else if ports.is_empty() && !headless {
        errors.push(FieldError::required("spec.ports", ""));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        number(&field, port, "port", 1, errors);
        let name = port.get("name").and_then(Value::as_str).unwrap_or_default();
        service_port(&field, port, name, ports.len() > 1, errors);
        if !name.is_empty() && seen.contains(&name) {
            errors.push(FieldError::new(FieldErrorKind::Duplicate, format_args!("{field}.name"), &name.into(), ""));
        }
        seen.push(name);
    }
}

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

fn service_port(field: &str, port: &Value, name: &str, named: bool, errors: &mut Vec<FieldError>) {
    if name.is_empty() && named {
        errors.push(FieldError::required(format_args!("{field}.name"), ""));
    } else if !name.is_empty() && !is_dns_label(name) {
        errors.push(FieldError::invalid(
            format_args!("{field}.name"),
            &name.into(),
            "must be a lowercase RFC 1123 label",
        ));
    }
    let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
    if !PROTOCOLS.contains(&protocol) {
        errors.push(unsupported(format!("{field}.protocol"), &protocol.into(), PROTOCOLS));
    }
    match port.get("targetPort") {
        Some(Value::Number(_)) => number(field, port, "targetPort", 1, errors),
        Some(target @ Value::String(text)) if text.is_empty() || text.len() > 15 || !is_dns_label(text) => {
            let detail = "must be an IANA service name: at most 15 lower case letters, digits and '-'";
            errors.push(FieldError::invalid(format_args!("{field}.targetPort"), target, detail));
        }
        _ => {}
    }
}

fn number(field: &str, port: &Value, name: &str, least: i64, errors: &mut Vec<FieldError>) {
    let Some(value) = port.get(name) else { return };
    if !value.as_i64().is_some_and(|number| (least..=65535).contains(&number)) {
        let detail = format!("must be between {least} and 65535, inclusive");
        errors.push(FieldError::invalid(format_args!("{field}.{name}"), value, detail));
    }
}

/// Loopback addresses are fine here: on the embedded API they are how one reaches local servers.
pub(super) fn endpoint_slice(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    const TYPES: &[&str] = &["FQDN", "IPv4", "IPv6"];
    let kind = new.get("addressType").and_then(Value::as_str).unwrap_or_default();
    if kind.is_empty() {
        errors.push(FieldError::required("addressType", ""));
    } else if !TYPES.contains(&kind) {
        errors.push(unsupported("addressType".into(), &kind.into(), TYPES));
    }
    if old.is_some_and(|old| old.get("addressType") != new.get("addressType")) {
        errors.push(FieldError::invalid("addressType", &kind.into(), "field is immutable"));
    }
    let endpoints = new.get("endpoints").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if endpoints.len() > 1000 {
        errors.push(FieldError::new(
            FieldErrorKind::TooMany,
            "endpoints",
            &endpoints.len().into(),
            "must have at most 1000 items",
        ));
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        addresses(index, endpoint, kind, errors);
    }
    let ports = new.get("ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (index, port) in ports.iter().enumerate() {
        let field = format!("ports[{index}]");
        number(&field, port, "port", 1, errors);
        let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
        if !PROTOCOLS.contains(&protocol) {
            errors.push(unsupported(format!("{field}.protocol"), &protocol.into(), PROTOCOLS));
        }
        let name = port.get("name").and_then(Value::as_str).unwrap_or_default();
        if !name.is_empty() && !is_dns_label(name) {
            errors.push(FieldError::invalid(
                format_args!("{field}.name"),
                &name.into(),
                "must be a lowercase RFC 1123 label",
            ));
        }
        if ports[..index].iter().any(|before| before.get("name").and_then(Value::as_str).unwrap_or_default() == name) {
            errors.push(FieldError::new(FieldErrorKind::Duplicate, format_args!("{field}.name"), &name.into(), ""));
        }
    }
}

fn addresses(index: usize, endpoint: &Value, kind: &str, errors: &mut Vec<FieldError>) {
    let list = endpoint.get("addresses").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if list.is_empty() {
        errors.push(FieldError::required(
            format_args!("endpoints[{index}].addresses"),
            "must contain at least 1 address",
        ));
    }
    if list.len() > 100 {
        let field = format!("endpoints[{index}].addresses");
        errors.push(FieldError::new(FieldErrorKind::TooMany, field, &list.len().into(), "must have at most 100 items"));
    }
    for (at, address) in list.iter().enumerate() {
        let text = address.as_str().unwrap_or_default();
        let (fits, wanted) = match kind {
            "IPv4" => (text.parse::<std::net::Ipv4Addr>().is_ok(), "must be a valid IPv4 address"),
            "IPv6" => (text.parse::<std::net::Ipv6Addr>().is_ok(), "must be a valid IPv6 address"),
            _ => (is_dns_subdomain(text), "must be a fully qualified domain name"),
        };
        if !fits {
            let field = format!("endpoints[{index}].addresses[{at}]");
            errors.push(FieldError::invalid(field, address, wanted));
        }
    }
}
