//! What passes through a relay, both ways.

use foregate_envoy::ResourceKind::{Cluster, ClusterLoadAssignment, Listener};
use foregate_xds::{Event, Options};

use crate::resources::{cluster, endpoints, host, id, listener, secret, secure_cluster, shell};
use crate::rig::{Authority, Engine, GROUP, Node, Platform, instance, set, within};

async fn served(options: Options) -> (Authority, Platform, tempfile::TempDir, Node, Engine) {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let platform = Platform::start(&authority, None, options);
    let node = Node::start(dir.path(), &authority, platform.address).await;
    let mut engine = node.engine().await;
    engine.subscribe();
    (authority, platform, dir, node, engine)
}

#[tokio::test]
async fn changes_arrive_in_order_and_are_acknowledged_up_to_the_platform() {
    let (_authority, mut platform, _dir, node, mut engine) = served(Options::default()).await;
    let all = [listener("l", "r"), shell("r"), cluster("a", "1"), endpoints("a"), host("r", "x", "a"), secret("s")];
    let first = platform.cache.apply(GROUP, set(all));
    engine.take_until(&[(Listener, "l"), (ClusterLoadAssignment, "a")]).await;
    engine.client.subscribe(foregate_envoy::ResourceKind::RouteConfiguration, ["r"]).unwrap();
    engine.client.subscribe(foregate_envoy::ResourceKind::VirtualHost, ["r/*"]).unwrap();
    engine.take_until(&[(foregate_envoy::ResourceKind::VirtualHost, "r/x")]).await;
    assert_eq!(platform.event().await, Event::Connected(instance(GROUP, "n1")));
    platform.progress(first).await;

    let second = platform.cache.apply(GROUP, set([host("r", "x", "b"), cluster("b", "1"), endpoints("b")]));
    let came = engine.take_until(&[(ClusterLoadAssignment, "b")]).await;
    assert_eq!(came, ["Cluster b", "ClusterLoadAssignment b"], "the host waits for what it names");
    assert_eq!(engine.take().await.1, ["VirtualHost r/x"]);
    assert_eq!(platform.progress(second).await, []);
    let same = platform.cache.apply(GROUP, set([cluster("b", "1")]));
    assert_eq!(platform.progress(same).await, [], "a change that changes nothing is applied, too");

    let dumped = |cache: &foregate_xds::Cache| {
        let strip = |resource| foregate_envoy::Resource { owners: [].into(), ..resource };
        cache.dump(GROUP).into_iter().map(strip).collect::<Vec<_>>()
    };
    assert_eq!(dumped(node.relay.cache()), dumped(&platform.cache), "needs and all");
    drop(engine);
    assert_eq!(platform.event().await, Event::Disconnected(instance(GROUP, "n1")));
    node.stop().await;
}

#[tokio::test]
async fn a_refusal_is_reported_with_its_owner_and_again_to_a_new_platform() {
    let (authority, mut platform, dir, node, mut engine) = served(Options::default()).await;
    let bad = listener("bad", "r");
    let sequence = platform.cache.apply(GROUP, set([listener("good", "r"), bad.clone()]));
    // Both together, then each alone.
    let mut alone = 0;
    while alone < 2 {
        let response = within(engine.client.next()).await.unwrap();
        alone += usize::from(response.set.len() == 1);
        match response.set.iter().any(|resource| resource.name == "bad") {
            true => engine.client.nack(&response, "stat_prefix: not supported").unwrap(),
            false => engine.client.ack(&response).unwrap(),
        }
    }
    let nacked = Event::Nacked {
        instance: instance(GROUP, "n1"),
        id: bad.id.clone(),
        version: bad.version.clone(),
        owners: bad.owners.clone(),
        message: "stat_prefix: not supported".into(),
    };
    let events = platform.progress(sequence).await;
    assert!(events.contains(&nacked), "{events:?}");

    let address = platform.address;
    platform.stop().await;
    let mut platform = Platform::start(&authority, Some(address), Options::default());
    let sequence = platform.cache.apply(GROUP, set([listener("good", "r"), bad.clone()]));
    let events = platform.progress(sequence).await;
    assert_eq!(events, [Event::Connected(instance(GROUP, "n1")), nacked]);

    // The listener's second try.
    let again = within(engine.client.next()).await.unwrap();
    assert_eq!(again.set[0].name, "bad");
    engine.client.ack(&again).unwrap();
    let recovered = Event::Recovered { instance: instance(GROUP, "n1"), id: bad.id, version: bad.version };
    assert_eq!(platform.other_event().await, recovered);
    node.stop().await;
    drop(dir);
}

#[tokio::test]
async fn a_large_group_arrives_as_one_change() {
    let (_authority, mut platform, _dir, node, mut engine) =
        served(Options { max_response_bytes: 4096, ..Options::default() }).await;
    let many = (0..3000).map(|n| secret(&format!("s{n:04}")));
    let sequence = platform.cache.apply(GROUP, set(many.chain([secure_cluster("a", "s2999"), endpoints("a")])));
    engine.take_until(&[(Cluster, "a")]).await;
    assert_eq!(node.relay.cache().dump(GROUP).len(), 3002, "whatever came last was there when the first was applied");
    engine.take_until(&[(ClusterLoadAssignment, "a")]).await;
    engine.client.subscribe(foregate_envoy::ResourceKind::Secret, ["s2999"]).unwrap();
    engine.take().await;
    platform.progress(sequence).await;
    platform.cache.remove_group(GROUP);
    assert_eq!(engine.take().await.1, ["Cluster -a"]);
    within(async {
        while !node.relay.cache().dump(GROUP).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    node.stop().await;
}

#[tokio::test]
async fn an_engine_that_comes_back_is_reported_as_the_first_time() {
    let (_authority, mut platform, _dir, node, mut engine) = served(Options::default()).await;
    let sequence = platform.cache.apply(GROUP, set([cluster("a", "1"), endpoints("a")]));
    engine.take_until(&[(ClusterLoadAssignment, "a")]).await;
    platform.progress(sequence).await;
    drop(engine);
    assert_eq!(platform.event().await, Event::Disconnected(instance(GROUP, "n1")));
    let mut engine = node.engine().await;
    engine.subscribe();
    engine.take_until(&[(ClusterLoadAssignment, "a")]).await;
    assert_eq!(platform.event().await, Event::Connected(instance(GROUP, "n1")));
    platform.progress(sequence).await;
    let id = id(Cluster, "a");
    assert!(node.relay.cache().dump(GROUP).iter().any(|resource| resource.id == id));
    node.stop().await;
}
