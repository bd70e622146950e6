//! What upstream's Go code fills in: defaults that no schema has.

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::kinds::Builtin;

impl Builtin {
    /// Fills in what a written object leaves out. Call it after [`crate::schema::Schema::prepare`].
    pub fn complete(&self, object: &mut Value) {
        if let Some(complete) = self.completion() {
            complete(object);
        }
    }

    /// [`Builtin::complete`] as a function, for kinds that have anything to complete.
    pub(super) fn completion(&self) -> Option<fn(&mut Value)> {
        Some(match (self.group, self.kind) {
            ("", "Namespace") => |object| with(object, namespace),
            ("", "Secret") => |object| with(object, secret),
            ("", "Service") => |object| with(object, service),
            ("discovery.k8s.io", "EndpointSlice") => |object| with(object, endpoint_slice),
            ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => |object| with(object, binding),
            ("admissionregistration.k8s.io", _) => |object| with(object, admission),
            ("apiextensions.k8s.io", _) => |object| with(object, definition),
            _ => return None,
        })
    }
}

fn with(object: &mut Value, complete: fn(&mut Map<String, Value>)) {
    if let Value::Object(map) = object {
        complete(map);
    }
}

fn default(map: &mut Map<String, Value>, field: &str, value: Value) {
    let empty = map.get(field).is_none_or(|now| now.is_null() || now.as_str() == Some(""));
    if empty {
        map.insert(field.to_string(), value);
    }
}

fn child<'a>(map: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Map<String, Value>> {
    let value = map.entry(field).or_insert_with(|| json!({}));
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut()
}

fn each<'a>(map: &'a mut Map<String, Value>, field: &str) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    let list = map.get_mut(field).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

fn namespace(object: &mut Map<String, Value>) {
    let Some(metadata) = child(object, "metadata") else { return };
    let deleting = metadata.get("deletionTimestamp").is_some_and(|stamp| !stamp.is_null());
    if let Some(name) = metadata.get("name").filter(|name| name.as_str().is_some_and(|name| !name.is_empty())).cloned()
        && let Some(labels) = child(metadata, "labels")
    {
        labels.insert("kubernetes.io/metadata.name".into(), name);
    }
    if let Some(spec) = child(object, "spec").filter(|_| !deleting) {
        default(spec, "finalizers", json!(["kubernetes"]));
    }
    if let Some(status) = child(object, "status") {
        default(status, "phase", "Active".into());
    }
}

/// `stringData` is a way to write `data` without base64; it is never stored.
fn secret(object: &mut Map<String, Value>) {
    if let Some(Value::Object(plain)) = object.remove("stringData")
        && let Some(data) = child(object, "data")
    {
        for (key, value) in plain {
            if let Value::String(text) = value {
                data.insert(key, base64::engine::general_purpose::STANDARD.encode(text).into());
            }
        }
    }
    default(object, "type", "Opaque".into());
}

/// No cluster address is allocated here: nothing routes one. `None` stays, for clients that set it.
fn service(object: &mut Map<String, Value>) {
    let Some(spec) = child(object, "spec") else { return };
    default(spec, "type", "ClusterIP".into());
    default(spec, "sessionAffinity", "None".into());
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_string();
    if kind != "ExternalName" {
        default(spec, "internalTrafficPolicy", "Cluster".into());
        if let Some(address) = spec.get("clusterIP").filter(|address| !address.is_null()).cloned() {
            default(spec, "clusterIPs", json!([address]));
        }
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        default(spec, "externalTrafficPolicy", "Cluster".into());
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true.into());
    }
    // What only other types have would outlive a change of the type.
    let gone: &[&str] = match kind.as_str() {
        "LoadBalancer" => &[],
        "NodePort" => &["allocateLoadBalancerNodePorts"],
        _ => &["allocateLoadBalancerNodePorts", "externalTrafficPolicy"],
    };
    spec.retain(|name, _| !gone.contains(&name.as_str()));
    for port in each(spec, "ports") {
        default(port, "protocol", "TCP".into());
        if kind != "ExternalName"
            && let Some(number) = port.get("port").cloned()
        {
            let unset = port.get("targetPort").is_none_or(|target| target.is_null() || *target == 0 || *target == "");
            if unset {
                port.insert("targetPort".into(), number);
            }
        }
    }
    if let Some(status) = child(object, "status") {
        default(status, "loadBalancer", json!({}));
    }
}

fn endpoint_slice(object: &mut Map<String, Value>) {
    for port in each(object, "ports") {
        default(port, "name", "".into());
        default(port, "protocol", "TCP".into());
    }
    if object.get("endpoints").is_none_or(Value::is_null) {
        object.insert("endpoints".into(), json!([]));
    }
    for endpoint in each(object, "endpoints") {
        if let Some(conditions) = child(endpoint, "conditions") {
            let ready = conditions.get("ready").and_then(Value::as_bool).unwrap_or(true);
            let terminating = conditions.get("terminating").and_then(Value::as_bool).unwrap_or(false);
            default(conditions, "ready", true.into());
            // Serving is readiness without regard to termination.
            default(conditions, "serving", (ready || terminating).into());
            default(conditions, "terminating", false.into());
        }
    }
}

fn binding(object: &mut Map<String, Value>) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    if let Some(role) = object.get_mut("roleRef").and_then(Value::as_object_mut) {
        default(role, "apiGroup", GROUP.into());
    }
    for subject in each(object, "subjects") {
        if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
            default(subject, "apiGroup", GROUP.into());
        }
    }
}

/// A policy, or a binding of one.
fn admission(object: &mut Map<String, Value>) {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(spec) = child(object, "spec") else { return };
    let field = if kind == "ValidatingAdmissionPolicy" {
        default(spec, "failurePolicy", "Fail".into());
        "matchConstraints"
    } else {
        "matchResources"
    };
    let Some(matching) = spec.get_mut(field).and_then(Value::as_object_mut) else { return };
    default(matching, "matchPolicy", "Equivalent".into());
    default(matching, "namespaceSelector", json!({}));
    default(matching, "objectSelector", json!({}));
    for rules in ["resourceRules", "excludeResourceRules"] {
        for rule in each(matching, rules) {
            default(rule, "scope", "*".into());
        }
    }
}

fn definition(object: &mut Map<String, Value>) {
    let Some(spec) = child(object, "spec") else { return };
    if let Some(names) = child(spec, "names") {
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_string();
        if !kind.is_empty() {
            default(names, "singular", kind.to_lowercase().into());
            default(names, "listKind", format!("{kind}List").into());
        }
    }
    default(spec, "conversion", json!({"strategy": "None"}));
}
