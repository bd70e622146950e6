//! The delta protocol, over a real unix socket.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, reason = "tests")]

mod support;

use foregate_envoy::ResourceKind;
use foregate_xds::client::Response;
use foregate_xds::{Client, ClientError, Event, Options, serve_unix};
use support::resources::{cluster, endpoints, host, id, listener, shell};
use support::{remove, serve, set, within};

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

#[tokio::test]
async fn a_refusal_is_reported_with_its_owner_and_the_rest_flows() {
    let mut served = serve(Options::default()).await;
    served.cache.apply(support::GROUP, set([listener("a", "r"), listener("bad", "r"), listener("c", "r")]));
    let mut client = served.client().await;
    client.subscribe(ResourceKind::Listener, ["*"]).unwrap();
    for _ in 0..4 {
        let response = within(client.next()).await.unwrap();
        match names(&response).contains(&"bad") {
            true => client.nack(&response, "stat_prefix: not supported").unwrap(),
            false => client.ack(&response).unwrap(),
        }
    }
    loop {
        match served.event().await {
            Event::Nacked { instance, id, owners, message, .. } => {
                assert_eq!(instance, support::instance());
                assert_eq!(id, support::resources::id(ResourceKind::Listener, "bad"));
                assert_eq!(&*owners[0].uid, "uid-of-bad");
                assert_eq!(message, "stat_prefix: not supported");
                break;
            }
            Event::Connected(_) | Event::Progress { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let known = &client.known()[&ResourceKind::Listener];
    assert_eq!(known["a"], &*listener("a", "r").version);
    assert_eq!(known["bad"], "", "the next stream says that it has some version");
}

#[tokio::test]
async fn a_client_resumes_on_another_server() {
    let served = serve(Options::default()).await;
    served.cache.apply(support::GROUP, set([listener("a", "r"), listener("b", "r"), listener("c", "r")]));
    let mut client = served.client().await;
    client.subscribe(ResourceKind::Listener, ["*"]).unwrap();
    assert_eq!(names(&take(&mut client).await).len(), 3);
    served.shutdown.cancel();
    let error = within(client.next()).await.unwrap_err();
    assert!(matches!(error, ClientError::Stream(_) | ClientError::Closed), "{error}");
    within(served.server).await.unwrap().unwrap();
    assert!(!served.path.exists(), "the socket goes with its server");

    // A replica that has caught up in another order, and was away for a change.
    let mut other = serve(Options { started: false, ..Options::default() }).await;
    other.cache.apply(support::GROUP, set([listener("b", "changed")]));
    let mut client = within(Client::resume_unix(&other.path, "anything", client.into_known())).await.unwrap();
    client.subscribe(ResourceKind::Listener, ["*"]).unwrap();
    assert_eq!(other.event().await, Event::Connected(support::instance()));
    other.cache.apply(support::GROUP, set([listener("a", "r")]));
    other.cache.start();
    let response = take(&mut client).await;
    assert_eq!(names(&response), ["b"], "a is as it was");
    assert_eq!(response.removed, ["c"]);
}

#[tokio::test]
async fn a_group_that_was_never_filled_takes_nothing_away() {
    let mut served = serve(Options::default()).await;
    let known = [(ResourceKind::Listener, [("a".to_owned(), "1".to_owned())].into())].into();
    let mut client = within(Client::resume_unix(&served.path, "anything", known)).await.unwrap();
    client.subscribe(ResourceKind::Listener, ["*"]).unwrap();
    assert_eq!(served.event().await, Event::Connected(support::instance()));
    served.cache.apply("tenant-default/other", set([listener("a", "r")]));
    served.cache.apply(support::GROUP, set([listener("b", "r")]));
    let response = take(&mut client).await;
    assert_eq!((names(&response), response.removed.as_slice()), (vec!["b"], ["a".to_owned()].as_slice()));
    served.cache.remove_group(support::GROUP);
    assert_eq!(take(&mut client).await.removed, ["b"]);
    assert_eq!(served.cache.dump(support::GROUP), []);
}

#[tokio::test]
async fn a_dead_stream_delays_nobody_and_costs_each_resource_once() {
    let mut served = serve(Options::default()).await;
    served.cache.apply(support::GROUP, set([listener("a", "0")]));
    let mut dead = served.client().await;
    dead.subscribe(ResourceKind::Listener, ["*"]).unwrap();
    let mut client = served.client().await;
    client.subscribe(ResourceKind::Listener, ["*"]).unwrap();
    assert_eq!(names(&take(&mut client).await), ["a"]);
    for n in 1..200 {
        served.cache.apply(support::GROUP, set([listener("a", &n.to_string())]));
        assert_eq!(names(&take(&mut client).await), ["a"]);
    }
    let old = take(&mut dead).await;
    let new = take(&mut dead).await;
    assert_ne!(old.set[0].version, new.set[0].version);
    assert_eq!(new.set[0].version, &*listener("a", "199").version, "only the latest");
    assert_eq!(served.cache.stats().streams, 2);
    drop(dead);
    drop(client);
    while served.event().await != Event::Disconnected(support::instance()) {}
    assert_eq!(served.cache.stats().streams, 0);
}

#[tokio::test]
async fn the_socket_is_private_and_replaces_a_stale_one() {
    use std::os::unix::fs::PermissionsExt;
    let served = serve(Options::default()).await;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&served.path), 0o600);
    assert_eq!(mode(served.path.parent().unwrap()), 0o700);

    let taken = within(serve_unix(served.cache.clone(), &served.path, support::instance(), served.shutdown.clone()));
    let error = taken.await.unwrap_err().to_string();
    assert!(error.contains("another server listens there"), "{error}");

    let stale = served.path.with_file_name("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let server = tokio::spawn({
        let (cache, stale, shutdown) = (served.cache.clone(), stale.clone(), served.shutdown.clone());
        async move { serve_unix(cache, &stale, support::instance(), shutdown).await }
    });
    within(async {
        while mode(&stale) != 0o600 || tokio::net::UnixStream::connect(&stale).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let files: Vec<_> =
        std::fs::read_dir(stale.parent().unwrap()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files.len(), 2, "nothing is left behind: {files:?}");
    served.shutdown.cancel();
    within(server).await.unwrap().unwrap();
    assert!(!stale.exists());

    let long = served.path.with_file_name("x".repeat(120));
    let error = serve_unix(served.cache.clone(), &long, support::instance(), served.shutdown.clone()).await;
    assert!(error.unwrap_err().to_string().contains("use a shorter directory"));
}

#[tokio::test]
async fn ten_thousand_virtual_hosts_arrive() {
    let mut served = serve(Options::default()).await;
    let hosts = (0..10_000).map(|n| host("r", &format!("{n}.example.com"), "a"));
    let base = [listener("l", "r"), shell("r"), cluster("a", "1"), endpoints("a")];
    served.cache.apply(support::GROUP, set(base.into_iter().chain(hosts)));
    let mut client = served.client().await;
    client.subscribe(ResourceKind::Cluster, ["*"]).unwrap();
    client.subscribe(ResourceKind::ClusterLoadAssignment, ["a"]).unwrap();
    client.subscribe(ResourceKind::Listener, ["*"]).unwrap();
    client.subscribe(ResourceKind::RouteConfiguration, ["r"]).unwrap();
    client.subscribe(ResourceKind::VirtualHost, ["r/*"]).unwrap();
    let mut count = 0;
    while count < 10_000 {
        let response = take(&mut client).await;
        if response.kind == ResourceKind::VirtualHost {
            count += response.set.len();
        }
    }
    served.progress(1).await;
    let sequence = served.cache.apply(support::GROUP, set([host("r", "77.example.com", "b"), cluster("b", "1")]));
    assert_eq!(names(&take(&mut client).await), ["b"]);
    client.subscribe(ResourceKind::ClusterLoadAssignment, ["b"]).unwrap();
    assert_eq!(take(&mut client).await.kind, ResourceKind::ClusterLoadAssignment);
    assert_eq!(names(&take(&mut client).await), ["r/77.example.com"], "one host, one small response");
    served.progress(sequence).await;
}
