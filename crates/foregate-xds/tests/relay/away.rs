//! Platform or node away: what was sent serves on.

use foregate_envoy::Delta;
use foregate_envoy::ResourceKind::{Cluster, ClusterLoadAssignment, Listener};
use foregate_xds::{Event, Options};

use crate::resources::{cluster, endpoints, id, listener, secret};
use crate::rig::{Authority, GROUP, ID, Node, Platform, has, instance, on_disk, set, within};

#[tokio::test]
async fn a_node_serves_from_disk_and_changes_nothing_before_all_has_come() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let platform = Platform::start(&authority, None, Options::default());
    platform.cache.apply(GROUP, set([listener("a", "r"), listener("b", "r"), cluster("c", "1"), endpoints("c")]));
    let address = platform.address;
    let node = Node::start(dir.path(), &authority, address).await;
    on_disk(dir.path(), |resources| resources.len() == 4).await;
    platform.stop().await;
    node.stop().await;

    let node = Node::start_quietly(dir.path(), &authority, address).await;
    let [stored] = node.relay.stored() else { panic!("one instance") };
    assert_eq!((stored.id.as_str(), &stored.instance, &*stored.note), (ID, &instance(GROUP, "n1"), &b"note"[..]));
    node.relay.follow(ID, instance(GROUP, "n1"), b"note".as_slice().into());
    let mut engine = node.engine().await;
    engine.subscribe();
    engine.take_until(&[(Listener, "a"), (Listener, "b"), (Cluster, "c"), (ClusterLoadAssignment, "c")]).await;

    // A platform that hasn't caught up: it has read half of what it will have.
    let mut platform = Platform::start(&authority, Some(address), Options { started: false, ..Options::default() });
    platform.cache.apply(GROUP, set([listener("a", "changed")]));
    assert_eq!(node.relay.cache().dump(GROUP).len(), 4);
    let sequence = platform.cache.apply(GROUP, set([cluster("c", "1"), endpoints("c"), secret("new")]));
    platform.cache.start();
    let mut came = Vec::new();
    while came.len() < 2 {
        came.extend(engine.take().await.1);
    }
    came.sort();
    assert_eq!(came, ["Listener -b", "Listener a"]);
    assert_eq!(platform.progress(sequence).await, [Event::Connected(instance(GROUP, "n1"))]);
    on_disk(dir.path(), |resources| has(resources, &secret("new").id) && !has(resources, &id(Listener, "b"))).await;
    node.stop().await;

    let node = Node::start_quietly(dir.path(), &authority, address).await;
    node.relay.forget(ID);
    assert!(node.relay.cache().dump(GROUP).is_empty() && !dir.path().join("xds").join(format!("{ID}.xds")).exists());
    node.stop().await;
}

#[tokio::test]
async fn many_changes_are_few_writes_and_the_last_is_kept() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let mut platform = Platform::start(&authority, None, Options::default());
    let node = Node::start(dir.path(), &authority, platform.address).await;
    let mut engine = node.engine().await;
    engine.subscribe();
    let inode = || {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(dir.path().join("xds").join(format!("{ID}.xds"))).map(|file| file.ino()).ok()
    };
    let (mut writes, mut last, mut sequence) = (0, inode(), 0);
    for n in 0..500 {
        sequence = platform.cache.apply(GROUP, set([cluster("c", &n.to_string()), endpoints("c")]));
        let version = cluster("c", &n.to_string()).version;
        while engine.client.known().get(&Cluster).and_then(|known| known.get("c")) != Some(&version.to_string()) {
            engine.take().await;
        }
        writes += usize::from(last != inode());
        last = inode();
    }
    engine.take_until(&[(ClusterLoadAssignment, "c")]).await;
    platform.progress(sequence).await;
    assert!(writes < 50, "{writes} writes");
    drop(engine);
    node.stop().await;
    on_disk(dir.path(), |resources| resources.iter().any(|resource| resource.version == cluster("c", "499").version))
        .await;
}

#[tokio::test]
async fn a_damaged_file_is_not_used_and_is_replaced() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let platform = Platform::start(&authority, None, Options::default());
    platform.cache.apply(GROUP, set([listener("a", "r")]));
    let node = Node::start(dir.path(), &authority, platform.address).await;
    on_disk(dir.path(), |resources| resources.len() == 1).await;
    node.stop().await;
    let path = dir.path().join("xds").join(format!("{ID}.xds"));
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let node = Node::start_quietly(dir.path(), &authority, platform.address).await;
    assert_eq!(node.relay.stored(), []);
    assert_eq!(node.relay.cache().dump(GROUP), []);
    node.relay.follow(ID, instance(GROUP, "n1"), Default::default());
    on_disk(dir.path(), |resources| resources.len() == 1).await;
    node.relay.forget(ID);
    within(async {
        while path.exists() || !node.relay.cache().dump(GROUP).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    node.relay.follow(ID, instance(GROUP, "n1"), Default::default());
    on_disk(dir.path(), |resources| resources.len() == 1).await;
    node.stop().await;
}

#[tokio::test]
async fn an_instance_that_is_taken_away_serves_on_until_it_is_forgotten() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let platform = Platform::start(&authority, None, Options::default());
    platform.cache.apply(GROUP, set([listener("a", "r")]));
    let node = Node::start(dir.path(), &authority, platform.address).await;
    on_disk(dir.path(), |resources| resources.len() == 1).await;
    platform.directory.remove(ID);
    within(async {
        while platform.cache.stats().streams > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    platform.cache.apply(GROUP, Delta { set: vec![], remove: vec![id(Listener, "a")] });
    assert_eq!(node.relay.cache().dump(GROUP).len(), 1);
    platform.directory.set(ID, instance(GROUP, "n1"));
    on_disk(dir.path(), <[_]>::is_empty).await;
    node.stop().await;
}

#[tokio::test]
async fn an_engine_that_has_lived_on_is_not_taken_back_to_what_was_on_disk() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let mut platform = Platform::start(&authority, None, Options::default());
    platform.cache.apply(GROUP, set([listener("a", "r")]));
    let node = Node::start(dir.path(), &authority, platform.address).await;
    on_disk(dir.path(), |resources| resources.len() == 1).await;
    let mut engine = node.engine().await;
    engine.subscribe();
    let path = dir.path().join("xds").join(format!("{ID}.xds"));
    let before = std::fs::read(&path).unwrap();
    platform.cache.apply(GROUP, set([listener("b", "r")]));
    engine.take_until(&[(Listener, "a"), (Listener, "b")]).await;
    let known = engine.client.into_known();
    node.stop().await;
    // Killed before the last change was written.
    std::fs::write(&path, before).unwrap();

    let node = Node::start(dir.path(), &authority, platform.address).await;
    let client = within(foregate_xds::Client::resume_unix(&node.socket, "engine", known)).await.unwrap();
    let mut engine = crate::rig::Engine { client };
    engine.subscribe();
    let sequence = platform.cache.apply(GROUP, set([listener("c", "r")]));
    let mut came = Vec::new();
    while !came.contains(&"Listener c".to_owned()) {
        came.extend(engine.take().await.1);
    }
    assert_eq!(came, ["Listener c"], "nothing is taken away");
    platform.progress(sequence).await;
    node.stop().await;
}
