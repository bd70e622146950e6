//! `HashPolicy`: what of a request decides which endpoint it belongs to.

use std::time::Duration;

use foregate_envoy::pb::envoy::config::route::v3 as route;
use http::HeaderName;

use super::headers::header_name;
use super::parts::optional_duration;
use super::refusal::{At, Refusal, nothing_left};

/// One thing that decides.
#[derive(Debug)]
pub(crate) struct HashPolicy {
    /// What.
    pub(crate) source: HashSource,
    /// If it is there, those after it don't count.
    pub(crate) terminal: bool,
}

/// Where a key comes from.
#[derive(Debug)]
pub(crate) enum HashSource {
    /// A header's value.
    Header(HeaderName),
    /// A cookie's value.
    Cookie(Cookie),
    /// The client's address.
    SourceIp,
    /// The first value of a query parameter.
    Query(Box<str>),
}

/// A cookie that keeps a client at its endpoint.
#[derive(Debug)]
pub(crate) struct Cookie {
    /// Its name.
    pub(crate) name: Box<str>,
    /// A client without one gets one for so long (0: for its session); `None`: it gets none.
    pub(crate) ttl: Option<Duration>,
    /// The path that it gets it for.
    pub(crate) path: Box<str>,
    /// What else is said about it, as `; name=value`.
    pub(crate) attributes: Box<str>,
}

/// Compiles the policies of a route.
pub(crate) fn compile(policies: Vec<route::route_action::HashPolicy>) -> Result<Box<[HashPolicy]>, Refusal> {
    let mut compiled = Vec::with_capacity(policies.len());
    for (index, policy) in policies.into_iter().enumerate() {
        compiled.push(one(policy).at(format_args!("hash_policy[{index}]"))?);
    }
    Ok(compiled.into())
}

fn one(mut message: route::route_action::HashPolicy) -> Result<HashPolicy, Refusal> {
    use route::route_action::hash_policy::PolicySpecifier as Specifier;
    let source = match message.policy_specifier.take() {
        Some(Specifier::Header(mut header)) => {
            let name = header_name(&std::mem::take(&mut header.header_name)).at("header.header_name")?;
            nothing_left(&header).at("header")?;
            HashSource::Header(name)
        }
        Some(Specifier::Cookie(message)) => HashSource::Cookie(cookie(message).at("cookie")?),
        Some(Specifier::ConnectionProperties(mut properties)) => {
            let by_address = std::mem::take(&mut properties.source_ip);
            nothing_left(&properties).at("connection_properties")?;
            if !by_address {
                return Err(Refusal::field("connection_properties.source_ip", "must be true"));
            }
            HashSource::SourceIp
        }
        Some(Specifier::QueryParameter(mut query)) => {
            let name = std::mem::take(&mut query.name);
            nothing_left(&query).at("query_parameter")?;
            HashSource::Query(name.into())
        }
        Some(Specifier::FilterState(_)) => return Err(Refusal::unsupported("filter_state")),
        None => return Err(Refusal::new("must say what decides")),
    };
    let terminal = std::mem::take(&mut message.terminal);
    nothing_left(&message)?;
    Ok(HashPolicy { source, terminal })
}

/// Compiles a cookie.
pub(crate) fn cookie(mut message: route::route_action::hash_policy::Cookie) -> Result<Cookie, Refusal> {
    let name = token(std::mem::take(&mut message.name)).at("name")?;
    let ttl = optional_duration(message.ttl.take(), "ttl")?;
    let path = std::mem::take(&mut message.path);
    let mut attributes = String::new();
    for (index, mut attribute) in std::mem::take(&mut message.attributes).into_iter().enumerate() {
        let field = format!("attributes[{index}]");
        let name = token(std::mem::take(&mut attribute.name)).at("name").at(&field)?;
        let value = std::mem::take(&mut attribute.value);
        nothing_left(&attribute).at(&field)?;
        if !is_cookie_text(&value) {
            return Err(Refusal::field(field, "must hold no ; and no control character"));
        }
        attributes.push_str("; ");
        attributes.push_str(&name);
        if !value.is_empty() {
            attributes.push('=');
            attributes.push_str(&value);
        }
    }
    nothing_left(&message)?;
    if !is_cookie_text(&path) {
        return Err(Refusal::field("path", "must hold no ; and no control character"));
    }
    Ok(Cookie { name, ttl, path: path.into(), attributes: attributes.into() })
}

fn is_cookie_text(text: &str) -> bool {
    text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b';')
}

fn token(text: String) -> Result<Box<str>, Refusal> {
    // Names of cookies are made of what names of headers are made of.
    if HeaderName::try_from(text.as_str()).is_err() {
        return Err(Refusal::new("must be a token"));
    }
    Ok(text.into())
}
