//! The admission policy of workload clusters: each writes its own objects, under its own names, and refers to nothing
//! else.
//!
//! RBAC says which kinds in which namespace ([`super::rights`]). This says whose: a label, a name and an origin that are
//! the cluster's, for what is there as for what is written. Names of others must not be taken, and nothing of others
//! may be named: a route that named another cluster's claim would take its traffic, a listener that named another's
//! Secret would show its certificate.

use foregate_api::CLUSTER_LABEL;
use foregate_api::cluster::{CLUSTERS_GROUP, TENANT_NAMESPACE_PREFIX};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

/// Name of the policy and of its binding.
const NAME: &str = "foregate-workload-clusters";
/// Field manager.
const MANAGER: &str = "foregate-platform";
/// UIDs, which follow the cluster's name in the names of what is derived: so `a` isn't taken for `a-b`.
const UID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";

/// Writes policy and binding. With `host_local`, endpoints may be what the gateways' hosts have for themselves.
///
/// # Errors
/// When the API refuses them.
pub async fn write(client: &Client, host_local: bool) -> kube::Result<()> {
    let params = PatchParams::apply(MANAGER).force();
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    policies.patch(NAME, &params, &Patch::Apply(policy(host_local))).await?;
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    bindings.patch(NAME, &params, &Patch::Apply(binding())).await.map(drop)
}

fn binding() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": NAME },
        "spec": { "policyName": NAME, "validationActions": ["Deny"] },
    })
}

fn policy(host_local: bool) -> Value {
    let rule = |group: &str, resources: Value| {
        json!({
            "apiGroups": [group], "apiVersions": ["*"], "resources": resources,
            "operations": ["CREATE", "UPDATE", "DELETE"],
        })
    };
    let derived = json!(["gatewayclaims", "gatewayroutes", "gatewaybackends", "gatewayendpointslices"]);
    let variable = |name: &str, expression: &str| json!({ "name": name, "expression": expression });
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": NAME },
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [rule(foregate_api::GROUP, derived), rule("", json!(["secrets"]))],
            },
            "matchConditions": [{
                "name": "clusters", "expression": format!("'{CLUSTERS_GROUP}' in request.userInfo.groups"),
            }],
            "variables": [
                variable("user", "request.userInfo.username.split(':')"),
                variable("tenant", "variables.user[2]"),
                variable("cluster", "variables.user[3]"),
                variable("prefix", "variables.cluster + '-'"),
                variable("resource", "request.resource.resource"),
            ],
            "validations": validations(host_local),
        },
    })
}

/// An expression that is true when a name is one of the cluster's own.
fn own(name: &str) -> String {
    format!("{name}.startsWith(variables.prefix) && {name}.substring(size(variables.prefix)).matches('{UID}')")
}

fn validations(host_local: bool) -> Vec<Value> {
    let mut all = Vec::new();
    let mut must = |expression: String, message: &str| {
        all.push(json!({ "expression": expression, "message": message, "reason": "Forbidden" }));
    };
    must(
        format!("request.namespace == '{TENANT_NAMESPACE_PREFIX}' + variables.tenant"),
        "a workload cluster writes to its own tenant only",
    );
    must(own("request.name"), "the object's name must be the cluster's own: CLUSTER-UID");
    must(
        format!(
            "[object, oldObject].all(it, it == null || has(it.metadata.labels) && '{CLUSTER_LABEL}' in it.metadata.labels \
             && it.metadata.labels['{CLUSTER_LABEL}'] == variables.cluster)"
        ),
        "the object's label foregate.dev/cluster must name the cluster, before and after",
    );
    must(
        "variables.resource == 'secrets' || \
         [object, oldObject].all(it, it == null || it.spec.origin.cluster == variables.cluster)"
            .to_owned(),
        "spec.origin.cluster must be the cluster, before and after",
    );
    must(
        "object == null || (has(object.metadata.finalizers) ? object.metadata.finalizers : []) == \
         (oldObject != null && has(oldObject.metadata.finalizers) ? oldObject.metadata.finalizers : [])"
            .to_owned(),
        "a workload cluster neither sets nor removes finalizers",
    );
    references(&mut must, host_local);
    all
}

