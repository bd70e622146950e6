//! The kinds that Foregate speaks: its own (`foregate.dev/v1alpha1`), the Gateway API's, and Envoy Gateway's `Backend`.
//!
//! Everything that one part of Foregate tells another is an object of one of these kinds, behind an API with
//! Kubernetes semantics. The workload side (controllers) writes [`GatewayClaim`], [`GatewayRoute`],
//! [`GatewayBackend`] and [`GatewayEndpointSlice`]; the platform answers in their statuses and runs one
//! [`GatewayProxy`] per gateway. A newcomer starts at [`claim`], then [`route`].
//!
//! This crate does no I/O. CRD manifests are generated from these types (`cargo xtask codegen`).

pub mod address;
pub mod backend;
pub mod claim;
pub mod class_parameters;
pub mod cluster;
pub mod condition;
pub mod crds;
pub mod credential;
pub mod engine;
pub mod envoy_gateway;
pub mod external_auth;
pub mod gateway;
pub mod instance;
pub mod node;
pub mod object;
pub mod origin;
pub mod proxy;
pub mod revision;
pub mod route;
pub mod template;
pub mod tracing;

pub use address::{Address, AddressPool};
pub use backend::{GatewayBackend, GatewayEndpointSlice};
pub use claim::GatewayClaim;
pub use class_parameters::{GatewayClassParameters, GatewayClassParametersSpec};
pub use cluster::WorkloadCluster;
pub use crds::crds;
pub use engine::EngineName;
pub use instance::GatewayInstance;
pub use node::GatewayNode;
pub use object::{Change, Key};
pub use origin::Origin;
pub use proxy::GatewayProxy;
pub use revision::ConfigRevision;
pub use route::GatewayRoute;
pub use template::GatewayTemplate;

/// The API group of Foregate's own kinds.
pub const GROUP: &str = "foregate.dev";
/// The version of Foregate's own kinds.
pub const VERSION: &str = "v1alpha1";
/// The `controllerName` of a GatewayClass that Foregate's controller takes, unless it is configured otherwise.
pub const CONTROLLER_NAME: &str = "foregate.dev/gateway-controller";
/// The GatewayClass that `foregate up` provides.
pub const DEFAULT_GATEWAY_CLASS: &str = "foregate";
/// The namespace of the tenant that `foregate up` provides.
pub const DEFAULT_TENANT_NAMESPACE: &str = "tenant-default";
/// The GatewayTemplate and AddressPool that `foregate up` provides.
pub const DEFAULT_NAME: &str = "default";
/// The id of the workload cluster that is the embedded API itself.
pub const LOCAL_CLUSTER: &str = "local";
/// Finalizer on claims and proxies: what they own on the platform is released first.
pub const FINALIZER: &str = "foregate.dev/platform";
/// Label on every derived object: the id of its workload cluster.
pub const CLUSTER_LABEL: &str = "foregate.dev/cluster";
/// Annotation on a derived object without a field for it (a Secret): its [`Origin`] as JSON.
pub const ORIGIN_ANNOTATION: &str = "foregate.dev/origin";
