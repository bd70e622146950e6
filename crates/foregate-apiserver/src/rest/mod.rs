//! The HTTP surface: from a request to its answer.

pub(crate) mod body;
mod create;
pub(crate) mod delete;
mod manage;
mod names;
mod negotiate;
pub(crate) mod op;
mod patch;
pub(crate) mod path;
mod prepare;
pub(crate) mod query;
mod read;
pub(crate) mod selector;
mod stream;
mod strict;
mod table;
mod update;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use tokio_util::sync::CancellationToken;

use crate::auth::{Attributes, Caller};
use crate::core::Core;
use crate::discovery;
use crate::error::ApiError;
use crate::patch::managed;
use crate::schema::{FieldValidation, StrictError};
use body::Body;
use op::Op;
use path::{Route, Target};
use query::Query;
pub(crate) use read::Pages;
pub(crate) use selector::field;
pub(crate) use update::is_gone;

/// In a request's extensions: the listener that it came through ends, and its watches with it.
#[derive(Clone)]
pub(crate) struct Ending(pub CancellationToken);

/// Answers one request.
pub(crate) async fn handle<B>(core: Arc<Core>, caller: Option<Caller>, request: Request<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let route = path::parse(request.uri().path());
    let result = route_to(core, caller, route, request).await;
    result.unwrap_or_else(|error| body::error(&error))
}

async fn route_to<B>(
    core: Arc<Core>,
    caller: Option<Caller>,
    route: Route,
    request: Request<B>,
) -> Result<Response<Body>, ApiError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if route == Route::Health {
        return Ok(health(&core));
    }
    let caller = caller.ok_or_else(ApiError::unauthorized)?;
    let revoked = core.auth.owners.confirm(&caller)?;
    let caller = caller.impersonate(request.headers())?;
    let target = match route {
        Route::Resource(target) => target,
        Route::Extra(path) => {
            if request.method() == Method::POST {
                return Err(ApiError::method_not_allowed());
            }
            core.auth.allow_path(&caller, request.method(), request.uri().path())?;
            return core.extras.answer(&path).await;
        }
        other => {
            if request.method() == Method::POST {
                return Err(ApiError::method_not_allowed());
            }
            core.auth.allow_path(&caller, request.method(), request.uri().path())?;
            let headers = request.headers();
            return discovery::answer(&core, &other, headers, &Query::parse(request.uri().query()));
        }
    };
    let (parts, body) = request.into_parts();
    if let Some(review) = crate::auth::review::kind(&target) {
        let bytes = body::collect(body).await?;
        return crate::auth::review::answer(&core, &caller, review, body::media_type(&parts.headers), &bytes);
    }
    if parts.method == Method::POST && core.extras.takes(&target) {
        core.auth.allow(&caller, &Attributes::of("create", &target))?;
        let object = body::decode(body::media_type(&parts.headers), &body::collect(body).await?)?;
        return core.extras.take(&target, object).await;
    }
    let mut op = operation(&core, caller, target, &parts)?;
    op.revoked = revoked;
    let bytes = match parts.method {
        Method::GET => Bytes::new(),
        _ => body::collect(body).await?,
    };
    dispatch(op, &parts.method, body::media_type(&parts.headers), bytes).await
}

fn health(core: &Core) -> Response<Body> {
    if core.stop.is_cancelled() {
        return body::text(StatusCode::SERVICE_UNAVAILABLE, "shutting down");
    }
    body::text(StatusCode::OK, "ok")
}

