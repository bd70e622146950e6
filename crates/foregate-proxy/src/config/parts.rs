//! Small messages that many others hold.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use foregate_envoy::pb::envoy::r#type::matcher::v3 as matcher;
use foregate_envoy::pb::envoy::r#type::v3::FractionalPercent;
use foregate_envoy::pb::google::protobuf as wkt;
use regex::Regex;

use super::refusal::{At, Refusal, nothing_left};
use crate::routing::matchers::{Fraction, TextMatch, TextMatcher};

/// The longest duration of protobuf, 10,000 years: longer ones would overflow clocks.
const LONGEST: u64 = 315_576_000_000;

/// A duration, 0 or more.
pub(crate) fn duration(value: &wkt::Duration) -> Result<Duration, Refusal> {
    match (u64::try_from(value.seconds), u32::try_from(value.nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 && seconds <= LONGEST => Ok(Duration::new(seconds, nanos)),
        _ => Err(Refusal::new("must be from 0 to 10,000 years")),
    }
}

/// An optional duration.
pub(crate) fn optional_duration(value: Option<wkt::Duration>, field: &str) -> Result<Option<Duration>, Refusal> {
    value.map(|value| duration(&value).at(field)).transpose()
}

/// A duration that is disabled by 0, with a default: `None` means disabled.
pub(crate) fn timeout(
    value: Option<wkt::Duration>,
    default: Option<Duration>,
    field: &str,
) -> Result<Option<Duration>, Refusal> {
    match optional_duration(value, field)? {
        None => Ok(default),
        Some(Duration::ZERO) => Ok(None),
        set => Ok(set),
    }
}

/// Sets of resources come over the stream that this one came over, in version 3.
pub(crate) fn ads(source: Option<core::ConfigSource>) -> Result<(), Refusal> {
    use core::config_source::ConfigSourceSpecifier as Specifier;
    let mut source = source.ok_or_else(|| Refusal::new("must be set"))?;
    match source.config_source_specifier.take() {
        Some(Specifier::Ads(ads)) => nothing_left(&ads).at("ads")?,
        Some(Specifier::Self_(own)) => {
            // The protocol version that the referring resource came by; there is only this one.
            let version = own.transport_api_version;
            if version != core::ApiVersion::Auto as i32 && version != core::ApiVersion::V3 as i32 {
                return Err(Refusal::field("self.transport_api_version", "only V3 is spoken"));
            }
        }
        _ => return Err(Refusal::new("only ads is supported by the built-in engine")),
    }
    let version = std::mem::take(&mut source.resource_api_version);
    if version != core::ApiVersion::Auto as i32 && version != core::ApiVersion::V3 as i32 {
        return Err(Refusal::field("resource_api_version", "only V3 is spoken"));
    }
    // How long to wait for the first answer: the server answers every subscription at once.
    source.initial_fetch_timeout = None;
    nothing_left(&source)
}

/// An IP address and a TCP port.
pub(crate) fn socket_address(address: Option<core::Address>) -> Result<SocketAddr, Refusal> {
    use core::address::Address;
    use core::socket_address::PortSpecifier;
    let mut socket = match address.and_then(|a| a.address) {
        Some(Address::SocketAddress(socket)) => socket,
        Some(Address::Pipe(_)) => return Err(Refusal::unsupported("pipe")),
        Some(Address::EnvoyInternalAddress(_)) => return Err(Refusal::unsupported("envoy_internal_address")),
        None => return Err(Refusal::new("must be set")),
    };
    let result: Result<SocketAddr, Refusal> = (|| {
        let ip: IpAddr = std::mem::take(&mut socket.address)
            .parse()
            .map_err(|_| Refusal::field("address", "must be an IP address"))?;
        let port = match socket.port_specifier.take() {
            Some(PortSpecifier::PortValue(port)) => {
                u16::try_from(port).map_err(|_| Refusal::field("port_value", "must be at most 65535"))?
            }
            Some(PortSpecifier::NamedPort(_)) => return Err(Refusal::unsupported("named_port")),
            None => return Err(Refusal::field("port_value", "must be set")),
        };
        nothing_left(&socket)?;
        Ok(SocketAddr::new(ip, port))
    })();
    result.at("socket_address")
}

/// An expression that must match a whole text. RE2's syntax, which is a subset of what is compiled here.
pub(crate) fn whole_regex(regex: matcher::RegexMatcher) -> Result<Regex, Refusal> {
    compile_regex(regex, |text| format!("^(?:{text})$"))
}

/// An expression that is looked for in a text.
pub(crate) fn partial_regex(regex: matcher::RegexMatcher) -> Result<Regex, Refusal> {
    compile_regex(regex, str::to_owned)
}

fn compile_regex(mut regex: matcher::RegexMatcher, dress: impl Fn(&str) -> String) -> Result<Regex, Refusal> {
    let text = std::mem::take(&mut regex.regex);
    // Google RE2 is the only engine there is to choose, with no option that changes an answer.
    regex.engine_type = None;
    nothing_left(&regex)?;
    regex::RegexBuilder::new(&dress(&text))
        .size_limit(1 << 20)
        .build()
        .map_err(|e| Refusal::field("regex", format!("not a valid regular expression: {}", last_line(&e))))
}

fn last_line(error: &regex::Error) -> String {
    error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// A text matcher.
pub(crate) fn text_matcher(mut message: matcher::StringMatcher) -> Result<TextMatcher, Refusal> {
    use matcher::string_matcher::MatchPattern as Pattern;
    let ignore_case = std::mem::take(&mut message.ignore_case);
    let fold = |text: String| -> Box<str> { if ignore_case { text.to_ascii_lowercase().into() } else { text.into() } };
    let kind = match message.match_pattern.take() {
        Some(Pattern::Exact(text)) => TextMatch::Exact(fold(text)),
        Some(Pattern::Prefix(text)) => TextMatch::Prefix(fold(text)),
        Some(Pattern::Suffix(text)) => TextMatch::Suffix(fold(text)),
        Some(Pattern::Contains(text)) => TextMatch::Contains(fold(text)),
        Some(Pattern::SafeRegex(regex)) => {
            if ignore_case {
                return Err(Refusal::field("ignore_case", "has no meaning with safe_regex"));
            }
            TextMatch::Regex(whole_regex(regex).at("safe_regex")?)
        }
        Some(Pattern::Custom(_)) => return Err(Refusal::unsupported("custom")),
        None => return Err(Refusal::new("must say what to match")),
    };
    nothing_left(&message)?;
    Ok(TextMatcher { kind, ignore_case })
}

/// A share of requests; the runtime key is ignored, as there is no runtime to override the default with.
pub(crate) fn runtime_fraction(mut message: core::RuntimeFractionalPercent) -> Result<Fraction, Refusal> {
    let value = message.default_value.take().ok_or_else(|| Refusal::field("default_value", "must be set"))?;
    if !std::mem::take(&mut message.runtime_key).is_empty() {
        return Err(Refusal::unsupported("runtime_key"));
    }
    nothing_left(&message)?;
    fraction(&value).at("default_value")
}

fn fraction(value: &FractionalPercent) -> Result<Fraction, Refusal> {
    let denominator = match value.denominator {
        0 => 100,
        1 => 10_000,
        2 => 1_000_000,
        _ => return Err(Refusal::field("denominator", "isn't a known value")),
    };
    Ok(Fraction { numerator: value.numerator, denominator })
}

/// Text or bytes that the message itself holds; files and environment variables belong to the machine.
pub(crate) fn inline_data(mut source: core::DataSource) -> Result<Vec<u8>, Refusal> {
    use core::data_source::Specifier;
    let data = match source.specifier.take() {
        Some(Specifier::InlineBytes(bytes)) => bytes,
        Some(Specifier::InlineString(text)) => text.into_bytes(),
        Some(Specifier::Filename(_)) => return Err(Refusal::unsupported("filename")),
        Some(Specifier::EnvironmentVariable(_)) => return Err(Refusal::unsupported("environment_variable")),
        None => return Err(Refusal::new("must be set")),
    };
    nothing_left(&source)?;
    Ok(data)
}

/// Takes an optional boolean.
pub(crate) fn boolean(field: &mut Option<wkt::BoolValue>) -> Option<bool> {
    field.take().map(|value| value.value)
}

/// Takes an optional number.
pub(crate) fn number(field: &mut Option<wkt::UInt32Value>) -> Option<u32> {
    field.take().map(|value| value.value)
}

/// The cluster that a gRPC service is called in, taken out of its message.
pub(crate) fn envoy_grpc(message: &mut core::GrpcService) -> Result<EnvoyGrpc, Refusal> {
    match message.target_specifier.take() {
        Some(TargetSpecifier::EnvoyGrpc(target)) => Ok(target),
        Some(TargetSpecifier::GoogleGrpc(_)) => Err(Refusal::unsupported("google_grpc")),
        None => Err(Refusal::new("must have envoy_grpc")),
    }
}
