//! The delta protocol, over a real unix socket.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, reason = "tests")]

mod support;

use foregate_envoy::ResourceKind;
use foregate_xds::client::Response;
use foregate_xds::{Client, Event, Options};
use support::{cluster, endpoints, host, id, listener, remove, serve, set, shell, within};

/// Takes the next response and acknowledges it.
async fn take(client: &mut Client) -> Response {
    let response = within(client.next()).await.unwrap();
    client.ack(&response).unwrap();
    response
}

fn names(response: &Response) -> Vec<&str> {
    response.set.iter().map(|resource| resource.name.as_str()).collect()
}

#[tokio::test]
async fn a_client_sees_what_is_set_changed_and_removed() {
    let mut served = serve(Options::default()).await;
    served.cache.apply(support::GROUP, set([cluster("a", "1")]));
    let mut client = served.client().await;
    client.subscribe(ResourceKind::Listener, ["*"]).unwrap();
    client.subscribe(ResourceKind::RouteConfiguration, ["r"]).unwrap();
    let none = take(&mut client).await;
    assert_eq!((none.kind, names(&none)), (ResourceKind::Listener, vec![]), "a wildcard is answered at once");
    let none = take(&mut client).await;
    assert_eq!((none.kind, none.removed.as_slice()), (ResourceKind::RouteConfiguration, ["r".to_owned()].as_slice()));

    served.cache.apply(support::GROUP, set([shell("r")]));
    let first = take(&mut client).await;
    assert_eq!((first.kind, names(&first)), (ResourceKind::RouteConfiguration, vec!["r"]));
    served.cache.apply(support::GROUP, set([listener("l", "r")]));
    assert_eq!(names(&take(&mut client).await), ["l"]);
    served.cache.apply(support::GROUP, remove([id(ResourceKind::Listener, "l")]));
    assert_eq!(take(&mut client).await.removed, ["l"]);
    assert_eq!(served.event().await, Event::Connected(support::instance()));
    drop(client);
    while served.event().await != Event::Disconnected(support::instance()) {}
}

#[tokio::test]
async fn a_virtual_host_comes_after_its_clusters_endpoints() {
    let mut served = serve(Options::default()).await;
    let all = set([listener("l", "r"), shell("r"), cluster("a", "1"), endpoints("a"), host("r", "x.com", "a")]);
    served.cache.apply(support::GROUP, all);
    let mut client = served.client().await;
    client.subscribe(ResourceKind::Listener, ["*"]).unwrap();
    assert_eq!(names(&take(&mut client).await), ["l"]);
    client.subscribe(ResourceKind::RouteConfiguration, ["r"]).unwrap();
    assert_eq!(names(&take(&mut client).await), ["r"]);
    client.subscribe(ResourceKind::VirtualHost, ["r/*"]).unwrap();
    client.subscribe(ResourceKind::Cluster, ["*"]).unwrap();
    assert_eq!(names(&take(&mut client).await), ["a"], "the virtual host waits");
    client.subscribe(ResourceKind::ClusterLoadAssignment, ["a"]).unwrap();
    let last = within(client.next()).await.unwrap();
    assert_eq!(last.kind, ResourceKind::ClusterLoadAssignment);
    client.ack(&last).unwrap();
    assert_eq!(names(&take(&mut client).await), ["r/x.com"]);
    served.progress(1).await;
}
