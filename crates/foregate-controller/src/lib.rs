//! The workload side: it watches what users write (GatewayClass, Gateway, HTTPRoute, Service, EndpointSlice, Secret,
//! ReferenceGrant, Namespace), lets [`foregate_attach`] decide, and writes what follows: derived objects for the
//! platform, and status back to the users' objects.
//!
//! This crate is the shell around a pure decision. [`source`] turns watches into inputs, [`run`] feeds them to the one
//! task that owns the decision, [`dispatch`] executes the writes: one at a time per object, the newest wins, failures
//! are tried again. Nothing here polls.

pub mod dispatch;
mod error;
mod pipeline;
mod source;
mod write;

pub use error::ControllerError;
pub use pipeline::run;

/// What a controller serves, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerOptions {
    /// Id of the workload cluster, part of every derived object's name.
    pub cluster: String,
    /// GatewayClasses of these `controllerName`s are ours.
    pub controller_names: Vec<String>,
    /// Namespace on the platform that derived objects are written to.
    pub tenant_namespace: String,
    /// GatewayTemplate of gateways whose class names none.
    pub template: String,
}

impl ControllerOptions {
    /// The controller of `foregate up`: the embedded API is both the workload cluster and the platform.
    pub fn local() -> Self {
        Self {
            cluster: foregate_api::LOCAL_CLUSTER.to_owned(),
            controller_names: vec![foregate_api::CONTROLLER_NAME.to_owned()],
            tenant_namespace: foregate_api::DEFAULT_TENANT_NAMESPACE.to_owned(),
            template: foregate_api::DEFAULT_NAME.to_owned(),
        }
    }
}
