//! Answers of the engine's own.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Response, StatusCode};

use super::body::ResponseBody;
use super::exchange::{Exchange, Flag};

/// What the engine answers by itself, and why.
pub(super) struct LocalReply {
    pub(super) status: StatusCode,
    pub(super) text: Bytes,
    pub(super) flag: Option<Flag>,
    pub(super) location: Option<HeaderValue>,
    /// It is the connection's last.
    pub(super) close: bool,
}

impl LocalReply {
    pub(super) fn new(status: StatusCode, text: &'static str, flag: impl Into<Option<Flag>>) -> Self {
        Self { flag: flag.into(), ..Self::direct(status, Bytes::from_static(text.as_bytes())) }
    }

    pub(super) fn direct(status: StatusCode, text: Bytes) -> Self {
        Self { status, text, flag: None, location: None, close: false }
    }

    pub(super) fn and_close(self) -> Self {
        Self { close: true, ..self }
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
        if let Some(location) = self.location {
            headers.insert(LOCATION, location);
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
