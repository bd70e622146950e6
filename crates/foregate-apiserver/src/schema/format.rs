//! The `format` values that Kubernetes checks.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;

/// A format with a check. Others are only documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Byte,
    Cidr,
    Date,
    DateTime,
    Duration,
    Email,
    Hostname,
    Int32,
    Int64,
    Ipv4,
    Ipv6,
    Ip,
    Mac,
    Uri,
    Uuid,
    ShortName,
    LongName,
}

const NAMES: &[(&str, Format)] = &[
    ("byte", Format::Byte),
    ("cidr", Format::Cidr),
    ("date", Format::Date),
    ("date-time", Format::DateTime),
    ("datetime", Format::DateTime),
    ("duration", Format::Duration),
    ("email", Format::Email),
    ("hostname", Format::Hostname),
    ("int32", Format::Int32),
    ("int64", Format::Int64),
    ("ipv4", Format::Ipv4),
    ("ipv6", Format::Ipv6),
    ("ip", Format::Ip),
    ("mac", Format::Mac),
    ("uri", Format::Uri),
    ("uuid", Format::Uuid),
    ("k8s-short-name", Format::ShortName),
    ("k8s-long-name", Format::LongName),
];

impl Format {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
    }

    pub(crate) fn name(self) -> &'static str {
        NAMES.iter().find(|(_, format)| *format == self).map_or("", |(name, _)| name)
    }

    /// Whether `value` has this format. Values of other types are not this check's business.
    pub(crate) fn accepts(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Int32, Value::Number(n)) => {
                n.as_i64().is_none_or(|n| i32::try_from(n).is_ok()) && n.as_u64().is_none_or(|n| n <= i32::MAX as u64)
            }
            (Self::Int64, Value::Number(n)) => n.as_i64().is_some() || n.as_u64().is_none(),
            (Self::Int32 | Self::Int64, _) => true,
            (format, Value::String(text)) => format.accepts_text(text),
            _ => true,
        }
    }

    fn accepts_text(self, text: &str) -> bool {
        match self {
            Self::Byte => is_base64(text),
            Self::Cidr => is_cidr(text),
            Self::Date => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
            Self::DateTime => is_date_time(text),
            Self::Duration => is_duration(text),
            Self::Email => text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty()),
            Self::Hostname => is_hostname(text),
            Self::Int32 | Self::Int64 => true,
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Ip => text.parse::<std::net::IpAddr>().is_ok(),
            Self::Mac => is_mac(text),
            Self::Uri => is_uri(text),
            Self::Uuid => uuid::Uuid::try_parse(text).is_ok(),
            Self::ShortName => super::metadata::is_dns_label(text),
            Self::LongName => super::metadata::is_dns_subdomain(text),
        }
    }
}

fn is_base64(text: &str) -> bool {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let Ok(bits) = bits.parse::<u8>() else { return false };
    match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => bits <= 32,
        Ok(std::net::IpAddr::V6(_)) => bits <= 128,
        Err(_) => false,
    }
}

/// RFC 3339 with a zone; `T` between date and time.
pub(crate) fn is_date_time(text: &str) -> bool {
    text.as_bytes().get(10).is_some_and(|c| matches!(c, b'T' | b't')) && text.parse::<jiff::Timestamp>().is_ok()
}

/// Go's durations: `1h30m`, `1.5s`, `0`.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        if digits == 0 || rest[..digits].parse::<f64>().is_err() {
            return false;
        }
        rest = &rest[digits..];
        let Some(unit) = ["ns", "us", "µs", "ms", "h", "m", "s"].into_iter().find(|unit| rest.starts_with(unit))
        else {
            return false;
        };
        rest = &rest[unit.len()..];
    }
    true
}

fn is_hostname(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

fn is_mac(text: &str) -> bool {
    let separator = if text.contains(':') { ':' } else { '-' };
    let parts: Vec<&str> = text.split(separator).collect();
    matches!(parts.len(), 6 | 8 | 20)
        && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit()))
}

/// An absolute URI, or a path, as Go's `url.ParseRequestURI` takes it.
fn is_uri(text: &str) -> bool {
    if text.bytes().any(|c| c <= b' ' || c == 0x7f) {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    text.split_once(':').is_some_and(|(scheme, rest)| {
        !rest.is_empty()
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.'))
    })
}
