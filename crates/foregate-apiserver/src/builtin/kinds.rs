//! Which built-in kinds are served, and how.

use std::sync::OnceLock;

use super::columns::{self, Column};
use super::definitions::definitions;
use crate::schema::{NameRule, Schema, SchemaError};

/// A built-in kind in one version.
#[derive(Debug)]
pub struct Builtin {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// The resource's name in paths.
    pub plural: &'static str,
    /// The resource's name for one object.
    pub singular: &'static str,
    /// What kubectl also takes.
    pub short_names: &'static [&'static str],
    /// Groups of resources, such as `all`.
    pub categories: &'static [&'static str],
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether objects are stored. The others are answered at once (access reviews).
    pub persisted: bool,
    /// Whether there is a `/status` subresource.
    pub status: bool,
    /// Whether `metadata.generation` counts changes of what is wanted.
    pub generation: bool,
    /// The definition's name in [`definitions`].
    pub definition: &'static str,
    /// What names must look like.
    pub names: NameRule,
    /// What `kubectl get` prints.
    pub columns: &'static [Column],
}

const STORED: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const ANSWERED: &[&str] = &["create"];

/// A stored kind in a namespace, with no extras: the usual case.
const PLAIN: Builtin = Builtin {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    singular: "",
    short_names: &[],
    categories: &[],
    namespaced: true,
    persisted: true,
    status: false,
    generation: false,
    definition: "",
    names: NameRule::Subdomain,
    columns: columns::PLAIN,
};

const RBAC: Builtin = Builtin { group: "rbac.authorization.k8s.io", names: NameRule::PathSegment, ..PLAIN };
const ADMISSION: Builtin = Builtin {
    group: "admissionregistration.k8s.io",
    namespaced: false,
    generation: true,
    names: NameRule::PathSegment,
    ..PLAIN
};
const REVIEW: Builtin =
    Builtin { group: "authorization.k8s.io", namespaced: false, persisted: false, columns: &[], ..PLAIN };

