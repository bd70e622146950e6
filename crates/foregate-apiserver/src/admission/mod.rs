//! ValidatingAdmissionPolicies (admissionregistration.k8s.io/v1): rules in CEL on who may write what.
//!
//! A policy is compiled when it changes, not when it is asked. A write that no policy's rules match costs the comparison
//! of a few words. Supported is all of the v1 API but parameters (`paramKind`), audit annotations and the variable
//! `authorizer`; policies that use those are refused when they are written.

mod matching;
mod policy;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::StatusCode;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::follow::Follow;
use crate::namespaces::NAMESPACES;
use crate::rest::op::Op;
use crate::schema::cel::Budget;
use crate::store::Key;
use matching::{Matching, Place};
pub(crate) use policy::problems;
use policy::{Denied, Policy, Scene};

/// The group that policies and their bindings are stored under.
pub(crate) const GROUP: &str = "admissionregistration.k8s.io/";

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
}

impl Operation {
    /// As rules and requests call it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// A write that is about to be done.
pub(crate) struct Write<'a> {
    pub op: &'a Op,
    pub operation: Operation,
    pub name: &'a str,
    /// As it will be; none for a deletion.
    pub object: Option<&'a Value>,
    /// As it is; none for a creation.
    pub old: Option<&'a Value>,
}

/// What a binding does with a policy.
struct Binding {
    policy: String,
    matching: Matching,
    deny: bool,
    warn: bool,
    audit: bool,
}

/// A policy and one of its bindings.
#[derive(Clone)]
struct Active {
    policy_name: Arc<str>,
    binding_name: Arc<str>,
    policy: Arc<Policy>,
    binding: Arc<Binding>,
}

#[derive(Default)]
struct Tables {
    policies: BTreeMap<Arc<str>, Arc<Policy>>,
    bindings: BTreeMap<Arc<str>, Arc<Binding>>,
}

/// All policies.
#[derive(Default)]
pub(crate) struct Admission {
    active: ArcSwap<Vec<Active>>,
    tables: Mutex<Tables>,
}

impl Follow for Admission {
    fn set(&self, key: &Key, object: Option<&Value>) {
        let mut tables = self.tables.lock();
        let name = key.name.clone();
        match (key.resource.strip_prefix(GROUP), object) {
            (Some("validatingadmissionpolicies"), Some(object)) => {
                drop(tables.policies.insert(name, Arc::new(Policy::of(object))));
            }
            (Some("validatingadmissionpolicies"), None) => drop(tables.policies.remove(&name)),
            (Some("validatingadmissionpolicybindings"), Some(object)) => {
                drop(tables.bindings.insert(name, Arc::new(binding(object))));
            }
            (Some("validatingadmissionpolicybindings"), None) => drop(tables.bindings.remove(&name)),
            _ => return,
        }
        let active = tables.bindings.iter().filter_map(|(name, binding)| {
            let (policy_name, policy) = tables.policies.get_key_value(binding.policy.as_str())?;
            Some(Active {
                policy_name: policy_name.clone(),
                binding_name: name.clone(),
                policy: policy.clone(),
                binding: binding.clone(),
            })
        });
        self.active.store(Arc::new(active.collect()));
    }
}

impl Admission {
    /// Asks every policy that a write concerns. Returns warnings for the client.
    ///
    /// # Errors
    /// Why a policy denies it.
    pub fn review(&self, write: &Write<'_>) -> Result<Vec<String>, ApiError> {
        let active = self.active.load();
        let place = Place::of(write);
        let mut concerned = active.iter().filter(|it| it.policy.matching.rules_take(&place)).peekable();
        if concerned.peek().is_none() {
            return Ok(Vec::new());
        }
        let concerned: Vec<&Active> = concerned.collect();
        let namespace = if concerned.iter().any(|it| it.needs_namespace()) { namespace(write.op)? } else { None };
        let request = request(write);
        let scene = Scene { write, request: &request, namespace: namespace.as_ref() };
        let mut warnings = Vec::new();
        for it in concerned {
            let is_meant = |matching: &Matching| matching.selectors_take(&scene);
            let bound = (it.binding.matching.is_unbounded() || it.binding.matching.rules_take(&place))
                && is_meant(&it.policy.matching)
                && is_meant(&it.binding.matching);
            if !bound {
                continue;
            }
            if let Err(denied) = it.policy.judge(&scene, &mut Budget::new()) {
                it.tell(write, &denied, &mut warnings)?;
            }
        }
        Ok(warnings)
    }
}

impl Active {
    fn needs_namespace(&self) -> bool {
        self.policy.needs_namespace() || self.binding.matching.needs_namespace()
    }

    fn tell(&self, write: &Write<'_>, denied: &Denied, warnings: &mut Vec<String>) -> Result<(), ApiError> {
        let (policy, binding, why) = (&self.policy_name, &self.binding_name, &denied.message);
        if self.binding.audit {
            let (user, kind) = (&write.op.caller.user, &write.op.kind.plural);
            tracing::info!(%policy, %binding, %user, %kind, name = write.name, %why, "admission policy failed");
        }
        if self.binding.warn {
            warnings.push(format!(
                "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {why}"
            ));
        }
        if !self.binding.deny {
            return Ok(());
        }
        let why = format!("ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {why}");
        let kind = &write.op.kind;
        let mut error = ApiError::forbidden(&kind.group, &kind.plural, write.name, why);
        (error.code, error.reason) = match denied.reason.as_str() {
            "Forbidden" => (StatusCode::FORBIDDEN, "Forbidden"),
            "Unauthorized" => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            "RequestEntityTooLarge" => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge"),
            _ => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
        };
        Err(error)
    }
}

fn binding(object: &Value) -> Binding {
    let spec = &object["spec"];
    let acts = |action: &str| spec["validationActions"].as_array().is_some_and(|all| all.iter().any(|it| it == action));
    Binding {
        policy: spec["policyName"].as_str().unwrap_or_default().to_owned(),
        matching: Matching::of(&spec["matchResources"]),
        deny: acts("Deny"),
        warn: acts("Warn"),
        audit: acts("Audit"),
    }
}

/// The namespace of the object; of a Namespace: itself.
fn namespace(op: &Op) -> Result<Option<Value>, ApiError> {
    let name = if op.kind.is_namespace() { op.name() } else { op.namespace() };
    if name.is_empty() {
        return Ok(None);
    }
    Ok(op.core.read(&Key::new(&NAMESPACES.into(), "", name))?.map(|live| live.value))
}

/// `AdmissionRequest`, as far as expressions may use it.
fn request(write: &Write<'_>) -> Value {
    let Write { op, operation, name, .. } = write;
    let kind = &op.kind;
    let gvk = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    let gvr = json!({"group": kind.group, "version": kind.version, "resource": kind.plural});
    let subresource = op.target.subresource.as_deref().unwrap_or_default();
    json!({
        "kind": gvk, "requestKind": gvk, "resource": gvr, "requestResource": gvr,
        "subResource": subresource, "requestSubResource": subresource,
        "name": name, "namespace": op.namespace(), "operation": operation.as_str(), "dryRun": op.dry_run,
        "userInfo": {"username": op.caller.user, "uid": op.caller.uid, "groups": op.caller.groups, "extra": {}},
    })
}
