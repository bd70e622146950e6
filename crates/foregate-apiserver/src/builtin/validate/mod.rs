//! What upstream's Go code refuses, as far as it matters on the embedded API.

mod admission;
mod data;
mod network;
mod roles;

use serde_json::Value;

use super::kinds::Builtin;
use crate::schema::{FieldError, FieldErrorKind};

impl Builtin {
    /// What is wrong with `new` besides its schema and metadata. `old` is the object before an
    /// update.
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        match (self.group, self.kind) {
            ("", "Secret") => data::secret(new, old, &mut errors),
            ("", "ConfigMap") => data::config_map(new, old, &mut errors),
            ("", "Service") => network::service(new, &mut errors),
            ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice(new, old, &mut errors),
            ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
                roles::binding(new, old, &mut errors)
            }
            ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => admission::policy(new, &mut errors),
            ("admissionregistration.k8s.io", _) => admission::binding(new, &mut errors),
            ("rbac.authorization.k8s.io", _) => roles::rules(new, &mut errors),
            _ => {}
        }
        errors
    }
}

fn unsupported(field: String, value: &Value, supported: &[&str]) -> FieldError {
    let list: Vec<String> = supported.iter().map(|name| format!("\"{name}\"")).collect();
    FieldError::new(FieldErrorKind::NotSupported, field, value, format!("supported values: {}", list.join(", ")))
}
