//! What a credential may do, and what not.

use super::*;

const DERIVED: [&str; 4] = ["gatewayclaims", "gatewayroutes", "gatewaybackends", "gatewayendpointslices"];
const MERGE: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const JSON: &str = "application/json";

#[tokio::test]
async fn a_cluster_writes_its_own_objects() {
    let platform = platform().await;
    let edge = platform.as_cluster(&platform.add("edge").await);
    for plural in DERIVED {
        let (list, object) = (path(plural, TENANT), derived(plural, "edge", UID));
        let one = format!("{list}/edge-{UID}");
        let (code, answer) = send(&edge, Method::POST, &list, JSON, &object).await;
        assert_eq!(code, 201, "{plural} {answer}");
        let mut applied = object.clone();
        applied["apiVersion"] = json!("foregate.dev/v1alpha1");
        applied["kind"] = answer["kind"].clone();
        applied["metadata"]["annotations"] = json!({ "a": "b" });
        let (code, answer) =
            send(&edge, Method::PATCH, &format!("{one}?fieldManager=m&force=true"), APPLY, &applied).await;
        assert_eq!(code, 200, "{plural} {answer}");
        assert_eq!(send(&edge, Method::PUT, &one, JSON, &answer).await.0, 200, "{plural}");
        for reading in [&list, &one, &format!("{list}?watch=true&timeoutSeconds=0")] {
            assert_eq!(get(&edge, reading).await, 200, "{reading}");
        }
        assert_eq!(send(&edge, Method::DELETE, &one, JSON, &Value::Null).await.0, 200, "{plural}");
    }
    assert_eq!(get(&edge, &path("workloadclusters", TENANT)).await, 403);
    assert_eq!(get(&edge, &format!("{}/edge", path("workloadclusters", TENANT))).await, 200);
    let seen = json!({ "status": { "lastSeen": "2026-01-01T00:00:00Z", "controllerVersion": "1" } });
    let status = format!("{}/edge/status", path("workloadclusters", TENANT));
    assert_eq!(send(&edge, Method::PATCH, &status, MERGE, &seen).await.0, 200);
}

#[tokio::test]
async fn keys_go_one_way() {
    let platform = platform().await;
    let edge = platform.as_cluster(&platform.add("edge").await);
    let (list, object) = (path("secrets", TENANT), derived("secrets", "edge", UID));
    let one = format!("{list}/edge-{UID}");
    let (code, answer) = send(&edge, Method::POST, &list, JSON, &object).await;
    assert_eq!((code, &answer["data"]), (201, &Value::Null), "{answer}");
    let labels = json!({ "metadata": { "labels": { "a": "b" } } });
    let (code, answer) = send(&edge, Method::PATCH, &one, MERGE, &labels).await;
    assert_eq!((code, &answer["data"]), (200, &Value::Null), "{answer}");
    let copy = json!([{ "op": "copy", "from": "/data/tls.key", "path": "/metadata/labels/key" }]);
    assert_eq!(send(&edge, Method::PATCH, &one, "application/json-patch+json", &copy).await.0, 403);
    for reading in [&list, &one, &format!("{list}?watch=true")] {
        assert_eq!(get(&edge, reading).await, 403, "{reading}");
    }
    assert_eq!(send(&edge, Method::DELETE, &list, JSON, &Value::Null).await.0, 403, "no collection");
    assert_eq!(send(&edge, Method::DELETE, &one, JSON, &Value::Null).await.0, 200);
}

#[tokio::test]
async fn names_that_could_be_taken_for_others_are_refused() {
    let platform = platform().await;
    let like_another = format!("a-{UID}");
    for name in ["local", "a.b", like_another.as_str()] {
        let object = WorkloadCluster::new(name, Default::default());
        let made = platform.clusters().create(&PostParams::default(), &object).await;
        assert!(matches!(made, Err(kube::Error::Api(status)) if status.code == 422), "{name}");
        assert!(foregate_api::cluster::check_name(name).is_err(), "{name}");
    }
}

/// Changes an object that would be fine.
type Edit = fn(&mut Value);

