//! A service that is asked by HTTP: it gets the request's head, and 200 lets the request pass.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use hyper::body::Incoming;

use super::changes::Changes;
use super::question::may_tell;
use super::{Answer, Denial, Failure, Question, Whole, is_of_connection};
use crate::config::ext_authz::Authorizer;
use crate::routing::matchers::TextMatcher;

static PARTIAL_BODY: HeaderName = HeaderName::from_static("x-envoy-auth-partial-body");
/// Names of headers that the request is to lose.
const TO_REMOVE: &str = "x-envoy-auth-headers-to-remove";

/// The question.
pub(super) fn question(
    authorizer: &Authorizer,
    prefix: &str,
    request: &Request<Incoming>,
    body: &Bytes,
) -> Result<Question, Failure> {
    let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let uri: Uri = format!("{prefix}{target}").parse().map_err(|_| Failure::Nonsense("the path"))?;
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers() {
        let always = name == HOST || name == AUTHORIZATION;
        let told = always || (!is_of_connection(name) && may_tell(authorizer, name.as_str(), false));
        if told {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    if !body.is_empty() {
        headers.insert(PARTIAL_BODY.clone(), HeaderValue::from_static("false"));
    }
    let body = (!body.is_empty()).then(|| body.clone());
    Ok(Question { method: request.method().clone(), uri, headers, body })
}

/// What the answer means.
pub(super) fn answer(
    answer: Whole,
    upstream: &[TextMatcher],
    client: Option<&[TextMatcher]>,
) -> Result<Answer, Failure> {
    if answer.status.is_server_error() {
        return Err(Failure::Error(format!("status {}", answer.status.as_u16())));
    }
    if answer.status == StatusCode::OK {
        let mut changes = Changes::default();
        for (name, value) in &answer.headers {
            let (name, value) = (name.as_str(), value.as_bytes());
            if name == TO_REMOVE {
                let list = String::from_utf8_lossy(value);
                changes.remove.extend(list.split(',').map(|name| name.trim().to_owned()));
            } else if upstream.iter().any(|matcher| matcher.matches(name)) {
                changes.set.push((name.to_owned(), value.to_vec()));
            }
        }
        return Ok(Answer::Pass(changes));
    }
    // Envoy's list: what a refusal can't do without.
    let always = |name: &str| matches!(name, "www-authenticate" | "location" | "content-type");
    let told = |name: &str| client.is_none_or(|client| always(name) || client.iter().any(|it| it.matches(name)));
    let headers = answer.headers.iter().filter(|(name, _)| !is_of_connection(name) && told(name.as_str()));
    let headers = headers.map(|(name, value)| (name.clone(), value.clone())).collect();
    Ok(Answer::Deny(Denial { status: answer.status, headers, body: answer.body }))
}
