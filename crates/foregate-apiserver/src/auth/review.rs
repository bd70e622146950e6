//! `kubectl auth can-i` and `kubectl auth whoami`: reviews are answered, never stored.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Attributes, Caller};
use crate::core::Core;
use crate::error::ApiError;
use crate::rest::body::{self, Body};
use crate::rest::path::Target;

/// A kind of review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Review {
    SelfAccess,
    SelfRules,
    Access,
    SelfSubject,
}

/// The review that a path asks for.
pub(crate) fn kind(target: &Target) -> Option<Review> {
    match (target.group.as_str(), target.version.as_str(), target.resource.as_str()) {
        ("authorization.k8s.io", "v1", "selfsubjectaccessreviews") => Some(Review::SelfAccess),
        ("authorization.k8s.io", "v1", "selfsubjectrulesreviews") => Some(Review::SelfRules),
        ("authorization.k8s.io", "v1", "subjectaccessreviews") => Some(Review::Access),
        ("authentication.k8s.io", "v1", "selfsubjectreviews") => Some(Review::SelfSubject),
        _ => None,
    }
}

/// Answers a review.
pub(crate) fn answer(
    core: &Core,
    caller: &Caller,
    review: Review,
    media: &str,
    bytes: &Bytes,
) -> Result<Response<Body>, ApiError> {
    let mut object = body::decode(media, bytes)?;
    if !object.is_object() {
        return Err(ApiError::bad_request("the body must be one object"));
    }
    object["status"] = match review {
        Review::SelfSubject => json!({"userInfo": {"username": caller.user, "groups": caller.groups}}),
        Review::SelfRules => core.auth.rules_of(caller, object["spec"]["namespace"].as_str().unwrap_or_default()),
        Review::SelfAccess => access(core, caller, &object["spec"]),
        Review::Access => {
            let wish = Attributes {
                verb: "create".into(),
                group: "authorization.k8s.io".into(),
                resource: "subjectaccessreviews".into(),
                ..Attributes::default()
            };
            core.auth.allow(caller, &wish)?;
            let spec = &object["spec"];
            let groups = spec["groups"].as_array().into_iter().flatten();
            let groups = groups.filter_map(|g| g.as_str().map(str::to_owned)).collect();
            let other = Caller::new(spec["user"].as_str().unwrap_or_default(), groups);
            access(core, &other, spec)
        }
    };
    Ok(body::value(StatusCode::CREATED, &object))
}

fn access(core: &Core, caller: &Caller, spec: &Value) -> Value {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let allowed = if let Some(path) = spec["nonResourceAttributes"]["path"].as_str() {
        let verb = text(&spec["nonResourceAttributes"]["verb"]);
        core.auth.may_path(caller, &verb, path)
    } else {
        let wish = &spec["resourceAttributes"];
        let mut resource = text(&wish["resource"]);
        if let Some(sub) = wish["subresource"].as_str().filter(|s| !s.is_empty()) {
            resource = format!("{resource}/{sub}");
        }
        core.auth.may(
            caller,
            &Attributes {
                verb: text(&wish["verb"]),
                group: text(&wish["group"]),
                resource,
                namespace: text(&wish["namespace"]),
                name: text(&wish["name"]),
            },
        )
    };
    json!({"allowed": allowed})
}
