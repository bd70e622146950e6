//! Requests written by hand, by what they are about, each with the routes that they need.

mod bodies;
mod edits;
mod errors;
mod headers;
mod hosts;
mod matches;
mod methods;
mod odd_bytes;
mod odd_paths;
mod redirects;
mod rewrites;

use serde_json::Value;

use super::case::Case;

/// The routes of all tables.
pub fn routes() -> Vec<Value> {
    let tables: [fn() -> Vec<Value>; 6] =
        [matches::routes, hosts::routes, redirects::routes, rewrites::routes, edits::routes, errors::routes];
    tables.into_iter().flat_map(|table| table()).collect()
}

/// The requests of all tables.
pub fn cases() -> Vec<Case> {
    let tables: [fn() -> Vec<Case>; 11] = [
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
    ];
    tables.into_iter().flat_map(|table| table()).collect()
}
