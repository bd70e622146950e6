//! `typed_per_filter_config`: what a route, or what is above it, says to the listener's filters.

use std::collections::HashMap;

use foregate_envoy::pb::envoy::config::route::v3 as route;
use foregate_envoy::pb::google::protobuf::Any;
use prost::Name;

use super::cors::{self, CorsPolicy};
use super::ext_authz::{self, Authorizer};
use super::refusal::{At, Refusal, nothing_left, unpack};
use super::session::{self, KeptSession};
use crate::slots::Interner;

/// Filters' names: Envoy finds settings by the name that the listener gives a filter, and so do these.
pub(crate) const CORS: &str = "envoy.filters.http.cors";
pub(crate) const STATEFUL_SESSION: &str = "envoy.filters.http.stateful_session";
/// The place for whom routes ask; the name is Foregate's own.
pub(crate) const EXTERNAL_AUTH: &str = "foregate.external_auth";

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
    /// Who is asked.
    pub(crate) auth: Option<Box<Setting<Authorizer>>>,
    /// Listeners' filters of other names, and whether they are on.
    pub(crate) switched: Box<[(Box<str>, bool)]>,
}

/// Compiles what one level says. To filters that have no settings here, only "disabled" can be said; above routes, also
/// that they are on.
pub(crate) fn compile(configs: HashMap<String, Any>, slots: &mut Interner) -> Result<PerFilter, Refusal> {
    let mut all = PerFilter::default();
    let mut switched = Vec::new();
    for (name, any) in configs {
        let field = format!("typed_per_filter_config[{name:?}]");
        match &*name {
            CORS => all.cors = setting(any, |any| unpack(any).and_then(cors::policy).map(Setting::On)).at(field)?,
            STATEFUL_SESSION => {
                all.session = setting(any, |any| unpack(any).and_then(session::per_route)).at(field)?;
            }
            EXTERNAL_AUTH => all.auth = setting(any, |any| ext_authz::per_route(any, slots)).at(field)?,
            _ => match unpack::<route::FilterConfig>(&any) {
                Ok(config) if config.disabled => switched.push((name.into(), false)),
                // Settings of no type: it is on.
                Ok(config) if config.config.as_ref().is_some_and(|config| *config == Any::default()) => {
                    switched.push((name.into(), true));
                }
                _ => return Err(Refusal::unsupported(field)),
            },
        }
    }
    switched.sort();
    all.switched = switched.into();
    Ok(all)
}

/// The same for routes: which one it is isn't known when listeners' filters run.
pub(crate) fn of_route(configs: HashMap<String, Any>, slots: &mut Interner) -> Result<PerFilter, Refusal> {
    let mut all = compile(configs, slots)?;
    if let Some((name, _)) = all.switched.iter().find(|(_, on)| *on) {
        return Err(Refusal::unsupported(format!("typed_per_filter_config[{name:?}]")));
    }
    all.switched = Box::default();
    Ok(all)
}

/// The same for weighted clusters: what is decided before one is chosen can't be different for each.
pub(crate) fn of_weighted(configs: HashMap<String, Any>, slots: &mut Interner) -> Result<PerFilter, Refusal> {
    let all = of_route(configs, slots)?;
    for (name, said) in [(CORS, all.cors.is_some()), (EXTERNAL_AUTH, all.auth.is_some())] {
        if said {
            return Err(Refusal::unsupported(format!("typed_per_filter_config[{name:?}]")));
        }
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
