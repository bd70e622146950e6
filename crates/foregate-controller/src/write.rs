//! What the decision wants written, as one API call each.

use foregate_api::{GatewayBackend, GatewayClaim, GatewayEndpointSlice, GatewayRoute};
use foregate_attach::{Derived, DerivedChange, DerivedKind, StatusChange, StatusKind};
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::ApiResource;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::dispatch::Outcome;

/// Field manager of derived objects.
const MANAGER: &str = "foregate-controller";
