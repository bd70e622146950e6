//! The platform on a real API server, with engines that speak xDS over sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod engine;
mod gateways;
mod refusals;
mod restart;
mod revisions;
mod world;
