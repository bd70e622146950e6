//! From the platform's objects to the intermediate representation: names are looked up, Gateway API semantics decided.

pub(crate) mod auth;
pub(crate) mod endpoints;
pub(crate) mod forward;
pub(crate) mod hostname;
pub(crate) mod listeners;
mod matches;
pub(crate) mod precedence;
mod redirect;
pub(crate) mod route;
