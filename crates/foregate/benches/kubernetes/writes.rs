//! How many writes the cluster's API has answered.

use crate::scene::Scene;

/// Those to objects of the Gateway API that controllers make: the bench itself creates objects, and replaces none.
pub async fn ours(scene: &Scene) -> f64 {
    let request = http::Request::get("/metrics").body(vec![]).unwrap();
    let text = scene.client.request_text(request).await.unwrap();
    let writes = |line: &&str| {
        line.starts_with("apiserver_request_total{")
            && line.contains("group=\"gateway.networking.k8s.io\"")
            && ["PUT", "PATCH", "APPLY", "DELETE"].iter().any(|verb| line.contains(&format!("verb=\"{verb}\"")))
    };
    text.lines().filter(writes).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
