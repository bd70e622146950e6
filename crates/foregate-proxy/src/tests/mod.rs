//! The engine end to end, over loopback: resources in, requests through, answers compared.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod backend;
mod client;
mod resources;
mod rig;

mod actions;
mod bad_clients;
mod basics;
mod changes;
mod observe;
mod resilience;
mod tls;
mod xds;
