//! What a stream does, case by case.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod order;
mod protocol;
mod refusal;
#[path = "../support/resources.rs"]
mod resources;
mod talk;
mod virtual_hosts;
