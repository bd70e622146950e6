//! Bodies of requests and answers.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use serde_json::Value;

use crate::builtin::decode_protobuf;
use crate::error::ApiError;

/// What the server answers with: a whole body, or the stream of a watch.
pub type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// The largest body of a request, in bytes.
pub const LIMIT: usize = 3 << 19;

/// How long a client may take to send a body.
const BODY_TIME: Duration = Duration::from_secs(60);

/// A whole body.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// An answer in JSON.
pub fn json(code: StatusCode, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer in JSON.
pub fn value(code: StatusCode, value: &Value) -> Response<Body> {
    json(code, value.to_string())
}

/// An answer as plain text.
pub fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// A refusal.
pub fn error(error: &ApiError) -> Response<Body> {
    let mut response = value(error.code, &error.status());
    if let Some(seconds) = error.details.retry_after {
        response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Takes a body in, up to [`LIMIT`].
///
/// # Errors
/// 413 above the limit, 400 when the client breaks off.
pub async fn collect<B>(body: B) -> Result<Bytes, ApiError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Ok(collected) = tokio::time::timeout(BODY_TIME, Limited::new(body, LIMIT).collect()).await else {
        let message = format!("the request's body did not arrive within {} seconds", BODY_TIME.as_secs());
        return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "Timeout", message));
    };
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => Err(ApiError::too_large(LIMIT)),
        Err(error) => Err(ApiError::bad_request(format!("the request's body could not be read: {error}"))),
    }
}

/// The bare media type of a body.
pub fn media_type(headers: &HeaderMap) -> &str {
    let text = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/json");
    text.split(';').next().unwrap_or_default().trim()
}

/// Reads an object in JSON, YAML or protobuf.
///
/// # Errors
/// 400 when it can't be parsed, with the line; 415 for other types.
pub fn decode(media: &str, bytes: &[u8]) -> Result<Value, ApiError> {
    match media {
        "" | "application/json" => from_json(bytes),
        "application/yaml" | "application/x-yaml" | "text/yaml" => from_yaml(bytes),
        "application/vnd.kubernetes.protobuf" => {
            decode_protobuf(bytes).map_err(|e| ApiError::bad_request(format!("the body is not valid protobuf: {e}")))
        }
        _ => {
            Err(ApiError::unsupported_media("application/json, application/yaml, application/vnd.kubernetes.protobuf"))
        }
    }
}

/// Reads JSON.
///
/// # Errors
/// 400 with line and column.
pub fn from_json(bytes: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(bytes).map_err(|e| not_json(&e))
}

/// 400 with line and column.
pub(crate) fn not_json(error: &serde_json::Error) -> ApiError {
    ApiError::bad_request(format!("the body is not valid JSON: {error}"))
}

/// Reads YAML.
///
/// # Errors
/// 400 with line and column.
pub fn from_yaml(bytes: &[u8]) -> Result<Value, ApiError> {
    // What programs apply is JSON, which is YAML as well and read much faster as what it is.
    if bytes.first() == Some(&b'{')
        && let Ok(value) = serde_json::from_slice(bytes)
    {
        return Ok(value);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|e| ApiError::bad_request(format!("the body is not valid YAML: not UTF-8: {e}")))?;
    serde_saphyr::from_str(text).map_err(|e| ApiError::bad_request(format!("the body is not valid YAML: {e}")))
}