/// All served built-in kinds.
pub static KINDS: &[Builtin] = &[
    Builtin {
        kind: "Namespace",
        plural: "namespaces",
        singular: "namespace",
        short_names: &["ns"],
        namespaced: false,
        status: true,
        definition: "io.k8s.api.core.v1.Namespace",
        names: NameRule::Label,
        columns: columns::NAMESPACE,
        ..PLAIN
    },
    Builtin {
        kind: "Secret",
        plural: "secrets",
        singular: "secret",
        definition: "io.k8s.api.core.v1.Secret",
        columns: columns::SECRET,
        ..PLAIN
    },
    Builtin {
        kind: "ConfigMap",
        plural: "configmaps",
        singular: "configmap",
        short_names: &["cm"],
        definition: "io.k8s.api.core.v1.ConfigMap",
        columns: columns::CONFIG_MAP,
        ..PLAIN
    },
    Builtin {
        kind: "Service",
        plural: "services",
        singular: "service",
        short_names: &["svc"],
        categories: &["all"],
        status: true,
        definition: "io.k8s.api.core.v1.Service",
        names: NameRule::Label,
        columns: columns::SERVICE,
        ..PLAIN
    },
    Builtin {
        kind: "Endpoints",
        plural: "endpoints",
        singular: "endpoints",
        short_names: &["ep"],
        definition: "io.k8s.api.core.v1.Endpoints",
        ..PLAIN
    },
    Builtin {
        kind: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        definition: "io.k8s.api.core.v1.Event",
        columns: columns::EVENT,
        ..PLAIN
    },
    Builtin {
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        singular: "serviceaccount",
        short_names: &["sa"],
        definition: "io.k8s.api.core.v1.ServiceAccount",
        ..PLAIN
    },
    Builtin {
        group: "discovery.k8s.io",
        kind: "EndpointSlice",
        plural: "endpointslices",
        singular: "endpointslice",
        generation: true,
        definition: "io.k8s.api.discovery.v1.EndpointSlice",
        columns: columns::ENDPOINT_SLICE,
        ..PLAIN
    },
    Builtin {
        group: "events.k8s.io",
        kind: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        definition: "io.k8s.api.events.v1.Event",
        columns: columns::EVENT,
        ..PLAIN
    },
    Builtin {
        group: "coordination.k8s.io",
        kind: "Lease",
        plural: "leases",
        singular: "lease",
        definition: "io.k8s.api.coordination.v1.Lease",
        columns: columns::LEASE,
        ..PLAIN
    },
    Builtin {
        kind: "Role",
        plural: "roles",
        singular: "role",
        definition: "io.k8s.api.rbac.v1.Role",
        columns: columns::CREATED,
        ..RBAC
    },
    Builtin {
        kind: "RoleBinding",
        plural: "rolebindings",
        singular: "rolebinding",
        definition: "io.k8s.api.rbac.v1.RoleBinding",
        columns: columns::BINDING,
        ..RBAC
    },
    Builtin {
        kind: "ClusterRole",
        plural: "clusterroles",
        singular: "clusterrole",
        namespaced: false,
        definition: "io.k8s.api.rbac.v1.ClusterRole",
        columns: columns::CREATED,
        ..RBAC
    },
    Builtin {
        kind: "ClusterRoleBinding",
        plural: "clusterrolebindings",
        singular: "clusterrolebinding",
        namespaced: false,
        definition: "io.k8s.api.rbac.v1.ClusterRoleBinding",
        columns: columns::BINDING,
        ..RBAC
    },
    Builtin {
        group: "apiextensions.k8s.io",
        kind: "CustomResourceDefinition",
        plural: "customresourcedefinitions",
        singular: "customresourcedefinition",
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        namespaced: false,
        status: true,
        generation: true,
        definition: "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        columns: columns::CREATED,
        ..PLAIN
    },
    Builtin {
        kind: "ValidatingAdmissionPolicy",
        plural: "validatingadmissionpolicies",
        singular: "validatingadmissionpolicy",
        categories: &["api-extensions"],
        status: true,
        definition: "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
        columns: columns::ADMISSION_POLICY,
        ..ADMISSION
    },
    Builtin {
        kind: "ValidatingAdmissionPolicyBinding",
        plural: "validatingadmissionpolicybindings",
        singular: "validatingadmissionpolicybinding",
        categories: &["api-extensions"],
        definition: "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
        columns: columns::ADMISSION_BINDING,
        ..ADMISSION
    },
    Builtin {
        kind: "SelfSubjectAccessReview",
        plural: "selfsubjectaccessreviews",
        singular: "selfsubjectaccessreview",
        definition: "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
        ..REVIEW
    },
    Builtin {
        kind: "SelfSubjectRulesReview",
        plural: "selfsubjectrulesreviews",
        singular: "selfsubjectrulesreview",
        definition: "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
        ..REVIEW
    },
    Builtin {
        kind: "SubjectAccessReview",
        plural: "subjectaccessreviews",
        singular: "subjectaccessreview",
        definition: "io.k8s.api.authorization.v1.SubjectAccessReview",
        ..REVIEW
    },
    Builtin {
        group: "authentication.k8s.io",
        kind: "SelfSubjectReview",
        plural: "selfsubjectreviews",
        singular: "selfsubjectreview",
        definition: "io.k8s.api.authentication.v1.SelfSubjectReview",
        ..REVIEW
    },
];

/// The kind that is served at this group, version and resource name.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Builtin> {
    KINDS.iter().find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
}

/// By place in [`KINDS`], each compiled when it is first needed.
static SCHEMAS: [OnceLock<Result<Schema, SchemaError>>; KINDS.len()] = [const { OnceLock::new() }; KINDS.len()];

impl Builtin {
    /// The compiled schema.
    ///
    /// # Errors
    /// Never with the data of this crate: a test compiles them all.
    pub fn schema(&self) -> Result<&'static Schema, &'static SchemaError> {
        let at = KINDS.iter().position(|kind| kind.definition == self.definition).unwrap_or_default();
        let compile = || Schema::builtin(&definitions(), self.definition, self.completion());
        SCHEMAS[at].get_or_init(compile).as_ref()
    }

    /// What may be done with it, as discovery says it.
    pub fn verbs(&self) -> &'static [&'static str] {
        if self.persisted { STORED } else { ANSWERED }
    }
}
