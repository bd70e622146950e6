//! Small messages that many features need.

use foregate_envoy::pb;
use foregate_envoy::pb::envoy::config::core::v3 as core;
use pb::envoy::r#type::matcher::v3 as matcher;

/// Milliseconds as a `google.protobuf.Duration`, capped at Envoy's own limit (about 10,000 years).
pub(crate) fn millis(millis: u64) -> pb::google::protobuf::Duration {
    const MAX_SECONDS: u64 = 315_576_000_000;
    let seconds = (millis / 1_000).min(MAX_SECONDS);
    // Both fit: the one is capped, the other below 10^9.
    pb::google::protobuf::Duration {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from((millis % 1_000) * 1_000_000).unwrap_or(0),
    }
}

/// A wrapped number.
pub(crate) const fn uint32(value: u32) -> pb::google::protobuf::UInt32Value {
    pb::google::protobuf::UInt32Value { value }
}

/// A regular expression.
pub(crate) fn regex(pattern: impl Into<String>) -> matcher::RegexMatcher {
    matcher::RegexMatcher { regex: pattern.into(), ..Default::default() }
}

/// "Over this very stream".
pub(crate) fn ads() -> core::ConfigSource {
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3 as i32,
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(Default::default())),
        ..Default::default()
    }
}
