//! What a binary serves beside objects: GETs under `/foregate/` (RBAC's `nonResourceURLs`), and subresources that are
//! answered at once, as a ServiceAccount's `token` is (RBAC's `create`).

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use parking_lot::RwLock;
use serde_json::Value;

use crate::error::ApiError;
use crate::rest::body::{self, Body};
use crate::rest::path::Target;
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

/// Answers a POST to an object's subresource.
type Taker = Arc<dyn Fn(Posted) -> BoxFuture<'static, Result<Value, Refusal>> + Send + Sync>;

/// What is posted to an object's subresource.
#[derive(Clone, Debug, PartialEq)]
pub struct Posted {
    /// Namespace of the object; none at the cluster scope.
    pub namespace: Option<String>,
    /// Name of the object, which may not be there.
    pub name: String,
    /// The body.
    pub body: Value,
}

/// Why a POST isn't done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status: 400, 404, 409 or 500.
    pub code: u16,
    /// Why, for a person.
    pub message: String,
}

/// A subresource: group, plural, and its own name.
type Subresource = (String, String, String);

/// All that was mounted.
#[derive(Default)]
pub(crate) struct Extras {
    /// By prefix.
    readers: RwLock<Vec<(String, Handler)>>,
    takers: RwLock<Vec<(Subresource, Taker)>>,
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

    /// Answers POSTs to a subresource of each object of a group and plural, of whoever may `create` it. One that is
    /// given twice is served by the latter.
    pub fn mount_subresource<F>(
        &self,
        (group, plural, name): (&str, &str, &str),
        take: impl Fn(Posted) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Result<Value, Refusal>> + Send + 'static,
    {
        let handler: Taker = Arc::new(move |posted| Box::pin(take(posted)));
        let subresource = (group.to_owned(), plural.to_owned(), name.to_owned());
        let mut all = self.core.extras.takers.write();
        all.retain(|(other, _)| *other != subresource);
        all.push((subresource, handler));
    }
}

impl Extras {
    /// Answers a path below `/foregate`, given in parts.
    pub(crate) async fn answer(&self, path: &[String]) -> Result<Response<Body>, ApiError> {
        let path = path.join("/");
        let below = |prefix: &str| {
            let rest = path.strip_prefix(prefix)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_matches('/').to_owned())
        };
        let found = self.readers.read().iter().find_map(|(prefix, handler)| Some((below(prefix)?, handler.clone())));
        let (rest, handler) = found.ok_or_else(ApiError::no_such_path)?;
        let Extra { content_type, body } = handler(rest).await.ok_or_else(ApiError::no_such_path)?;
        let mut response = Response::new(body::full(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Ok(response)
    }

    /// Whether a path is that of a subresource that was mounted.
    pub(crate) fn takes(&self, target: &Target) -> bool {
        self.taker(target).is_some()
    }

    fn taker(&self, target: &Target) -> Option<(String, Taker)> {
        let (name, subresource) = (target.name.clone()?, target.subresource.as_deref()?);
        let is = |(group, plural, own): &Subresource| {
            *group == target.group && *plural == target.resource && own == subresource
        };
        let found = self.takers.read().iter().find(|(it, _)| is(it)).map(|(_, taker)| taker.clone());
        Some((name, found?))
    }

    /// Takes what is posted to a subresource.
    pub(crate) async fn take(&self, target: &Target, body: Value) -> Result<Response<Body>, ApiError> {
        let (name, taker) = self.taker(target).ok_or_else(ApiError::no_such_path)?;
        let posted = Posted { namespace: target.namespace.clone(), name, body };
        match taker(posted).await {
            Ok(answer) => Ok(body::value(StatusCode::CREATED, &answer)),
            Err(Refusal { code, message }) => {
                let (code, reason) = match code {
                    400 => (StatusCode::BAD_REQUEST, "BadRequest"),
                    404 => (StatusCode::NOT_FOUND, "NotFound"),
                    409 => (StatusCode::CONFLICT, "Conflict"),
                    _ => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
                };
                Err(ApiError::new(code, reason, message))
            }
        }
    }
}
