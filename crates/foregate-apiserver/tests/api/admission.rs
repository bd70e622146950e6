//! ValidatingAdmissionPolicies, as a client meets them.

use foregate_apiserver::Caller;
use http::Method;
use kube::Client;
use serde_json::{Value, json};

use crate::bench::{Answer, Bench, MAPS, THINGS, bench, config_map, send, thing, things};

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";

fn policy(name: &str, resources: &[&str], spec: Value) -> Value {
    let mut policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {"matchConstraints": {"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"],
            "operations": ["*"], "resources": resources}]}},
    });
    for (field, value) in spec.as_object().unwrap() {
        policy["spec"][field] = value.clone();
    }
    policy
}

fn binding(policy: &str, actions: &[&str]) -> Value {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": format!("{policy}-binding")},
        "spec": {"policyName": policy, "validationActions": actions}})
}

impl Bench {
    async fn enforce(&self, policy: &Value, actions: &[&str]) {
        let (code, answer) = self.post(POLICIES, policy).await;
        assert_eq!(code, 201, "{answer}");
        let name = policy["metadata"]["name"].as_str().unwrap();
        let (code, answer) = self.post(BINDINGS, &binding(name, actions)).await;
        assert_eq!(code, 201, "{answer}");
    }
}

fn denied(answer: &Answer) -> Option<&str> {
    (answer.0 >= 400).then(|| answer.1["message"].as_str().unwrap())
}

#[tokio::test]
async fn a_policy_holds_for_every_way_to_write() {
    let bench = bench();
    bench.define(things()).await;
    bench.post(THINGS, &thing("old", json!({"text": "free"}))).await;
    let rule = json!({
        "variables": [{"name": "now", "expression": "object == null ? oldObject : object"}],
        "validations": [
            {"expression": "variables.now.spec.size < 5", "message": "too large", "reason": "Forbidden"},
            {"expression": "request.operation != 'DELETE' || !request.name.startsWith('keep')",
                "messageExpression": "request.userInfo.username + ' may not delete ' + oldObject.metadata.name"},
        ],
    });
    bench.enforce(&policy("sizes", &["things"], rule), &["Deny"]).await;
    assert_eq!(bench.post(THINGS, &thing("keep-a", json!({"size": 4}))).await.0, 201);
    let answer = bench.post(THINGS, &thing("b", json!({"size": 5}))).await;
    assert_eq!(answer.0, 403, "{answer:?}");
    assert_eq!(
        denied(&answer).unwrap(),
        "things.test.dev \"b\" is forbidden: ValidatingAdmissionPolicy 'sizes' with binding 'sizes-binding' denied \
         request: too large"
    );
    let path = format!("{THINGS}/keep-a");
    let (_, mut object) = bench.get(&path).await;
    object["spec"]["size"] = json!(7);
    assert_eq!(bench.put(&path, &object).await.0, 403);
    assert_eq!(bench.merge(&path, json!({"spec": {"size": 7}})).await.0, 403);
    assert_eq!(bench.apply(&format!("{path}?force=true"), "m", &thing("keep-a", json!({"size": 7}))).await.0, 403);
    assert_eq!(bench.apply(&format!("{THINGS}/new"), "m", &thing("new", json!({"size": 7}))).await.0, 403);
    let dry = bench.post(&format!("{THINGS}?dryRun=All"), &thing("c", json!({"size": 9}))).await;
    assert_eq!(dry.0, 403);
    let answer = bench.delete(&path, json!({})).await;
    assert_eq!(answer.0, 422);
    assert!(denied(&answer).unwrap().ends_with("system:foregate may not delete keep-a"), "{answer:?}");
    let (code, _) = bench.send(Method::DELETE, THINGS, "", Vec::new()).await;
    assert_eq!(code, 422, "each object of a collection counts");
    assert_eq!(bench.get(&path).await.1["spec"]["size"], 4);
    // The status is another resource.
    assert_eq!(bench.merge(&format!("{path}/status"), json!({"status": {"phase": "x"}})).await.0, 200);
    assert_eq!(bench.post(MAPS, &config_map("a", json!({}))).await.0, 201, "others aren't concerned");
}

#[tokio::test]
async fn a_policy_counts_from_its_binding_on_and_after_a_restart() {
    let bench = bench();
    let no_maps = json!({"validations": [{"expression": "false", "message": "no"}]});
    assert_eq!(bench.post(POLICIES, &policy("none", &["configmaps"], no_maps)).await.0, 201);
    assert_eq!(bench.post(MAPS, &config_map("a", json!({}))).await.0, 201, "unbound");
    assert_eq!(bench.post(BINDINGS, &binding("none", &["Deny"])).await.0, 201);
    assert_eq!(bench.post(MAPS, &config_map("b", json!({}))).await.0, 422);
    let bench = bench.restart().await;
    assert_eq!(bench.post(MAPS, &config_map("b", json!({}))).await.0, 422, "kept");
    let patch = json!({"spec": {"validations": [{"expression": "object.metadata.name == 'b'"}]}});
    assert_eq!(bench.merge(&format!("{POLICIES}/none"), patch).await.0, 200);
    assert_eq!(bench.post(MAPS, &config_map("b", json!({}))).await.0, 201, "changed at once");
    assert_eq!(bench.post(MAPS, &config_map("c", json!({}))).await.0, 422);
    assert_eq!(bench.delete(&format!("{BINDINGS}/none-binding"), json!({})).await.0, 200);
    assert_eq!(bench.post(MAPS, &config_map("c", json!({}))).await.0, 201);
}

