//! What routes say to HTTP filters that the listener has: `typed_per_filter_config`.

use std::collections::HashMap;

use foregate_api::backend::SessionPersistence;
use foregate_envoy::pb;
use foregate_envoy::pb::envoy::config::core::v3::TypedExtensionConfig;
use foregate_envoy::pb::envoy::extensions::filters::http::stateful_session::v3 as stateful;
use foregate_envoy::pb::envoy::extensions::http::stateful_session::{cookie, header};
use foregate_envoy::pb::envoy::r#type::http::v3::Cookie;
use pb::google::protobuf::{Any, Duration};
use prost::Message;

/// By the name of the filter.
pub(super) type PerFilter = HashMap<String, Any>;

/// Name of the filter for CORS.
pub(super) const CORS: &str = "envoy.filters.http.cors";
/// Name of the filter that keeps clients with endpoints.
const STATEFUL_SESSION: &str = "envoy.filters.http.stateful_session";

/// A message as an Any.
pub(super) fn any<M: Message + prost::Name>(message: &M) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", M::full_name()), value: message.encode_to_vec() }
}

/// Keeps a client with the endpoint that answered it first (GEP-1619). An endpoint that is gone is forgotten.
pub(super) fn keep(session: &SessionPersistence, into: &mut PerFilter) {
    let (name, config) = match session {
        SessionPersistence::Cookie { name, path, ttl_seconds } => {
            let ttl =
                ttl_seconds.map(|seconds| Duration { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 });
            let path = path.clone().unwrap_or_else(|| "/".to_owned());
            let cookie = Cookie { name: name.clone(), ttl, path, ..Default::default() };
            let state = cookie::v3::CookieBasedSessionState { cookie: Some(cookie) };
            ("envoy.http.stateful_session.cookie", any(&state))
        }
        SessionPersistence::Header { name } => {
            let state = header::v3::HeaderBasedSessionState { name: name.clone() };
            ("envoy.http.stateful_session.header", any(&state))
        }
    };
    let state = TypedExtensionConfig { name: name.to_owned(), typed_config: Some(config) };
    let session = stateful::StatefulSession { session_state: Some(state), ..Default::default() };
    let own = stateful::stateful_session_per_route::Override::StatefulSession(session);
    into.insert(STATEFUL_SESSION.to_owned(), any(&stateful::StatefulSessionPerRoute { r#override: Some(own) }));
}
