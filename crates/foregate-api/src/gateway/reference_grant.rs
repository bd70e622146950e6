//! ReferenceGrant.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// Lets objects of other namespaces name objects of this one. It has no status.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "ReferenceGrant",
    plural = "referencegrants",
    namespaced,
    derive = "PartialEq",
    schema = "disabled",
    shortname = "refgrant"
)]
pub struct ReferenceGrantSpec {
    /// Who may refer; any of these.
    #[serde(default)]
    pub from: Vec<ReferenceGrantFrom>,
    /// To what; any of these.
    #[serde(default)]
    pub to: Vec<ReferenceGrantTo>,
}

/// Who may refer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReferenceGrantFrom {
    /// The group of the referring kind; empty for the core group.
    pub group: String,
    /// The referring kind.
    pub kind: String,
    /// The referring object's namespace.
    pub namespace: String,
}

/// What may be referred to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReferenceGrantTo {
    /// Its group; empty for the core group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its name; none: all of that kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
