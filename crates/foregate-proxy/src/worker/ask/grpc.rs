//! A service that is asked by gRPC: `envoy.service.auth.v3.Authorization/Check`.

use std::collections::HashMap;
use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes};
use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::service::auth::v3 as auth;
use foregate_envoy::pb::google::protobuf::Timestamp;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, TE};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version};
use hyper::body::Incoming;
use prost::Message;

use super::changes::{Addition, Changes, How};
use super::question::{joined, may_tell};
use super::{Answer, Denial, Failure, Question, Whole, is_of_connection};
use crate::config::ext_authz::{Authorizer, BodyLimit};
use crate::worker::connection::ConnectionState;
use crate::worker::head;

/// The call.
const CALL: &str = "/envoy.service.auth.v3.Authorization/Check";

/// The question.
pub(super) fn question(
    authorizer: &Authorizer,
    host: &HeaderValue,
    request: &Request<Incoming>,
    body: &Bytes,
    connection: &ConnectionState,
) -> Question {
    let attributes = auth::AttributeContext {
        source: Some(peer(connection.remote)),
        destination: Some(peer(connection.local)),
        request: Some(auth::attribute_context::Request {
            time: now(),
            http: Some(http_request(authorizer, request, body, connection.tls)),
        }),
        ..Default::default()
    };
    let message = auth::CheckRequest { attributes: Some(attributes) };
    let mut framed = Vec::with_capacity(message.encoded_len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    // A Vec grows as needed.
    let _ = message.encode(&mut framed);
    let mut headers = HeaderMap::new();
    headers.insert(HOST, host.clone());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    Question { method: Method::POST, uri: Uri::from_static(CALL), headers, body: Some(framed.into()) }
}

fn peer(address: SocketAddr) -> auth::attribute_context::Peer {
    let socket = core::SocketAddress {
        address: address.ip().to_canonical().to_string(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(address.port().into())),
        ..Default::default()
    };
    let address = core::Address { address: Some(core::address::Address::SocketAddress(socket)) };
    auth::attribute_context::Peer { address: Some(address), ..Default::default() }
}

fn now() -> Option<Timestamp> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
    let nanos = i32::try_from(since.subsec_nanos()).unwrap_or_default();
    Some(Timestamp { seconds: i64::try_from(since.as_secs()).ok()?, nanos })
}

fn http_request(
    authorizer: &Authorizer,
    request: &Request<Incoming>,
    body: &Bytes,
    tls: bool,
) -> auth::attribute_context::HttpRequest {
    let text = |name: &HeaderName| joined(request.headers(), name);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let scheme = if tls { "https" } else { "http" }.to_owned();
    let host = text(&HOST);
    let length = request.headers().get(http::header::CONTENT_LENGTH);
    let size = length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(-1);
    let (text_body, raw_body) = match authorizer.body {
        Some(BodyLimit { as_bytes: true, .. }) => (String::new(), body.to_vec()),
        Some(_) => (String::from_utf8_lossy(body).into_owned(), Vec::new()),
        None => Default::default(),
    };
    auth::attribute_context::HttpRequest {
        id: text(&head::X_REQUEST_ID),
        method: request.method().as_str().to_owned(),
        headers: told(authorizer, request, (&host, &path, &scheme), !body.is_empty()),
        path,
        host,
        scheme,
        size,
        protocol: protocol(request.version()).to_owned(),
        body: text_body,
        raw_body,
        ..Default::default()
    }
}

