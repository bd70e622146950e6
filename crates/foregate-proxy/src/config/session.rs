//! `StatefulSession`: how a client is kept at the endpoint that answered it first.

use foregate_envoy::pb::envoy::config::core::v3::TypedExtensionConfig;
use foregate_envoy::pb::envoy::config::route::v3::route_action::hash_policy as route;
use foregate_envoy::pb::envoy::extensions::filters::http::stateful_session::v3 as filter;
use foregate_envoy::pb::envoy::extensions::http::stateful_session::cookie::v3::CookieBasedSessionState;
use foregate_envoy::pb::envoy::extensions::http::stateful_session::header::v3::HeaderBasedSessionState;
use http::HeaderName;
use prost::Name;

use super::hash_policy::{self, Cookie};
use super::headers::header_name;
use super::per_filter::Setting;
use super::refusal::{At, Refusal, nothing_left, unpack};

/// What a client says to be kept where it is.
#[derive(Debug)]
pub(crate) enum KeptSession {
    /// A cookie, for requests below its path.
    Cookie(Cookie),
    /// A header.
    Header(HeaderName),
}

/// Compiles the listener's own filter; `None`: it does nothing unless a route says what.
pub(crate) fn compile(mut message: filter::StatefulSession) -> Result<Option<KeptSession>, Refusal> {
    let state = message.session_state.take().map(state).transpose().at("session_state")?;
    // Names statistics, which aren't kept.
    message.stat_prefix.clear();
    // Only for strict sessions.
    if !message.strict {
        message.status_on_strict_destination_not_found = 0;
    }
    nothing_left(&message)?;
    Ok(state)
}

/// Compiles what a route says.
pub(crate) fn per_route(message: filter::StatefulSessionPerRoute) -> Result<Setting<KeptSession>, Refusal> {
    use filter::stateful_session_per_route::Override;
    match message.r#override {
        Some(Override::Disabled(true)) => Ok(Setting::Off),
        Some(Override::StatefulSession(session)) => {
            let state = compile(session).at("stateful_session")?;
            Ok(state.map_or(Setting::Off, Setting::On))
        }
        _ => Err(Refusal::new("must be disabled, or have stateful_session")),
    }
}

fn state(config: TypedExtensionConfig) -> Result<KeptSession, Refusal> {
    let any = config.typed_config.ok_or_else(|| Refusal::field("typed_config", "must be set"))?;
    if any.type_url == HeaderBasedSessionState::type_url() {
        let message: HeaderBasedSessionState = unpack(&any).at("typed_config")?;
        return header_name(&message.name).at("typed_config.name").map(KeptSession::Header);
    }
    let message: CookieBasedSessionState = unpack(&any).at("typed_config")?;
    let cookie = message.cookie.ok_or_else(|| Refusal::field("typed_config.cookie", "must be set"))?;
    let attributes = cookie.attributes.into_iter();
    let cookie = route::Cookie {
        name: cookie.name,
        ttl: Some(cookie.ttl.unwrap_or_default()),
        path: cookie.path,
        attributes: attributes.map(|one| route::CookieAttribute { name: one.name, value: one.value }).collect(),
    };
    hash_policy::cookie(cookie).at("typed_config.cookie").map(KeptSession::Cookie)
}
