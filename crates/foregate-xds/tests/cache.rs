//! The store and the cache, without streams' protocol.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, reason = "tests")]

mod support;

use std::time::Duration;

use foregate_envoy::ResourceKind::{Cluster, ClusterLoadAssignment, RouteConfiguration, VirtualHost};
use foregate_envoy::{Delta, Owner, ResourceId};
use foregate_xds::store::Store;
use foregate_xds::{Cache, Event, Options};
use support::resources::{cluster, endpoints, host, id, shell};
use support::{remove, serve, set, within};

fn changed(store: &mut Store, delta: Delta) -> Vec<String> {
    store.apply(delta).into_iter().map(|id| format!("{id:?}")).collect()
}

#[test]
fn only_what_really_changed_is_reported() {
    let mut store = Store::new();
    assert_eq!(changed(&mut store, set([cluster("a", "1"), cluster("b", "1")])), ["Cluster a", "Cluster b"]);
    assert_eq!(changed(&mut store, set([cluster("a", "1"), cluster("b", "2")])), ["Cluster b"]);
    assert_eq!(changed(&mut store, remove([id(Cluster, "a"), id(Cluster, "none")])), ["Cluster a"]);
    assert_eq!(store.sequence(), 3, "each change counts, also one that changes nothing");
    let sequence = |name| store.get(&id(Cluster, name)).map(|entry| entry.sequence);
    assert_eq!((sequence("a"), sequence("b")), (None, Some(2)));
}

#[test]
fn a_new_owner_of_the_same_content_is_kept_and_not_reported() {
    let mut store = Store::new();
    store.apply(set([cluster("a", "1")]));
    let mut same = cluster("a", "1");
    same.owners = [Owner { uid: "other".into(), generation: 2 }].into();
    assert_eq!(store.apply(set([same.clone()])), []);
    let entry = store.get(&id(Cluster, "a")).unwrap();
    assert_eq!((&entry.resource.owners, entry.sequence), (&same.owners, 1));
}

#[test]
fn virtual_hosts_and_needs_are_indexed() {
    let mut store = Store::new();
    store.apply(set([host("r", "y", "a"), host("r", "x", "a"), host("r/s", "x", "b"), cluster("a", "1")]));
    let hosts = |store: &Store, routes| store.virtual_hosts(routes).map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(hosts(&store, "r"), ["r/x", "r/y"]);
    assert_eq!(hosts(&store, "r/s"), ["r/s/x"]);
    assert!(store.is_needed(&id(ClusterLoadAssignment, "a")) && store.is_needed(&id(Cluster, "b")));
    store.apply(Delta {
        set: vec![host("r", "x", "b")],
        remove: vec![id(VirtualHost, "r/y"), id(VirtualHost, "r/s/x")],
    });
    assert_eq!(hosts(&store, "r"), ["r/x"]);
    assert_eq!(hosts(&store, "r/s"), [""; 0]);
    assert!(!store.is_needed(&id(Cluster, "a")) && store.is_needed(&id(Cluster, "b")));
    assert_eq!(store.clear().len(), 2);
    assert!(!store.is_needed(&id(Cluster, "b")));
}

#[test]
fn sequences_count_per_group_and_a_dump_is_in_order() {
    let (cache, _events) = Cache::new(Options::default());
    assert_eq!(cache.apply("a", set([shell("r"), endpoints("x"), cluster("x", "1")])), 1);
    assert_eq!(cache.apply("a", set([host("r", "x", "x")])), 2);
    assert_eq!(cache.apply("b", set([shell("s")])), 1);
    let ids: Vec<ResourceId> = cache.dump("a").into_iter().map(|resource| resource.id).collect();
    let expected = [(Cluster, "x"), (ClusterLoadAssignment, "x"), (RouteConfiguration, "r"), (VirtualHost, "r/x")];
    assert_eq!(ids, expected.map(|(kind, name)| id(kind, name)));
    cache.remove_group("a");
    cache.remove_group("none");
    assert_eq!((cache.dump("a").len(), cache.dump("b").len()), (0, 1));
}

#[tokio::test]
async fn an_instance_is_connected_while_it_has_a_stream_and_the_newest_reports() {
    let mut served = serve(Options::default()).await;
    let sequence = served.cache.apply(support::GROUP, set([]));
    let mut clients = [served.client().await, served.client().await];
    for client in &mut clients {
        for kind in [Cluster, foregate_envoy::ResourceKind::Listener] {
            client.subscribe(kind, ["*"]).unwrap();
            let empty = within(client.next()).await.unwrap();
            client.ack(&empty).unwrap();
        }
    }
    assert_eq!(served.event().await, Event::Connected(support::instance()));
    let others = served.progress(sequence).await;
    assert_eq!(others, [], "connected once");
    let [first, second] = clients;
    drop(first);
    within(async {
        while served.cache.stats().streams > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let sequence = served.cache.apply(support::GROUP, set([]));
    assert_eq!(served.progress(sequence).await, [], "still connected");
    drop(second);
    while served.event().await != Event::Disconnected(support::instance()) {}
}

#[tokio::test]
async fn what_a_newcomer_refuses_is_known_until_it_is_gone() {
    let mut served = serve(Options { need_timeout: Duration::from_millis(100), ..Options::default() }).await;
    served.cache.apply(support::GROUP, set([cluster("a", "1")]));
    let refused = |served: &support::Served, since| {
        let refused = served.cache.refused_since(&support::instance(), since);
        refused.map(|all| all.into_iter().map(|(id, message)| format!("{id:?}: {message}")).collect::<Vec<_>>())
    };
    assert_eq!((served.cache.newest_engine(&support::instance()), refused(&served, 0)), (0, None));
    let mut before = 0;
    let mut clients = Vec::new();
    for good in [true, false] {
        before = served.cache.newest_engine(&support::instance());
        let mut client = served.client().await;
        for kind in [Cluster, foregate_envoy::ResourceKind::Listener] {
            client.subscribe(kind, ["*"]).unwrap();
            let response = within(client.next()).await.unwrap();
            match good || kind != Cluster {
                true => client.ack(&response).unwrap(),
                false => client.nack(&response, "no").unwrap(),
            }
        }
        served.progress(1).await;
        clients.push(client);
    }
    assert_eq!(refused(&served, before), Some(vec!["Cluster a: no".to_owned()]));
    assert_eq!(refused(&served, 0), Some(vec!["Cluster a: no".to_owned()]));
    drop(clients.pop());
    let gone = served.event().await;
    assert!(matches!(&gone, Event::Recovered { id, .. } if *id.name == *"a"), "{gone:?}");
    assert_eq!((refused(&served, before), refused(&served, 0)), (None, Some(vec![])));
    drop(clients.pop());
    assert_eq!(served.event().await, Event::Disconnected(support::instance()));
}
