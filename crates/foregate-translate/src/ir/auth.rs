//! External authorization.

use std::sync::Arc;

use foregate_api::external_auth::ExternalAuthProtocol;
use serde::Serialize;

/// A service that is asked about requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// Its cluster; none: it isn't there, and every request is answered 500.
    pub cluster: Option<Arc<str>>,
    /// What it is called, where the question has to name somebody.
    pub authority: String,
    /// How it is asked.
    pub protocol: ExternalAuthProtocol,
    /// So many bytes of a body it gets at most; none: it gets none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<u32>,
}

/// What a listener does to requests before they are routed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequestFilter {
    /// Its name, unique in the filter chain: virtual hosts of its listener switch it on by that.
    pub name: String,
    /// Who is asked.
    pub auth: Auth,
}
