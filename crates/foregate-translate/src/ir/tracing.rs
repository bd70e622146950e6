//! Distributed tracing.

use std::sync::Arc;

use serde::Serialize;

/// How the requests of a filter chain are traced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracing {
    /// The collector's cluster.
    pub cluster: Arc<str>,
    /// What the collector is called.
    pub authority: String,
    /// What is traced, and what is told of it.
    #[serde(flatten)]
    pub wanted: foregate_api::tracing::Tracing,
}
