//! Answers of the engine's own.

use std::fmt::Write;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, Response, StatusCode};

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

    /// Who sends what nobody should has to begin anew: what follows on the connection may be no better.
    pub(super) fn bad_request(text: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text, Flag::Dpe).and_close()
    }

    /// What an endpoint says makes no sense.
    pub(super) fn protocol_error() -> Self {
        let text = "upstream connect error or disconnect/reset before headers: protocol error";
        Self::new(StatusCode::BAD_GATEWAY, text, Flag::Upe)
    }

    pub(super) fn into_response(self, mut exchange: Box<Exchange>) -> Response<ResponseBody> {
        if let Some(flag) = self.flag {
            exchange.flag(flag);
        }
        let silent = exchange.stream().silent.get();
        let (head, text) = self.into_parts(exchange.grpc, exchange.stream().http2);
        exchange.responding(head.status());
        exchange.note_answer(head.headers());
        head.map(|()| ResponseBody::full(if silent { Bytes::new() } else { text }, exchange))
    }

    /// Head and text, as a client of gRPC or another one wants them.
    pub(super) fn into_parts(self, grpc: bool, http2: bool) -> (Response<()>, Bytes) {
        if grpc {
            return (self.into_grpc(), Bytes::new());
        }
        let mut response = Response::new(());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if !self.text.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        }
        if !matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(self.text.len()));
        }
        if let Some(location) = self.location {
            headers.insert(LOCATION, location);
        }
        if self.close && !http2 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        (response, self.text)
    }

    /// A client of gRPC looks for its own status and nothing else: the response is all trailers, so to speak.
    fn into_grpc(self) -> Response<()> {
        let mut response = Response::new(());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS.clone(), grpc_status(self.status).into());
        if !self.text.is_empty()
            && let Ok(message) = HeaderValue::try_from(grpc_message(&self.text))
        {
            headers.insert(GRPC_MESSAGE.clone(), message);
        }
        if let Some(location) = self.location {
            headers.insert(LOCATION, location);
        }
        response
    }
}

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The status of gRPC for one of HTTP, as gRPC's `doc/http-grpc-status-mapping.md` has it.
fn grpc_status(status: StatusCode) -> u16 {
    match status.as_u16() {
        // INTERNAL
        400 => 13,
        // UNAUTHENTICATED
        401 => 16,
        // PERMISSION_DENIED
        403 => 7,
        // UNIMPLEMENTED
        404 => 12,
        // UNAVAILABLE
        429 | 502 | 503 | 504 => 14,
        // UNKNOWN
        _ => 2,
    }
}

/// Percent-encodes what gRPC wants percent-encoded in messages: everything but printable ASCII, and `%` itself.
fn grpc_message(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'%' | 0..0x20 | 0x7f.. => {
                let _ = write!(out, "%{byte:02X}");
            }
            _ => out.push(char::from(*byte)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_grpc_are_plain() {
        for (text, want) in [("no such thing", "no such thing"), ("100%\r\n", "100%25%0D%0A"), ("ä~", "%C3%A4~")] {
            assert_eq!(grpc_message(text.as_bytes()), want);
        }
    }
}