/// What objects may name is the cluster's own.
fn references(must: &mut impl FnMut(String, &str), host_local: bool) {
    let mut of = |resource: &str, condition: String, message: &str| {
        must(format!("object == null || variables.resource != '{resource}' || ({condition})"), message);
    };
    let optional = |field: &str| format!("!has(object.spec.{field}) || {}", own(&format!("object.spec.{field}")));
    of("gatewayclaims", optional("sharingKey"), "spec.sharingKey must be the cluster's own");
    of(
        "gatewayclaims",
        optional("backendClientCertificate"),
        "spec.backendClientCertificate must be the cluster's own",
    );
    let certificates = format!(
        "!has(object.spec.listeners) || object.spec.listeners.all(it, !has(it.tls) || !has(it.tls.certificates) || \
         it.tls.certificates.all(name, {}))",
        own("name")
    );
    of("gatewayclaims", certificates, "spec.listeners[].tls.certificates must be the cluster's own");
    let filters = |list: &str| {
        format!(
            "(!has({list}) || {list}.all(filter, (!has(filter.mirror) || {}) && (!has(filter.externalAuth) || \
             !has(filter.externalAuth.backend) || {})))",
            own("filter.mirror.backend"),
            own("filter.externalAuth.backend")
        )
    };
    let before = format!("!has(object.spec.listeners) || object.spec.listeners.all(it, {})", filters("it.filters"));
    of("gatewayclaims", before, "filters of spec.listeners must name the cluster's own backends");
    let collector = format!("!has(object.spec.tracing) || {}", own("object.spec.tracing.backend"));
    of("gatewayclaims", collector, "spec.tracing.backend must be the cluster's own");
    let claims = format!("!has(object.spec.attachments) || object.spec.attachments.all(it, {})", own("it.claim"));
    of("gatewayroutes", claims, "spec.attachments[].claim must be the cluster's own");
    let backends = format!(
        "!has(object.spec.rules) || object.spec.rules.all(rule, {} && (!has(rule.backends) || rule.backends.all(it, \
         (!has(it.backend) || {}) && {})))",
        filters("rule.filters"),
        own("it.backend"),
        filters("it.filters"),
    );
    of("gatewayroutes", backends, "backends of spec.rules must be the cluster's own");
    if !host_local {
        hosts(&mut of);
    }
    let slices = format!("!has(object.spec.endpointSlices) || object.spec.endpointSlices.all(it, {})", own("it"));
    of("gatewaybackends", slices, "spec.endpointSlices must be the cluster's own");
}

/// What is reached from the gateways' hosts only is the platform's own: Unix sockets, and addresses that each host has
/// for itself (loopback, link-local, unspecified, in both families' forms).
fn hosts(of: &mut impl FnMut(&str, String, &str)) {
    let own_host = "^(0|127)[.]|^169[.]254[.]|^0{0,4}:|^[fF][eE][89abAB][0-9a-fA-F]:";
    let elsewhere = |address: &str| format!("!{address}.matches('{own_host}')");
    let backends = format!(
        "!has(object.spec.endpoints) || object.spec.endpoints.all(it, !has(it.address.unix) && (!has(it.address.ip) || {}) \
         && (!has(it.address.fqdn) || !it.address.fqdn.hostname.lowerAscii().matches('^(.*[.])?localhost[.]?$')))",
        elsewhere("it.address.ip.address")
    );
    of("gatewaybackends", backends, "spec.endpoints must not be what the gateways' hosts have for themselves");
    let slices = format!(
        "!has(object.spec.endpoints) || object.spec.endpoints.all(it, it.addresses.all(address, {}))",
        elsewhere("address")
    );
    of("gatewayendpointslices", slices, "spec.endpoints must not be what the gateways' hosts have for themselves");
}
