//! `CorsPolicy`: which pages of other origins may read responses (the Fetch standard's CORS protocol).

use foregate_envoy::pb::envoy::extensions::filters::http::cors::v3 as cors;
use http::HeaderValue;

use super::parts::{boolean, runtime_fraction, text_matcher};
use super::refusal::{At, Refusal, nothing_left};
use crate::routing::matchers::{Fraction, TextMatcher};

/// What one level says. What it leaves open is said by the next one.
#[derive(Debug)]
pub(crate) struct CorsPolicy {
    /// Origins that may.
    pub(crate) origins: Vec<TextMatcher>,
    /// Methods; `*` for what is asked for.
    pub(crate) methods: Option<HeaderValue>,
    /// Headers of requests; `*` for what is asked for.
    pub(crate) headers: Option<HeaderValue>,
    /// Headers of responses that may be read.
    pub(crate) expose: Option<HeaderValue>,
    /// Seconds for which the answer counts.
    pub(crate) max_age: Option<HeaderValue>,
    /// Cookies may be sent along.
    pub(crate) credentials: Option<bool>,
    /// Pages of public networks may.
    pub(crate) private_network: Option<bool>,
    /// The endpoint answers questions of origins that may not.
    pub(crate) forward_others: Option<bool>,
    /// For this share of requests only.
    pub(crate) enabled: Option<Fraction>,
}

/// Compiles one.
pub(crate) fn policy(mut message: cors::CorsPolicy) -> Result<CorsPolicy, Refusal> {
    let mut origins = Vec::new();
    for (index, origin) in std::mem::take(&mut message.allow_origin_string_match).into_iter().enumerate() {
        origins.push(text_matcher(origin).at(format_args!("allow_origin_string_match[{index}]"))?);
    }
    let policy = CorsPolicy {
        origins,
        methods: value(&mut message.allow_methods, "allow_methods")?,
        headers: value(&mut message.allow_headers, "allow_headers")?,
        expose: value(&mut message.expose_headers, "expose_headers")?,
        max_age: value(&mut message.max_age, "max_age")?,
        credentials: boolean(&mut message.allow_credentials),
        private_network: boolean(&mut message.allow_private_network_access),
        forward_others: boolean(&mut message.forward_not_matching_preflights),
        enabled: message.filter_enabled.take().map(runtime_fraction).transpose().at("filter_enabled")?,
    };
    nothing_left(&message)?;
    Ok(policy)
}

fn value(text: &mut String, field: &str) -> Result<Option<HeaderValue>, Refusal> {
    let text = std::mem::take(text);
    if text.is_empty() {
        return Ok(None);
    }
    HeaderValue::try_from(text).map(Some).map_err(|_| Refusal::field(field, "can't be in a header"))
}
