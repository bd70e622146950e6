//! Statuses on their way.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use crate::Key;
use crate::output::{StatusChange, StatusKind};

/// The status of an object that was emitted for a version of it and that no newer version has shown yet.
#[derive(Debug)]
pub(crate) struct Pending<S> {
    resource_version: Option<String>,
    status: Option<S>,
}

impl<S> Default for Pending<S> {
    fn default() -> Self {
        Self { resource_version: None, status: None }
    }
}

impl<S: Clone + Default + PartialEq + Serialize> Pending<S> {
    /// Makes the new status from what the object has, or will have once what was emitted for this version is
    /// written. Emits it if it differs.
    pub fn update(
        &mut self,
        kind: StatusKind,
        key: &Key,
        metadata: &ObjectMeta,
        current: Option<&S>,
        build: impl FnOnce(&S) -> S,
    ) -> Option<StatusChange> {
        if self.resource_version != metadata.resource_version {
            self.resource_version.clone_from(&metadata.resource_version);
            self.status = None;
        }
        let empty = S::default();
        let base = self.status.as_ref().or(current).unwrap_or(&empty);
        let status = build(base);
        if status == *base {
            return None;
        }
        let value = serde_json::to_value(&status).ok()?;
        self.status = Some(status);
        Some(StatusChange {
            kind,
            key: key.clone(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            status: value,
        })
    }
}
