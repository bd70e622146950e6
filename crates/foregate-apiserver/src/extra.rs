//! What a binary serves beside objects: GETs and POSTs under `/foregate/`, behind the same credentials and RBAC
//! (`nonResourceURLs`).

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use parking_lot::RwLock;

use crate::error::ApiError;
use crate::rest::body::{self, Body};
use crate::server::Server;

/// What an extra route answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra {
    /// E.g. `application/json`.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

/// Answers a GET: is given the path after its prefix, decoded and without slashes at the ends. None: 404.
type Handler = Arc<dyn Fn(String) -> BoxFuture<'static, Option<Extra>> + Send + Sync>;

/// Answers a POST: is given the path after its prefix and the body.
type Taker = Arc<dyn Fn(String, Bytes) -> BoxFuture<'static, Result<Extra, Refusal>> + Send + Sync>;

/// Why a POST isn't done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status: 400, 404, 409 or 500.
    pub code: u16,
    /// Why, for a person.
    pub message: String,
}

/// All extra routes, by prefix.
#[derive(Default)]
pub(crate) struct Extras {
    readers: RwLock<Vec<(String, Handler)>>,
    takers: RwLock<Vec<(String, Taker)>>,
}

impl Server {
    /// Serves GETs of `/foregate/<prefix>` and of everything below it to whoever may `get` such a path. A prefix that is
    /// given twice is served by the latter.
    pub fn mount<F>(&self, prefix: &str, answer: impl Fn(String) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Option<Extra>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |rest| Box::pin(answer(rest)));
        let mut all = self.core.extras.readers.write();
        all.retain(|(other, _)| other != prefix);
        all.push((prefix.to_owned(), handler));
    }

    /// Does the same for POSTs of whoever may `post` to such a path.
    pub fn mount_post<F>(&self, prefix: &str, take: impl Fn(String, Bytes) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<Extra, Refusal>> + Send + 'static,
    {
        let handler: Taker = Arc::new(move |rest, body| Box::pin(take(rest, body)));
        let mut all = self.core.extras.takers.write();
        all.retain(|(other, _)| other != prefix);
        all.push((prefix.to_owned(), handler));
    }
}

impl Extras {
    /// Answers a path below `/foregate`, given in parts.
    pub(crate) async fn answer(&self, path: &[String]) -> Result<Response<Body>, ApiError> {
        let (rest, handler) = find(&self.readers, path)?;
        Ok(respond(StatusCode::OK, handler(rest).await.ok_or_else(ApiError::no_such_path)?))
    }

    /// Takes what is posted to a path below `/foregate`.
    pub(crate) async fn take(&self, path: &[String], bytes: Bytes) -> Result<Response<Body>, ApiError> {
        let (rest, handler) = find(&self.takers, path)?;
        let taken = handler(rest, bytes).await;
        taken.map(|extra| respond(StatusCode::CREATED, extra)).map_err(|Refusal { code, message }| {
            let (code, reason) = match code {
                400 => (StatusCode::BAD_REQUEST, "BadRequest"),
                404 => (StatusCode::NOT_FOUND, "NotFound"),
                409 => (StatusCode::CONFLICT, "Conflict"),
                _ => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
            };
            ApiError::new(code, reason, message)
        })
    }
}

/// Whose prefix a path has, and what follows it.
fn find<H: Clone>(all: &RwLock<Vec<(String, H)>>, path: &[String]) -> Result<(String, H), ApiError> {
    let path = path.join("/");
    let below = |prefix: &str| {
        let rest = path.strip_prefix(prefix)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_matches('/').to_owned())
    };
    let found = all.read().iter().find_map(|(prefix, handler)| Some((below(prefix)?, handler.clone())));
    found.ok_or_else(ApiError::no_such_path)
}

fn respond(code: StatusCode, Extra { content_type, body }: Extra) -> Response<Body> {
    let mut response = Response::new(body::full(body));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
