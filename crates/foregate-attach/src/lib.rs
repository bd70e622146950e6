//! Attachment: references, grants and status of Gateways and Routes, pure and incremental.
//!
//! [`Attach`] is told of every change to the workload cluster's objects ([`Input`]) and says what follows
//! ([`Output`]): objects for the platform, in which every reference is resolved, and statuses for the users' objects.
//! It does no I/O, knows no clock, and never rebuilds the world: a changed object leads, by reverse references, to
//! exactly what depends on it.

mod ancestors;
mod attach;
mod backend;
mod book;
mod certificate;
mod class;
mod dirty;
mod duration;
mod envoy_proxy;
mod external_auth;
mod features;
mod feedback;
mod finalizer;
mod gateway;
mod glimpse;
mod grants;
mod hostname;
mod input;
mod need;
mod output;
mod parameters;
mod problem;
mod refs;
mod route;
mod secret;
mod selector;
mod settings;
mod status;
mod target;
mod telemetry;
mod world;

pub use attach::Attach;
pub use foregate_api::{Change, Key};
pub use glimpse::{Fetched, Glimpse, GlimpseKind, Told};
pub use input::{Input, Release};
pub use need::{Need, NeedChange};
pub use output::{
    Derived, DerivedChange, DerivedKind, FinalizerChange, Output, ServiceChange, StatusChange, StatusKind,
};
pub use settings::{DefaultTarget, Settings};
pub use target::{Connection, Health, TargetChange, TargetEvent, TargetId};