/// What would make an object someone else's, by resource.
const FOREIGN: &[(&str, &str, Edit)] = &[
    ("gatewaybackends", "another's name", |it| it["metadata"]["name"] = json!(format!("core-{UID}"))),
    ("gatewaybackends", "the start of another's name", |it| it["metadata"]["name"] = json!(format!("edge-2-{UID}"))),
    ("gatewaybackends", "no UID", |it| it["metadata"]["name"] = json!("edge-x")),
    ("gatewaybackends", "a generated name", |it| {
        it["metadata"] = json!({ "generateName": "edge-",
        "labels": { CLUSTER_LABEL: "edge" } })
    }),
    ("gatewaybackends", "another's label", |it| it["metadata"]["labels"][CLUSTER_LABEL] = json!("core")),
    ("gatewaybackends", "no label", |it| it["metadata"]["labels"] = json!({ "a": "b" })),
    ("gatewaybackends", "no labels", |it| drop(it["metadata"].as_object_mut().unwrap().remove("labels"))),
    ("gatewaybackends", "another's origin", |it| it["spec"]["origin"]["cluster"] = json!("core")),
    ("gatewaybackends", "a finalizer", |it| it["metadata"]["finalizers"] = json!(["foregate.dev/platform"])),
    ("gatewaybackends", "another's slice", |it| it["spec"]["endpointSlices"] = json!([format!("core-{UID}")])),
    ("gatewayclaims", "another's gateway", |it| it["spec"]["sharingKey"] = json!(format!("core-{UID}"))),
    ("gatewayclaims", "another's identity", |it| {
        it["spec"]["backendClientCertificate"] = json!(format!("core-{UID}"));
    }),
    ("gatewayclaims", "another's certificate", |it| {
        it["spec"]["listeners"] = json!([{ "name": "a", "port": 443, "protocol": "HTTPS",
            "tls": { "mode": "Terminate", "certificates": [format!("edge-{UID}"), format!("core-{UID}")] } }]);
    }),
    ("gatewayclaims", "a mirror to another", |it| {
        it["spec"]["listeners"] = json!([{ "name": "a", "port": 80, "protocol": "HTTP",
            "filters": [{ "mirror": { "backend": format!("core-{UID}"), "numerator": 1, "denominator": 1 } }] }]);
    }),
    ("gatewayclaims", "a listener that asks another's", |it| {
        it["spec"]["listeners"] = json!([{ "name": "a", "port": 80, "protocol": "HTTP", "filters": [{ "externalAuth": {
            "backend": format!("core-{UID}"), "protocol": { "http": {} } } }] }]);
    }),
    ("gatewayclaims", "another's collector", |it| {
        it["spec"]["tracing"] = json!({ "backend": format!("core-{UID}"), "sampling": 1, "serviceName": "a" });
    }),
    ("gatewayroutes", "another's listener", |it| {
        it["spec"]["attachments"] = json!([{ "claim": format!("core-{UID}"), "listener": "a", "hostnames": [] }]);
    }),
    ("gatewayroutes", "another's backend", |it| {
        it["spec"]["rules"] =
            json!([{ "backends": [{ "weight": 1 }, { "backend": format!("core-{UID}"), "weight": 1 }] }]);
    }),
    ("gatewayroutes", "a mirror to another", |it| {
        it["spec"]["rules"] = json!([{ "filters": [{ "mirror": { "backend": format!("core-{UID}"), "numerator": 1,
            "denominator": 1 } }] }]);
    }),
    ("gatewayroutes", "another that is asked", |it| {
        it["spec"]["rules"] = json!([{ "filters": [{ "externalAuth": { "backend": format!("core-{UID}"),
            "protocol": { "grpc": {} } } }] }]);
    }),
    ("gatewayroutes", "a backend's mirror to another", |it| {
        it["spec"]["rules"] = json!([{ "backends": [{ "weight": 1, "filters": [{ "mirror": {
            "backend": format!("core-{UID}"), "numerator": 1, "denominator": 1 } }] }] }]);
    }),
    ("secrets", "another's label", |it| it["metadata"]["labels"][CLUSTER_LABEL] = json!("core")),
    ("secrets", "another's name", |it| it["metadata"]["name"] = json!("core-secret")),
];

