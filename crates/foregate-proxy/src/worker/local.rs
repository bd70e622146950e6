//! Answers of the engine's own.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

use super::body::ResponseBody;
use super::exchange::{Exchange, Flag};

/// What the engine answers by itself, and why.
pub(super) struct LocalReply {
    pub(super) status: StatusCode,
    pub(super) text: Bytes,
    pub(super) flag: Option<Flag>,
}

impl LocalReply {
    pub(super) fn new(status: StatusCode, text: &'static str, flag: impl Into<Option<Flag>>) -> Self {
        Self { status, text: Bytes::from_static(text.as_bytes()), flag: flag.into() }
    }

    pub(super) fn bad_request(text: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text, Flag::Dpe)
    }

    pub(super) fn into_response(self, mut exchange: Box<Exchange>) -> Response<ResponseBody> {
        if let Some(flag) = self.flag {
            exchange.flag(flag);
        }
        exchange.responding(self.status);
        let empty = self.text.is_empty();
        let length = HeaderValue::from(self.text.len());
        let mut response = Response::new(ResponseBody::full(self.text, exchange));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if !empty {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        }
        if !matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            headers.insert(CONTENT_LENGTH, length);
        }
        response
    }
}
