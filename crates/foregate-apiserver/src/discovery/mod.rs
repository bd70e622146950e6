//! What the server tells of itself: versions, groups, resources, OpenAPI.

mod openapi;
mod openapi_v2;
mod resources;

use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};
use serde_json::json;

use crate::core::Core;
use crate::error::ApiError;
use crate::rest::body::{self, Body};
use crate::rest::path::Route;
use crate::rest::query::Query;

/// The Kubernetes version whose API this is.
pub(crate) const VERSION: (&str, &str, &str) = ("1", "34", "v1.34.0");

/// Answers a path that isn't an object's.
pub(crate) fn answer(
    core: &Arc<Core>,
    route: &Route,
    headers: &HeaderMap,
    query: &Query,
) -> Result<Response<Body>, ApiError> {
    let kinds = core.registry.kinds_full();
    match route {
        Route::Version => {
            let (major, minor, version) = VERSION;
            let git = format!("{version}+foregate-{}", env!("CARGO_PKG_VERSION"));
            Ok(body::value(
                StatusCode::OK,
                &json!({
                    "major": major, "minor": minor, "gitVersion": git, "gitCommit": "", "gitTreeState": "clean",
                    "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc",
                    "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
                }),
            ))
        }
        Route::Metrics => {
            let mut response = body::text(StatusCode::OK, core.metrics.text(core.hub.size()));
            response.headers_mut().insert(
                http::header::CONTENT_TYPE,
                http::HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
            );
            Ok(response)
        }
        Route::Api => Ok(resources::api(&kinds, headers)),
        Route::Apis => Ok(resources::apis(&kinds, headers)),
        Route::Group(group) => resources::group(&kinds, group),
        Route::Resources(group, version) => resources::list(&kinds, group, version),
        Route::OpenApiV2 => Ok(openapi_v2::answer(headers)),
        Route::OpenApi => Ok(openapi::index(&kinds)),
        Route::OpenApiOf(group, version) => openapi::answer(&kinds, group, version, headers, query),
        Route::Health | Route::Resource(_) | Route::Extra(_) | Route::Unknown => Err(ApiError::no_such_path()),
    }
}
