//! All pods of a Deployment are replaced under load.

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;

use crate::Args;
use crate::scene::{Load, NAMESPACE, Scene, none_failed};

/// A rolling restart with readiness: no request fails.
pub async fn run(scene: &Scene, args: &Args) {
    let api: Api<Deployment> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let restarts = args.times(5);
    let load = Load::start(4, scene.address, "web", "/");
    for _ in 0..restarts {
        api.restart("one").await.unwrap();
        scene.pods_are_ready("one").await;
    }
    let (sent, failures) = load.finish().await;
    none_failed(&format!("{restarts} rolling restarts of the pods"), sent, &failures);
}
