//! The relay between a platform's cache and an engine, over real mutual TLS on the loopback interface.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, reason = "tests")]

mod access;
mod away;
mod flow;
mod link;
#[path = "../support/resources.rs"]
mod resources;
mod rig;
