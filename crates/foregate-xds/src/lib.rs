//! xDS: how a gateway's resources reach its engines, and how their answers come back.
//!
//! - [`Cache`] holds the encoded resources of every gateway (a *group*). [`Cache::apply`] takes a
//!   [`Delta`](foregate_envoy::Delta) and hands out a sequence number; its cost is that of what changed.
//! - [`server`] serves a cache over ADS, delta and state of the world, on a unix socket that names the
//!   [`Instance`] behind it.
//! - [`tls`] serves it to the nodes, over TCP with mutual TLS: the certificate names the node, and the [`Directory`]
//!   says which instances that node has.
//! - [`relay`] is a node's end of that: a local cache, kept on disk, which engines are served from.
//! - [`stream`] is what one stream knows and does, as a pure state machine: subscriptions, nonces, the order of
//!   make before break, the search for the culprit of a refusal, progress. It does no I/O, so that it can be tested
//!   with clients that delay, reorder, refuse and die.
//! - [`client`] is the delta client that foregate-proxy and the node agent use; [`local`] is the same in the cache's own
//!   process: no socket, no messages, no other task.
//! - [`Event`]s come back from all streams: connected, disconnected, applied up to a sequence, refused a resource.
//!
//! # Order
//! A virtual host, route configuration or listener that newly names a cluster is sent to a stream only when that
//! stream has acknowledged the cluster and the endpoints and secrets that the cluster names. A cluster that nothing
//! names any more stays for [`Options::drain`]. Waiting is bounded by [`Options::need_timeout`].
//!
//! # Engines and others
//! A stream counts as its instance's engine (connected, progress) once it asks for all listeners or all clusters. One that
//! only takes what it names is a client within an application, such as gRPC's: nothing of it waits for anything, since
//! it asks for each thing after what names it. Listeners with an `api_listener` are for those alone.
//!
//! # Virtual hosts
//! The cache holds each virtual host as a resource of its own, named `<route configuration>/<domain>`. A client with
//! the feature [`VHDS_FEATURE`] gets them one by one (VHDS); for others they are put together into their
//! RouteConfiguration.

pub mod cache;
pub mod client;
mod dialogue;
pub mod directory;
pub mod event;
pub mod local;
pub mod options;
pub mod relay;
pub mod server;
mod session;
mod socket;
pub mod stats;
pub mod store;
pub mod stream;
pub mod tls;
mod wire;

pub use foregate_envoy::{Delta, Owner, Resource, ResourceId, ResourceKind};

pub use cache::Cache;
pub use client::{Client, ClientError};
pub use directory::{Credentials, Directory};
pub use event::{Event, Instance};
pub use local::Endpoint;
pub use options::Options;
pub use relay::{Relay, RelayOptions};
pub use server::{ServeError, UnixSocket, serve, serve_unix};
pub use stats::Stats;

/// The client feature (`node.client_features`) of a client that takes virtual hosts one by one, and subscribes to
/// `<route configuration>/*`.
pub const VHDS_FEATURE: &str = "foregate.vhds";

/// The client feature of a node's relay: it gets all that its instance's group has, in no engine's order; see [`relay`].
pub const RELAY_FEATURE: &str = "foregate.relay";
