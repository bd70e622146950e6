//! Requests written by hand, by what they are about, each with the routes that they need.

mod bodies;
mod calls;
mod edits;
mod errors;
mod headers;
mod hosts;
mod matches;
mod methods;
mod odd_bytes;
mod odd_paths;
mod pages;
mod patched;
mod redirects;
mod rewrites;

use serde_json::Value;

use super::case::Case;

pub use calls::cases as calls;
pub use patched::patch;

/// The routes of all tables.
pub fn routes() -> Vec<Value> {
    let tables: [fn() -> Vec<Value>; 9] = [
        matches::routes,
        hosts::routes,
        redirects::routes,
        rewrites::routes,
        edits::routes,
        errors::routes,
        pages::routes,
        patched::routes,
        calls::routes,
    ];
    tables.into_iter().flat_map(|table| table()).collect()
}

/// The requests of all tables.
pub fn cases() -> Vec<Case> {
    let tables: [fn() -> Vec<Case>; 13] = [
        matches::cases,
        hosts::cases,
        redirects::cases,
        rewrites::cases,
        edits::cases,
        errors::cases,
        headers::cases,
        bodies::cases,
        methods::cases,
        odd_paths::cases,
        odd_bytes::cases,
        pages::cases,
        patched::cases,
    ];
    tables.into_iter().flat_map(|table| table()).collect()
}