#[tokio::test]
async fn conditions_selectors_and_failures() {
    let bench = bench();
    let map = |name: &str, labels: Value| {
        let mut map = config_map(name, json!({}));
        map["metadata"]["labels"] = labels;
        map
    };
    let mut narrow = policy(
        "narrow",
        &["configmaps"],
        json!({
            "matchConditions": [{"name": "ann", "expression": "request.userInfo.username == 'system:foregate'"},
                {"name": "absent", "expression": "!has(object.data.skip)"}],
            "validations": [{"expression": "object.metadata.labels.team == namespaceObject.metadata.labels.team"}],
        }),
    );
    narrow["spec"]["matchConstraints"]["objectSelector"] = json!({"matchLabels": {"checked": "yes"}});
    narrow["spec"]["matchConstraints"]["namespaceSelector"] =
        json!({"matchExpressions": [{"key": "team", "operator": "Exists"}]});
    bench.enforce(&narrow, &["Deny"]).await;
    let checked = |name: &str, team: &str| map(name, json!({"checked": "yes", "team": team}));
    assert_eq!(bench.post(MAPS, &checked("a", "x")).await.0, 201, "the namespace has no team");
    bench.merge("/api/v1/namespaces/default", json!({"metadata": {"labels": {"team": "x"}}})).await;
    assert_eq!(bench.post(MAPS, &checked("b", "x")).await.0, 201);
    assert_eq!(bench.post(MAPS, &checked("c", "y")).await.0, 422);
    assert_eq!(bench.post(MAPS, &map("d", json!({"team": "y"}))).await.0, 201, "not selected");
    let mut skipped = checked("e", "y");
    skipped["data"] = json!({"skip": "1"});
    assert_eq!(bench.post(MAPS, &skipped).await.0, 201, "a condition says no");
    // No label to look at: an error, which fails closed.
    assert_eq!(bench.post(MAPS, &map("f", json!({"checked": "yes"}))).await.0, 422);
    bench.merge(&format!("{POLICIES}/narrow"), json!({"spec": {"failurePolicy": "Ignore"}})).await;
    assert_eq!(bench.post(MAPS, &map("f", json!({"checked": "yes"}))).await.0, 201);
    assert_eq!(bench.post(MAPS, &checked("g", "y")).await.0, 422, "what is wrong stays so");
}

