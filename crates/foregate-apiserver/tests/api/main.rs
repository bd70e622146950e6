//! The server as its clients see it: in process, over TLS, and after it was killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod admission;
mod apply;
mod auth;
mod bad_input;
mod bench;
mod crd;
mod crud;
mod gc;
mod kill;
mod lists;
mod watch;
