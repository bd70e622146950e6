//! The delta client in the process of the cache.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, reason = "tests")]

mod support;

use foregate_envoy::ResourceKind;
use foregate_xds::client::Response;
use foregate_xds::local::Local;
use foregate_xds::{Cache, ClientError, Endpoint, Event, Options};
use support::resources::{cluster, endpoints, host, id, listener, shell};
use support::{GROUP, instance, remove, set, within};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

/// Takes the next response and acknowledges it.
async fn take(client: &mut Local) -> Response {
    let response = within(client.next()).await.unwrap();
    client.ack(&response).unwrap();
    response
}

fn names(response: &Response) -> Vec<&str> {
    response.set.iter().map(|resource| resource.name.as_str()).collect()
}

fn asks(client: &mut Local, kind: ResourceKind, name: &str) {
    client.subscribe(kind, vec![name.to_owned()]).unwrap();
}

/// Waits for progress up to a sequence; returns what else came before it. The client acts only while it is waited for.
async fn progress(client: &mut Local, events: &mut UnboundedReceiver<Event>, sequence: u64) -> Vec<Event> {
    let mut others = Vec::new();
    within(async {
        loop {
            let event = tokio::select! {
                event = events.recv() => event.unwrap(),
                response = client.next() => panic!("{response:?}"),
            };
            match event {
                Event::Progress { applied, .. } if applied >= sequence => return,
                Event::Progress { .. } => {}
                other => others.push(other),
            }
        }
    })
    .await;
    others
}

#[tokio::test]
async fn what_is_new_comes_in_order_and_its_answer_is_progress() {
    let (cache, mut events) = Cache::new(Options { started: false, ..Options::default() });
    let endpoint = Endpoint::new(cache.clone(), instance(), CancellationToken::new());
    let mut client = within(endpoint.connect()).await;
    for kind in [ResourceKind::Listener, ResourceKind::Cluster] {
        asks(&mut client, kind, "*");
    }
    let all = set([listener("l", "r"), shell("r"), cluster("a", "1"), endpoints("a"), host("r", "x.com", "a")]);
    cache.apply(GROUP, all);
    // Cancelled, because nothing is there before the cache has started: nothing is lost by it.
    assert!(futures::FutureExt::now_or_never(client.next()).is_none());
    cache.start();

    assert_eq!(names(&take(&mut client).await), ["a"]);
    asks(&mut client, ResourceKind::ClusterLoadAssignment, "a");
    assert_eq!(names(&take(&mut client).await), ["l"]);
    asks(&mut client, ResourceKind::RouteConfiguration, "r");
    assert_eq!(take(&mut client).await.kind, ResourceKind::ClusterLoadAssignment);
    assert_eq!(names(&take(&mut client).await), ["r"]);
    asks(&mut client, ResourceKind::VirtualHost, "r/*");
    assert_eq!(names(&take(&mut client).await), ["r/x.com"]);
    let others = progress(&mut client, &mut events, 1).await;
    assert_eq!(others, [Event::Connected(instance())]);

    let sequence = cache.apply(GROUP, set([host("r", "y.com", "a")]));
    assert_eq!(names(&take(&mut client).await), ["r/y.com"]);
    assert_eq!(progress(&mut client, &mut events, sequence).await, []);
    let sequence = cache.apply(GROUP, remove([id(ResourceKind::VirtualHost, "r/y.com")]));
    assert_eq!(take(&mut client).await.removed, ["r/y.com"]);
    assert_eq!(progress(&mut client, &mut events, sequence).await, []);
    let stats = cache.stats();
    assert_eq!((stats.nacks, stats.acks), (0, stats.responses));
}

#[tokio::test]
async fn a_refusal_is_reported_with_its_owner() {
    let (cache, mut events) = Cache::new(Options::default());
    cache.apply(GROUP, set([listener("bad", "r")]));
    let mut client = Endpoint::new(cache, instance(), CancellationToken::new()).connect().await;
    asks(&mut client, ResourceKind::Listener, "*");
    asks(&mut client, ResourceKind::Cluster, "*");
    for _ in 0..2 {
        let response = within(client.next()).await.unwrap();
        match names(&response).contains(&"bad") {
            true => client.nack(&response, "stat_prefix: not supported").unwrap(),
            false => client.ack(&response).unwrap(),
        }
    }
    let others = progress(&mut client, &mut events, 1).await;
    let refusals = others.iter().filter_map(|event| match event {
        Event::Nacked { id, owners, message, .. } => Some((&*id.name, &*owners[0].uid, message.as_str())),
        _ => None,
    });
    assert_eq!(refusals.collect::<Vec<_>>(), [("bad", "uid-of-bad", "stat_prefix: not supported")]);
}

#[tokio::test]
async fn it_ends_with_its_endpoint_and_leaves() {
    let (cache, mut events) = Cache::new(Options::default());
    cache.apply(GROUP, set([listener("l", "r")]));
    let stop = CancellationToken::new();
    let endpoint = Endpoint::new(cache, instance(), stop.clone());
    let mut client = endpoint.connect().await;
    asks(&mut client, ResourceKind::Listener, "*");
    assert_eq!(names(&take(&mut client).await), ["l"]);
    stop.cancel();
    assert!(matches!(within(client.next()).await, Err(ClientError::Closed)));
    drop(client);
    while within(events.recv()).await != Some(Event::Disconnected(instance())) {}
    // Who connects again waits, and keeps what it has.
    assert!(futures::FutureExt::now_or_never(endpoint.connect()).is_none());
}
