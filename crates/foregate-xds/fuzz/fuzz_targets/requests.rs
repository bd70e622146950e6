//! Any requests in any order: a stream never panics, never has two responses of a kind in flight, never repeats a nonce,
//! and sends nothing that the store doesn't have.
#![no_main]

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use foregate_envoy::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use foregate_envoy::{Delta, Resource, ResourceId, ResourceKind};
use foregate_xds::Options;
use foregate_xds::store::Store;
use foregate_xds::stream::{Output, Profile, Request, Stream};
use prost::Message;

/// Two of each kind; those of a name name each other as a gateway's do.
fn resources() -> Vec<Resource> {
    let id = |kind, name: &str| ResourceId::new(kind, name);
    let mut all = Vec::new();
    for name in ["a", "b"] {
        for kind in ResourceKind::ALL {
            let needs = match kind {
                ResourceKind::Cluster => vec![id(ResourceKind::ClusterLoadAssignment, name), id(ResourceKind::Secret, name)],
                ResourceKind::Listener => vec![id(ResourceKind::RouteConfiguration, name)],
                ResourceKind::VirtualHost => vec![id(ResourceKind::Cluster, name)],
                _ => Vec::new(),
            };
            let own = if kind == ResourceKind::VirtualHost { format!("{name}/x") } else { name.to_owned() };
            all.push(Resource {
                id: id(kind, &own),
                version: "1".into(),
                body: Vec::new().into(),
                needs: needs.into(),
                owners: [].into(),
            });
        }
    }
    all
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((mode, mut rest)) = bytes.split_first() else { return };
    let profile = Profile { delta: mode & 1 > 0, vhds: mode & 2 > 0 };
    let mut store = Store::new();
    store.apply(Delta { set: resources(), remove: Vec::new() });
    let mut now = Instant::now();
    let mut stream = Stream::new(profile, &Options::default(), now);
    let (mut nonces, mut flying) = (HashSet::new(), HashMap::new());
    while let Some((length, after)) = rest.split_first() {
        let (message, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        now += Duration::from_secs(u64::from(length % 32));
        let request = match profile.delta {
            true => DeltaDiscoveryRequest::decode(message).ok().and_then(Request::from_delta),
            false => DiscoveryRequest::decode(message).ok().and_then(Request::from_state_of_the_world),
        };
        if let Some(request) = request {
            if flying.get(&request.kind) == Some(&request.nonce) {
                flying.remove(&request.kind);
            }
            stream.request(&store, request);
        }
        stream.advance(&store, now);
        for output in stream.take() {
            let Output::Response(response) = output else { continue };
            assert!(nonces.insert(response.nonce.clone()), "a nonce again");
            let before = flying.insert(response.kind, response.nonce);
            assert_eq!(before, None, "two responses of {:?} in flight", response.kind);
            for sent in response.resources {
                let id = ResourceId { kind: response.kind, name: sent.name };
                let endpoints = id.kind == ResourceKind::ClusterLoadAssignment;
                assert!(endpoints || store.get(&id).is_some(), "{id:?} is nowhere");
            }
        }
    }
});
