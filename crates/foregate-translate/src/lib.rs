//! Translation: the platform's objects to an intermediate representation to Envoy's resources, pure and incremental.
//!
//! A newcomer starts at [`Translator::apply`]: changed objects go in ([`Input`]), changes to gateways' Envoy resources
//! come out ([`Output`]). There is no clock, no socket and no thread in here.
//!
//! Stages of a change, each in a folder of its own:
//!
//! 1. `index`: the objects as they are, with references in both directions, so that a change finds what depends on it.
//! 2. `resolve`: an object and what it names become a part of the intermediate representation ([`ir`]): names are
//!    looked up, Gateway API semantics are decided (precedence, ports of redirects, which listener owns a domain).
//! 3. `envoy`: a part of the intermediate representation becomes Envoy messages, one feature per file, and is checked
//!    by Envoy's own rules.
//! 4. `translator`: which of this has to be done again, and what of it is new to whom.
//!
//! The unit is the virtual host (route configuration × domain): an ordered merge of routes that were compiled once per
//! GatewayRoute and attachment. A listener never changes because a route of requests or a backend changed. Routes of
//! connections and datagrams have no place but the listener: each changes its own filter chain there, and nothing else.
//!
//! Bad input stays local. An object that can't be translated gets a [`Report`]; what was made from its last good form
//! serves on. The same holds for what an engine refused ([`Input::Quarantine`]).

mod envoy;
pub mod explain;
mod index;
mod input;
pub mod ir;
mod output;
mod problem;
mod resolve;
mod stock;
mod template;
mod translator;

pub use foregate_api::{Change, Key};
pub use input::{Input, Options};
pub use output::{ObjectRef, Output, Report, ResourceChange};
pub use problem::Problem;
pub use stock::renewed as renewed_stock;
pub use template::{default_template, default_template_yaml};
pub use translator::{Present, Translator};

/// The name of a cluster that never exists: the share of traffic that goes to it answers 500.
pub const UNRESOLVED_CLUSTER: &str = "foregate-unresolved";
