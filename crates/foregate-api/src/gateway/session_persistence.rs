//! Session persistence (GEP-1619), as routes, XBackend and XBackendTrafficPolicy have it; experimental channel.

use serde::{Deserialize, Serialize};

/// How a client is kept with the endpoint that answered it first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionPersistence {
    /// When a session ends however much it is used, a GEP-2257 duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<String>,
    /// By what; none: by a cookie.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SessionPersistenceType>,
    /// The cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<SessionCookie>,
    /// The header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<SessionHeader>,
}

/// The ways to recognize a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionPersistenceType {
    /// By a cookie.
    #[default]
    Cookie,
    /// By a header.
    Header,
    /// A value of a newer API.
    #[serde(other)]
    Unknown,
}

/// A cookie that recognizes a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionCookie {
    /// Its name; none: the gateway chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its path; none: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How long browsers keep it; none: `Session`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_type: Option<CookieLifetimeType>,
}

/// How long browsers keep a cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CookieLifetimeType {
    /// Until they are closed.
    #[default]
    Session,
    /// For the absolute timeout.
    Permanent,
    /// A value of a newer API.
    #[serde(other)]
    Unknown,
}

/// A header that recognizes a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionHeader {
    /// Its name.
    pub name: String,
}
