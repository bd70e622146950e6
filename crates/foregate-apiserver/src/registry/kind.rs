//! One served version of one resource, and what the server knows of it.

use std::sync::Arc;

use serde_json::Value;

use super::column::Columns;
use super::validation::Rules;

/// The definition a dynamic kind comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Name of the CustomResourceDefinition.
    pub name: String,
    /// Whether it is being deleted: nothing may be created then.
    pub deleting: bool,
}

/// One served version of one resource.
#[derive(Debug)]
pub struct Kind {
    /// API group, empty for the core.
    pub group: String,
    /// Version that is served under this entry.
    pub version: String,
    /// `kind`
    pub kind: String,
    /// `kind` of lists.
    pub list_kind: String,
    /// Resource name in paths.
    pub plural: String,
    /// Singular resource name.
    pub singular: String,
    /// Short names for kubectl.
    pub short_names: Vec<String>,
    /// Categories for kubectl, e.g. `all`.
    pub categories: Vec<String>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether it has a status subresource.
    pub status: bool,
    /// Whether `metadata.generation` counts changes of the spec.
    pub generation: bool,
    /// The version that objects are stored in.
    pub storage_version: String,
    /// Whether objects of another version than this may be stored.
    pub mixed: bool,
    /// Columns of its table.
    pub columns: Columns,
    /// Paths, besides the name and namespace, that field selectors may use.
    pub selectable: Vec<String>,
    /// Under which its objects are stored: `group/plural`.
    pub storage: Arc<str>,
    /// The definition of a dynamic kind.
    pub definition: Option<Definition>,
    /// Text shown by the server for a version that is going away.
    pub warning: Option<String>,
    /// Schema and everything that follows from it.
    pub rules: Rules,
}

impl Kind {
    /// `group/version`, or the version in the core group.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// `group/version` of stored objects.
    pub fn storage_api_version(&self) -> String {
        api_version(&self.group, &self.storage_version)
    }

    /// Whether this is the resource `plural` of `group`.
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    /// Whether it is the CustomResourceDefinition resource.
    pub fn is_definition(&self) -> bool {
        self.is("apiextensions.k8s.io", "customresourcedefinitions")
    }

    /// Whether it is the Namespace resource.
    pub fn is_namespace(&self) -> bool {
        self.is("", "namespaces")
    }

    /// The verbs that discovery shows.
    pub fn verbs(&self) -> Value {
        serde_json::json!(["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"])
    }
}

/// `group/version`, or the version in the core group.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}