/// Headers, with those that HTTP/2 has for the first line.
fn told(
    authorizer: &Authorizer,
    request: &Request<Incoming>,
    (host, path, scheme): (&str, &str, &str),
    has_body: bool,
) -> HashMap<String, String> {
    let mut told = HashMap::new();
    for name in request.headers().keys().filter(|name| **name != HOST) {
        if may_tell(authorizer, name.as_str(), true) {
            told.insert(name.as_str().to_owned(), joined(request.headers(), name));
        }
    }
    let method = request.method().as_str();
    for (name, value) in [(":authority", host), (":method", method), (":path", path), (":scheme", scheme)] {
        if may_tell(authorizer, name, true) {
            told.insert(name.to_owned(), value.to_owned());
        }
    }
    if has_body {
        told.insert("x-envoy-auth-partial-body".to_owned(), "false".to_owned());
    }
    told
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// What the answer means.
pub(super) fn answer(answer: Whole) -> Result<Answer, Failure> {
    if answer.status != StatusCode::OK {
        return Err(Failure::Error(format!("status {}", answer.status.as_u16())));
    }
    let trailers = answer.trailers.as_ref().unwrap_or(&answer.headers);
    let status = trailers.get("grpc-status").map(HeaderValue::as_bytes);
    if status != Some(b"0") {
        let status = status.map(String::from_utf8_lossy).unwrap_or_default();
        return Err(Failure::Error(format!("status {status:?} of gRPC")));
    }
    let message = unframed(answer.body)?;
    let response = auth::CheckResponse::decode(message).map_err(|_| Failure::Nonsense("not a CheckResponse"))?;
    understood(response)
}

/// The one message of an answer.
fn unframed(mut body: Bytes) -> Result<Bytes, Failure> {
    if body.len() < 5 || body.get_u8() != 0 {
        return Err(Failure::Nonsense("not one message, uncompressed"));
    }
    let length = body.get_u32() as usize;
    if body.len() != length {
        return Err(Failure::Nonsense("not one message"));
    }
    Ok(body)
}

fn understood(response: auth::CheckResponse) -> Result<Answer, Failure> {
    use auth::check_response::HttpResponse;
    let passes = response.status.is_some_and(|status| status.code == 0);
    match (passes, response.http_response) {
        (_, Some(HttpResponse::ErrorResponse(_))) => Err(Failure::Error("an error of its own".to_owned())),
        (true, Some(HttpResponse::OkResponse(ok))) => changes(ok).map(Answer::Pass),
        (true, _) => Ok(Answer::Pass(Changes::default())),
        (false, Some(HttpResponse::DeniedResponse(denied))) => denial(denied).map(Answer::Deny),
        (false, _) => {
            Ok(Answer::Deny(Denial { status: StatusCode::FORBIDDEN, headers: Vec::new(), body: Bytes::new() }))
        }
    }
}

fn changes(ok: auth::OkHttpResponse) -> Result<Changes, Failure> {
    let mut changes = Changes { remove: ok.headers_to_remove, ..Changes::default() };
    for option in ok.headers {
        #[allow(deprecated, reason = "it is what services send")]
        let append = option.append.is_some_and(|append| append.value);
        let header = option.header.unwrap_or_default();
        let value = if header.raw_value.is_empty() { header.value.into_bytes() } else { header.raw_value };
        if append {
            changes.append.push((header.key, value));
        } else {
            changes.set.push((header.key, value));
        }
    }
    changes.set_query = ok.query_parameters_to_set.into_iter().map(|it| (it.key, it.value)).collect();
    changes.remove_query = ok.query_parameters_to_remove;
    for option in ok.response_headers_to_add {
        let how = how(&option);
        let Some((name, value)) = header(option)? else { continue };
        changes.response.push(Addition { name, value, how });
    }
    Ok(changes)
}

fn denial(denied: auth::DeniedHttpResponse) -> Result<Denial, Failure> {
    let status = denied.status.map_or(403, |status| status.code);
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    // What is no answer at all can't be given to anybody.
    let status = status.filter(|status| !status.is_informational()).unwrap_or(StatusCode::FORBIDDEN);
    let mut headers = Vec::new();
    for option in denied.headers {
        headers.extend(header(option)?);
    }
    Ok(Denial { status, headers, body: denied.body.into() })
}

/// A header for the client; none: one that it can't have.
fn header(option: core::HeaderValueOption) -> Result<Option<(HeaderName, HeaderValue)>, Failure> {
    let header = option.header.unwrap_or_default();
    if header.key.starts_with(':') {
        return Ok(None);
    }
    let name = header.key.to_ascii_lowercase().parse::<HeaderName>();
    let name = name.map_err(|_| Failure::Nonsense("what it calls a header can't be one"))?;
    let value = if header.raw_value.is_empty() { header.value.into_bytes() } else { header.raw_value };
    let value = HeaderValue::from_bytes(&value).map_err(|_| Failure::Nonsense("a value can't be in a header"))?;
    Ok((!is_of_connection(&name)).then_some((name, value)))
}

fn how(option: &core::HeaderValueOption) -> How {
    use core::header_value_option::HeaderAppendAction as Action;
    #[allow(deprecated, reason = "it is what services send")]
    let append = option.append.as_ref().map(|append| append.value);
    match (append, Action::try_from(option.append_action)) {
        (Some(true), _) => How::Append,
        (Some(false), _) => How::Overwrite,
        (None, Ok(Action::AddIfAbsent)) => How::IfAbsent,
        (None, Ok(Action::OverwriteIfExists)) => How::OverwriteIfExists,
        (None, Ok(Action::OverwriteIfExistsOrAdd)) => How::Overwrite,
        (None, _) => How::Append,
    }
}
