//! `/openapi/v3`.

use http::{HeaderMap, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::error::ApiError;
use crate::registry::Kinds;
use crate::rest::body::{self, Body};
use crate::rest::query::Query;

/// The documents, made when they are asked for.
#[derive(Default)]
pub(crate) struct Documents {}

impl Documents {
    /// `/openapi/v3`: where the document of each group and version is.
    pub fn index(&self, kinds: &Kinds) -> Response<Body> {
        let mut paths = Map::new();
        for (group, versions) in &kinds.groups {
            for version in versions.keys() {
                let path = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
                let url = format!("/openapi/v3/{path}");
                paths.insert(path, json!({"serverRelativeURL": url}));
            }
        }
        body::value(StatusCode::OK, &json!({"paths": Value::Object(paths)}))
    }

    /// The document of one group and version.
    pub fn answer(
        &self,
        kinds: &Kinds,
        group: &str,
        version: &str,
        headers: &HeaderMap,
        query: &Query,
    ) -> Result<Response<Body>, ApiError> {
        let _ = (headers, query);
        if kinds.groups.get(group).and_then(|g| g.get(version)).is_none() {
            return Err(ApiError::no_such_path());
        }
        Ok(body::value(StatusCode::OK, &json!({"openapi": "3.0.0",
            "info": {"title": "Foregate", "version": super::VERSION.2}, "paths": {}, "components": {"schemas": {}}})))
    }
}