/// Finds the kind, and checks that the caller may.
fn operation(core: &Arc<Core>, caller: Caller, target: Target, request: &Parts) -> Result<Op, ApiError> {
    let (method, headers) = (&request.method, &request.headers);
    let query = Query::parse(request.uri.query());
    let verb = verb(method, &target, &query)?;
    let mut wish = Attributes::of(verb, &target);
    if wish.name.is_empty() && matches!(verb, "list" | "watch" | "deletecollection") {
        // Who asks for one name only may be allowed just that (`resourceNames`).
        wish.name = selector::named(query.get("fieldSelector")).unwrap_or_default();
    }
    core.auth.allow(&caller, &wish)?;
    let kind = core
        .registry
        .kinds()
        .get(&target.group, &target.version, &target.resource)
        .cloned()
        .ok_or_else(ApiError::no_such_path)?;
    let fits = match target.subresource.as_deref() {
        None => true,
        Some("status") => kind.status,
        Some("finalize") => kind.is_namespace(),
        Some(_) => false,
    };
    // A list of a namespaced kind may leave the namespace out; everything else must name it.
    let placed = if kind.namespaced {
        target.namespace.is_some() || (target.name.is_none() && matches!(verb, "list" | "watch"))
    } else {
        target.namespace.is_none()
    };
    if !fits || !placed {
        return Err(ApiError::no_such_path());
    }
    let accept = negotiate::accept(headers)?;
    let agent = headers.get(http::header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if let Some(fault) = query.get("fieldManager").and_then(managed::manager_fault) {
        return Err(ApiError::bad_request(fault));
    }
    let blind = kind.is("", "secrets")
        && !matches!(verb, "get" | "list" | "watch")
        && !core.auth.may(&caller, &Attributes::of("get", &target));
    let manager = managed::manager(query.get("fieldManager"), agent);
    Ok(Op {
        core: core.clone(),
        stop: request.extensions.get::<Ending>().map_or_else(|| core.stop.clone(), |ending| ending.0.clone()),
        dry_run: query.dry_run()?,
        validation: query.field_validation()?,
        caller,
        revoked: None,
        blind,
        kind,
        target,
        query,
        accept,
        manager,
        patching: *method == Method::PATCH,
        apply: body::media_type(headers).starts_with("application/apply-patch") && *method == Method::PATCH,
    })
}

fn verb(method: &Method, target: &Target, query: &Query) -> Result<&'static str, ApiError> {
    Ok(match (method, target.name.is_some()) {
        (&Method::GET, _) if query.flag("watch") => "watch",
        (&Method::GET, true) => "get",
        (&Method::GET, false) => "list",
        (&Method::POST, false) => "create",
        (&Method::PUT, true) => "update",
        (&Method::PATCH, true) => "patch",
        (&Method::DELETE, true) => "delete",
        (&Method::DELETE, false) => "deletecollection",
        _ => return Err(ApiError::method_not_allowed()),
    })
}

async fn dispatch(op: Op, method: &Method, media: &str, bytes: Bytes) -> Result<Response<Body>, ApiError> {
    match (method, op.target.name.is_some()) {
        (&Method::GET, _) if op.query.flag("watch") => stream::watch(op).await,
        (&Method::GET, true) => read::get(&op),
        (&Method::GET, false) => read::list(&op).await,
        (&Method::POST, _) => {
            let (object, warnings) = decode(&op, media, &bytes)?;
            create::create(&op, object, warnings).await
        }
        (&Method::PUT, _) => {
            let (object, warnings) = decode(&op, media, &bytes)?;
            update::replace(&op, object, warnings).await
        }
        (&Method::PATCH, _) => patch::patch(&op, media, bytes).await,
        (&Method::DELETE, named) => {
            let options = delete::Options::of(&op, media, &bytes)?;
            if named { delete::delete(&op, &options).await } else { delete::collection(&op, &options).await }
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// Reads the object of a request; fields that are there twice are refused or warned of, as the client wants it.
fn decode(op: &Op, media: &str, bytes: &Bytes) -> Result<(serde_json::Value, Vec<String>), ApiError> {
    if !matches!(media, "" | "application/json") {
        return Ok((body::decode(media, bytes)?, Vec::new()));
    }
    let (value, found) = strict::read(bytes).map_err(|e| body::not_json(&e))?;
    match op.validation {
        FieldValidation::Strict if !found.is_empty() => Err(prepare::strict(op, &StrictError(found))),
        FieldValidation::Ignore => Ok((value, Vec::new())),
        _ => Ok((value, found)),
    }
}
