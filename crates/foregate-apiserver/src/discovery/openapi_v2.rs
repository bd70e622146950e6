//! `/openapi/v2`: a document with no definitions.
//!
//! kubectl asks for it when version 3 doesn't know a kind, and takes a missing document for a broken server. With an
//! empty one it goes on and says what the user needs to hear: that there is no such kind.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;

use crate::rest::body::{self, Body};

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// `openapi.v2.Document { swagger: "2.0", info: { title: "Foregate", version: "v1" }, paths: {} }`, encoded.
const DOCUMENT: &[u8] = b"\x0a\x032.0\x12\x0e\x0a\x08Foregate\x12\x02v1\x42\x00";

/// The document, in the form that the caller wants.
pub(super) fn answer(headers: &HeaderMap) -> Response<Body> {
    let accepts = headers.get(http::header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accepts.contains("proto-openapi") {
        let info = json!({ "title": "Foregate", "version": "v1" });
        return body::value(StatusCode::OK, &json!({ "swagger": "2.0", "info": info, "paths": {}, "definitions": {} }));
    }
    let mut response = body::text(StatusCode::OK, DOCUMENT);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
    response
}
