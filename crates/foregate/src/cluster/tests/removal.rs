//! What goes with a cluster, and what stays.

use foregate_api::{cluster, condition};

use super::*;

#[tokio::test]
async fn all_that_a_cluster_wrote_goes_with_it_and_nothing_else() {
    let platform = platform().await;
    let kinds = ["gatewayclaims", "gatewayroutes", "gatewaybackends", "gatewayendpointslices", "secrets"];
    for name in ["edge", "edge-2"] {
        let client = platform.as_cluster(&platform.add(name).await);
        for plural in kinds {
            assert_eq!(post(&client, plural, &derived(plural, name, UID)).await, 201, "{plural}");
        }
    }
    // What the platform holds is waited for.
    let claim = format!("{}/edge-{UID}", path("gatewayclaims", TENANT));
    let merge = "application/merge-patch+json";
    let hold = json!({ "metadata": { "finalizers": ["foregate.dev/platform"] } });
    assert_eq!(send(&platform.admin, Method::PATCH, &claim, merge, &hold).await.0, 200);
    platform.clusters().delete("edge", &DeleteParams::default()).await.unwrap();
    let secret = format!("{}/edge-{UID}", path("secrets", TENANT));
    until(async || get(&platform.admin, &secret).await == 404).await;
    assert!(platform.clusters().get_opt("edge").await.unwrap().is_some(), "a claim is left");
    let free = json!({ "metadata": { "finalizers": null } });
    assert_eq!(send(&platform.admin, Method::PATCH, &claim, merge, &free).await.0, 200);
    until(async || platform.clusters().get_opt("edge").await.unwrap().is_none()).await;
    for plural in kinds {
        let of = |name: &str| format!("{}/{name}-{UID}", path(plural, TENANT));
        assert_eq!(get(&platform.admin, &of("edge")).await, 404, "{plural}");
        assert_eq!(get(&platform.admin, &of("edge-2")).await, 200, "{plural}");
    }
    let bindings: Api<RoleBinding> = Api::namespaced(platform.admin.clone(), TENANT);
    until(async || bindings.get_opt("foregate:cluster:edge").await.unwrap().is_none()).await;
    assert!(bindings.get_opt("foregate:cluster:edge-2").await.unwrap().is_some());
}

#[tokio::test]
async fn the_condition_follows_the_lease() {
    let platform = platform().await;
    let object = platform.add("edge").await;
    let connected = async || {
        let status = platform.clusters().get("edge").await.unwrap().status.unwrap_or_default();
        condition::find(&status.conditions, cluster::CONNECTED).map(|it| (it.status.clone(), it.reason.clone()))
    };
    let becomes = async |status: &str, reason: &str| {
        until(async || connected().await == Some((status.to_owned(), reason.to_owned()))).await;
    };
    becomes("Unknown", "NeverSeen").await;
    let edge = platform.as_cluster(&object);
    let status = format!("{}/edge/status", path("workloadclusters", TENANT));
    for (seen, expected) in
        [(jiff::Timestamp::now(), ("True", "Seen")), (jiff::Timestamp::UNIX_EPOCH, ("False", "LeaseLost"))]
    {
        let lease = json!({ "status": { "lastSeen": seen, "controllerVersion": "1" } });
        assert_eq!(send(&edge, Method::PATCH, &status, "application/merge-patch+json", &lease).await.0, 200);
        becomes(expected.0, expected.1).await;
    }
}
