//! The status that every kind of route has.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::{Deserialize, Serialize};

use super::ParentReference;

/// What controllers say of a route: one entry per parent and controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteStatus {
    /// The entries, at most 32. A controller touches its own only.
    #[serde(default)]
    pub parents: Vec<RouteParentStatus>,
}

/// What one controller says of a route with respect to one parent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteParentStatus {
    /// The parent, as the route's `spec.parentRefs` names it.
    pub parent_ref: ParentReference,
    /// The controller that wrote this.
    pub controller_name: String,
    /// `Accepted`, `ResolvedRefs`, `PartiallyInvalid`.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