#[tokio::test]
async fn nothing_is_made_in_anothers_name_or_names_what_is_anothers() {
    let platform = platform().await;
    let edge = platform.as_cluster(&platform.add("edge").await);
    for (plural, what, edit) in FOREIGN {
        let mut object = derived(plural, "edge", UID);
        edit(&mut object);
        let (code, answer) = send(&edge, Method::POST, &path(plural, TENANT), JSON, &object).await;
        assert_eq!((code, answer["reason"].as_str()), (403, Some("Forbidden")), "{plural}: {what}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains("foregate-workload-clusters"), "{answer}");
    }
    // And none of it comes by a change of what was fine.
    for plural in DERIVED.into_iter().chain(["secrets"]) {
        assert_eq!(post(&edge, plural, &derived(plural, "edge", UID)).await, 201, "{plural}");
    }
    for (plural, what, edit) in FOREIGN.iter().filter(|(_, what, _)| !what.contains("name") && *what != "no UID") {
        let mut object = derived(plural, "edge", UID);
        edit(&mut object);
        let one = format!("{}/edge-{UID}", path(plural, TENANT));
        let (code, answer) = send(&edge, Method::PUT, &one, JSON, &object).await;
        assert_eq!(code, 403, "{plural}: {what}: {answer}");
    }
}

#[tokio::test]
async fn what_gateways_hosts_have_for_themselves_is_not_reached() {
    let platform = platform().await;
    let edge = platform.as_cluster(&platform.add("edge").await);
    let ip = |address: &str| json!({ "ip": { "address": address, "port": 80 } });
    let name = |hostname: &str| json!({ "fqdn": { "hostname": hostname, "port": 80 } });
    let mut endpoints = vec![
        (json!({ "unix": { "path": "/run/a.sock" } }), false),
        (name("localhost"), false),
        (name("a.LocalHost."), false),
        (name("notlocalhost.example.com"), true),
    ];
    for (address, fine) in [
        ("127.0.0.1", false),
        ("0.0.0.0", false),
        ("169.254.169.254", false),
        ("::1", false),
        ("0:0:0:0:0:0:0:1", false),
        ("0000::1", false),
        ("::ffff:127.0.0.1", false),
        ("fe80::1", false),
        ("10.127.0.1", true),
        ("192.168.0.1", true),
        ("2001:db8::1", true),
        ("fd00::1", true),
    ] {
        endpoints.push((ip(address), fine));
        let mut slice = derived("gatewayendpointslices", "edge", UID);
        slice["spec"]["endpoints"] = json!([{ "addresses": ["10.0.0.1", address] }]);
        let path = format!("{}?dryRun=All", path("gatewayendpointslices", TENANT));
        let (code, answer) = send(&edge, Method::POST, &path, JSON, &slice).await;
        assert_eq!(code, if fine { 201 } else { 403 }, "{address}: {answer}");
    }
    for (address, fine) in endpoints {
        let mut backend = derived("gatewaybackends", "edge", UID);
        backend["spec"]["endpoints"] = json!([{ "address": ip("10.0.0.1") }, { "address": address }]);
        let path = format!("{}?dryRun=All", path("gatewaybackends", TENANT));
        let (code, answer) = send(&edge, Method::POST, &path, JSON, &backend).await;
        assert_eq!(code, if fine { 201 } else { 403 }, "{address}: {answer}");
    }
}

#[tokio::test]
async fn what_is_anothers_stays_as_it_is() {
    let platform = platform().await;
    let edge = platform.as_cluster(&platform.add("edge").await);
    let core = platform.as_cluster(&platform.add("core").await);
    for plural in DERIVED.into_iter().chain(["secrets"]) {
        assert_eq!(post(&core, plural, &derived(plural, "core", OTHER_UID)).await, 201, "{plural}");
        let one = format!("{}/core-{OTHER_UID}", path(plural, TENANT));
        let theft = json!({ "metadata": { "labels": { CLUSTER_LABEL: "edge" } } });
        assert_eq!(send(&edge, Method::PATCH, &one, MERGE, &theft).await.0, 403, "{plural}");
        assert_eq!(send(&edge, Method::DELETE, &one, JSON, &Value::Null).await.0, 403, "{plural}");
        let mut whole = derived(plural, "core", OTHER_UID);
        whole["metadata"]["labels"][CLUSTER_LABEL] = json!("edge");
        assert_eq!(send(&edge, Method::PUT, &one, JSON, &whole).await.0, 403, "{plural}");
    }
    // Not even under a name of its own, once somebody gave one away.
    let mut stray = derived("gatewaybackends", "core", UID);
    stray["metadata"]["name"] = json!(format!("edge-{UID}"));
    assert_eq!(post(&platform.admin, "gatewaybackends", &stray).await, 201);
    let one = format!("{}/edge-{UID}", path("gatewaybackends", TENANT));
    assert_eq!(send(&edge, Method::DELETE, &one, JSON, &Value::Null).await.0, 403);
    // A platform's hold on a claim isn't the cluster's to end.
    let mut held = derived("gatewayclaims", "edge", UID);
    held["metadata"]["finalizers"] = json!(["foregate.dev/platform"]);
    assert_eq!(post(&platform.admin, "gatewayclaims", &held).await, 201);
    let free = json!({ "metadata": { "finalizers": null } });
    let one = format!("{}/edge-{UID}", path("gatewayclaims", TENANT));
    assert_eq!(send(&edge, Method::PATCH, &one, MERGE, &free).await.0, 403);
    let fine = json!({ "metadata": { "annotations": { "a": "b" } } });
    assert_eq!(send(&edge, Method::PATCH, &one, MERGE, &fine).await.0, 200);
}

#[tokio::test]
async fn all_else_is_closed() {
    let platform = platform().await;
    let edge = platform.as_cluster(&platform.add("edge").await);
    platform.add("core").await;
    let clusters = path("workloadclusters", TENANT);
    for plural in DERIVED.into_iter().chain(["secrets"]) {
        let object = derived(plural, "edge", UID);
        for namespace in ["tenant-other", "default", "kube-system"] {
            let list = path(plural, namespace);
            assert_eq!(send(&edge, Method::POST, &list, JSON, &object).await.0, 403, "{list}");
            assert_eq!(get(&edge, &list).await, 403, "{list}");
        }
    }
    for reading in [
        "/api/v1/namespaces",
        "/api/v1/namespaces/tenant-default",
        "/api/v1/secrets",
        "/api/v1/namespaces/tenant-default/configmaps",
        "/api/v1/namespaces/tenant-default/pods",
        "/api/v1/nodes",
        "/apis/foregate.dev/v1alpha1/gatewayroutes",
        "/apis/foregate.dev/v1alpha1/gatewaynodes",
        "/apis/foregate.dev/v1alpha1/gatewayinstances",
        "/apis/foregate.dev/v1alpha1/namespaces/tenant-default/gatewayproxies",
        "/apis/foregate.dev/v1alpha1/namespaces/tenant-default/configrevisions",
        "/apis/foregate.dev/v1alpha1/namespaces/tenant-default/gatewaytemplates",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/tenant-default/roles",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "/metrics",
        "/foregate/metrics",
    ] {
        assert_eq!(get(&edge, reading).await, 403, "{reading}");
    }
    let any = json!({ "metadata": { "name": "edge", "annotations": { "a": "b" } } });
    let raise = json!({ "spec": { "credentialGeneration": 7 } });
    let status = json!({ "status": { "conditions": [] } });
    let claim = format!("{}/edge-{UID}", path("gatewayclaims", TENANT));
    assert_eq!(post(&edge, "gatewayclaims", &derived("gatewayclaims", "edge", UID)).await, 201);
    for (method, path, body) in [
        (Method::PATCH, format!("{clusters}/edge"), &raise),
        (Method::DELETE, format!("{clusters}/edge"), &Value::Null),
        (Method::PATCH, format!("{clusters}/core/status"), &status),
        (Method::GET, format!("{clusters}/core"), &Value::Null),
        (Method::POST, clusters.clone(), &any),
        (Method::PATCH, format!("{claim}/status"), &status),
        (Method::DELETE, path("gatewayclaims", TENANT), &Value::Null),
        (Method::PATCH, "/apis/foregate.dev/v1alpha1/namespaces/tenant-default/gatewaytemplates/default".into(), &any),
        (
            Method::PATCH,
            "/apis/rbac.authorization.k8s.io/v1/namespaces/tenant-default/roles/foregate:cluster:edge".into(),
            &any,
        ),
        (Method::POST, "/apis/rbac.authorization.k8s.io/v1/namespaces/tenant-default/rolebindings".into(), &any),
        (Method::POST, format!("{clusters}/core/certificate"), &any),
        (Method::POST, "/apis/foregate.dev/v1alpha1/gatewaynodes/n/certificate".into(), &any),
    ] {
        let media = if method == Method::PATCH { MERGE } else { JSON };
        let (code, answer) = send(&edge, method.clone(), &path, media, body).await;
        assert_eq!(code, 403, "{method} {path}: {answer}");
    }
    let request = Request::get(path("gatewayclaims", TENANT)).header("impersonate-user", "admin");
    let response = edge.send(request.body(Vec::new().into()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 403, "nobody else");
}