#[tokio::test]
async fn a_warning_is_no_denial() {
    let bench = bench();
    let rule = json!({"validations": [{"expression": "false", "message": "mind the gap"}]});
    bench.enforce(&policy("soft", &["configmaps"], rule), &["Warn", "Audit"]).await;
    let body = config_map("a", json!({})).to_string();
    let request = http::Request::post(MAPS).header("content-type", "application/json");
    let response = bench.client.send(request.body(body.into_bytes().into()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 201);
    let warning = response.headers()["warning"].to_str().unwrap();
    assert!(warning.contains("mind the gap") && warning.contains("soft-binding"), "{warning}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_its_field() {
    let bench = bench();
    let validations = |expression: &str| json!({"validations": [{"expression": expression}]});
    for (spec, field) in [
        (validations("object.x =="), "spec.validations[0].expression"),
        (validations("objekt.x"), "spec.validations[0].expression"),
        (validations("authorizer.requestResource.check('x').allowed()"), "spec.validations[0].expression"),
        (validations("variables.x"), "spec.validations[0].expression"),
        (
            json!({"validations": [{"expression": "true", "messageExpression": "("}]}),
            "spec.validations[0].messageExpression",
        ),
        (json!({"validations": [{"expression": "true", "reason": "Whim"}]}), "spec.validations[0].reason"),
        (json!({"validations": []}), "spec.validations"),
        (json!({"validations": [{"expression": "true"}], "failurePolicy": "Hope"}), "spec.failurePolicy"),
        (
            json!({"validations": [{"expression": "true"}], "matchConstraints": {}}),
            "spec.matchConstraints.resourceRules",
        ),
        (
            json!({"validations": [{"expression": "true"}],
                "variables": [{"name": "a", "expression": "variables.b"}, {"name": "b", "expression": "1"}]}),
            "spec.variables[0].expression",
        ),
        (
            json!({"validations": [{"expression": "true"}], "matchConditions": [{"name": "a", "expression": "("}]}),
            "spec.matchConditions[0].expression",
        ),
        (
            json!({"validations": [{"expression": "true"}], "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}),
            "spec.paramKind",
        ),
    ] {
        let (code, answer) = bench.post(POLICIES, &policy("p", &["configmaps"], spec.clone())).await;
        assert_eq!(code, 422, "{spec} {answer}");
        let causes = answer["details"]["causes"].as_array().unwrap();
        assert!(causes.iter().any(|cause| cause["field"] == field), "{spec} {causes:?}");
    }
    for (spec, field) in [
        (json!({"policyName": "p"}), "spec.validationActions"),
        (json!({"policyName": "p", "validationActions": ["Shout"]}), "spec.validationActions[0]"),
        (json!({"policyName": "", "validationActions": ["Deny"]}), "spec.policyName"),
        (json!({"policyName": "p", "validationActions": ["Deny"], "paramRef": {"name": "x"}}), "spec.paramRef"),
    ] {
        let mut object = binding("p", &[]);
        object["spec"] = spec.clone();
        let (code, answer) = bench.post(BINDINGS, &object).await;
        assert_eq!(code, 422, "{spec} {answer}");
        let causes = answer["details"]["causes"].as_array().unwrap();
        assert!(causes.iter().any(|cause| cause["field"] == field), "{spec} {causes:?}");
    }
}

/// A user who may do `verbs` to Secrets of the default namespace.
async fn with_secrets(bench: &Bench, verbs: &[&str]) -> Client {
    let group = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({"metadata": {"name": "writer"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": verbs}]});
    let binding = json!({"metadata": {"name": "writer"}, "subjects": [{"kind": "User", "name": "ann"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "writer"}});
    bench.delete(&format!("{group}/roles/writer"), json!({})).await;
    assert_eq!(bench.post(&format!("{group}/roles"), &role).await.0, 201);
    bench.post(&format!("{group}/rolebindings"), &binding).await;
    bench.server.client_as(Caller::new("ann", vec![]))
}

#[tokio::test]
async fn who_writes_secrets_without_reading_them_is_not_shown_them() {
    let bench = bench();
    let secrets = "/api/v1/namespaces/default/secrets";
    let path = &format!("{secrets}/s");
    let secret = json!({"metadata": {"name": "s", "annotations": {"note": "c2VjcmV0"}, "finalizers": ["x.dev/hold"]},
        "data": {"key": "c2VjcmV0"}});
    assert_eq!(bench.post(secrets, &secret).await.0, 201);
    let ann = with_secrets(&bench, &["create", "update", "patch", "delete", "deletecollection"]).await;
    let merge = ("content-type", "application/merge-patch+json");
    let strategic = ("content-type", "application/strategic-merge-patch+json");
    let apply = ("content-type", "application/apply-patch+yaml");
    let json_patch = ("content-type", "application/json-patch+json");
    let json = ("content-type", "application/json");
    let body = |value: Value| value.to_string().into_bytes();
    let labels = || body(json!({"metadata": {"labels": {"a": "b"}}}));
    let applied = body(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "labels": {"c": "d"}}}));
    let table = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    for (method, path, headers, body) in [
        (Method::PATCH, path.clone(), vec![merge], labels()),
        (Method::PATCH, path.clone(), vec![strategic], labels()),
        (Method::PATCH, path.clone(), vec![merge, table], labels()),
        (Method::PATCH, format!("{path}?fieldManager=m&force=true"), vec![apply], applied),
        (Method::PATCH, format!("{path}?dryRun=All"), vec![merge], labels()),
        (Method::DELETE, format!("{path}?dryRun=All"), vec![json], Vec::new()),
        (Method::DELETE, path.clone(), vec![json], Vec::new()),
        (Method::DELETE, secrets.to_owned(), vec![json], Vec::new()),
    ] {
        let (code, answer) = send(&ann, method.clone(), &path, &headers, body).await;
        assert_eq!(code, 200, "{method} {path} {answer}");
        assert!(!answer.to_string().contains("c2VjcmV0"), "{method} {path} {answer}");
    }
    // A test tells what a value is, a copy brings it where it is seen.
    for operation in [
        json!({"op": "test", "path": "/data/key", "value": "x"}),
        json!({"op": "copy", "from": "/data/key", "path": "/metadata/labels/key"}),
    ] {
        let (code, answer) = send(&ann, Method::PATCH, path, &[json_patch], body(json!([operation]))).await;
        assert_eq!(code, 403, "{answer}");
    }
    assert_eq!(send(&ann, Method::GET, path, &[], Vec::new()).await.0, 403);
    // Who may read them sees them.
    let ann = with_secrets(&bench, &["get", "patch"]).await;
    let (code, answer) = send(&ann, Method::PATCH, path, &[merge], labels()).await;
    assert_eq!((code, &answer["data"]["key"]), (200, &json!("c2VjcmV0")));
    let new = body(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "t"}}));
    let (code, _) = send(&ann, Method::PATCH, &format!("{secrets}/t?fieldManager=m"), &[apply], new).await;
    assert_eq!(code, 403, "to apply what isn't there is to create it");
}
