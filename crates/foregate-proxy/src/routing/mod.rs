//! From a request's host, path, headers and query to a route.

pub(crate) mod domains;
pub(crate) mod index;
pub(crate) mod matchers;
pub(crate) mod request;
