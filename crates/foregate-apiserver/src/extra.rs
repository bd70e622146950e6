//! What a binary serves beside objects: GETs under `/foregate/`, behind the same credentials and RBAC
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

/// All extra routes, by prefix.
#[derive(Default)]
pub(crate) struct Extras(RwLock<Vec<(String, Handler)>>);

impl Server {
    /// Serves GETs of `/foregate/<prefix>` and of everything below it to whoever may `get` such a path. A prefix that is
    /// given twice is served by the latter.
    pub fn mount<F>(&self, prefix: &str, answer: impl Fn(String) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Option<Extra>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |rest| Box::pin(answer(rest)));
        let mut all = self.core.extras.0.write();
        all.retain(|(other, _)| other != prefix);
        all.push((prefix.to_owned(), handler));
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
        let found = self.0.read().iter().find_map(|(prefix, handler)| Some((below(prefix)?, handler.clone())));
        let (rest, handler) = found.ok_or_else(ApiError::no_such_path)?;
        let Extra { content_type, body } = handler(rest).await.ok_or_else(ApiError::no_such_path)?;
        let mut response = Response::new(body::full(body));
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Ok(response)
    }
}
