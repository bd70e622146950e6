//! `typed_per_filter_config`: what a route, or what is above it, says to the listener's filters.

use std::collections::HashMap;

use foregate_envoy::pb::envoy::config::route::v3 as route;
use foregate_envoy::pb::google::protobuf::Any;
use prost::Name;

use super::cors::{self, CorsPolicy};
use super::refusal::{At, Refusal, nothing_left, unpack};
use super::session::{self, KeptSession};

/// Filters' names: Envoy finds settings by the name that the listener gives a filter, and so do these.
pub(crate) const CORS: &str = "envoy.filters.http.cors";
pub(crate) const STATEFUL_SESSION: &str = "envoy.filters.http.stateful_session";

/// What is said to a filter.
#[derive(Debug)]
pub(crate) enum Setting<T> {
    /// It isn't there.
    Off,
    /// It does this.
    On(T),
}

/// What one level says; most say nothing.
#[derive(Debug, Default)]
pub(crate) struct PerFilter {
    /// Which pages may read responses.
    pub(crate) cors: Option<Box<Setting<CorsPolicy>>>,
    /// How clients are kept at their endpoints.
    pub(crate) session: Option<Box<Setting<KeptSession>>>,
}

/// Compiles what one level says. To filters that don't exist here, only "disabled" can be said.
pub(crate) fn compile(configs: HashMap<String, Any>) -> Result<PerFilter, Refusal> {
    let mut all = PerFilter::default();
    for (name, any) in configs {
        let field = format!("typed_per_filter_config[{name:?}]");
        match &*name {
            CORS => all.cors = setting(any, |any| unpack(any).and_then(cors::policy).map(Setting::On)).at(field)?,
            STATEFUL_SESSION => {
                all.session = setting(any, |any| unpack(any).and_then(session::per_route)).at(field)?;
            }
            _ => {
                let config: Result<route::FilterConfig, _> = unpack(&any);
                if !config.is_ok_and(|config| config.disabled) {
                    return Err(Refusal::unsupported(field));
                }
            }
        }
    }
    Ok(all)
}

/// The same for weighted clusters: what is decided before one is chosen can't be different for each.
pub(crate) fn of_weighted(configs: HashMap<String, Any>) -> Result<PerFilter, Refusal> {
    let all = compile(configs)?;
    if all.cors.is_some() {
        return Err(Refusal::unsupported(format!("typed_per_filter_config[{CORS:?}]")));
    }
    Ok(all)
}

/// A filter's own message, or one around it that can also turn the filter off.
fn setting<T>(
    any: Any,
    own: impl FnOnce(&Any) -> Result<Setting<T>, Refusal>,
) -> Result<Option<Box<Setting<T>>>, Refusal> {
    if any.type_url != route::FilterConfig::type_url() {
        return own(&any).map(Box::new).map(Some);
    }
    let mut config: route::FilterConfig = unpack(&any)?;
    // Who knows the filter needn't care.
    config.is_optional = false;
    let disabled = std::mem::take(&mut config.disabled);
    let inner = config.config.take();
    nothing_left(&config)?;
    match (disabled, inner) {
        (true, _) => Ok(Some(Box::new(Setting::Off))),
        (false, Some(inner)) => own(&inner).at("config").map(Box::new).map(Some),
        (false, None) => Ok(None),
    }
}
