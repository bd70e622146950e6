//! Whatever the order of changes: the result is that of a translation from scratch, and deltas add up to it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use foregate_api::address::ProxyRef;
use foregate_envoy::{Resource, ResourceId};
use foregate_translate::{Input, Key, ObjectRef, Options, Output, Translator};
use proptest::prelude::*;
use support::world::{self, World};

#[derive(Clone, Debug)]
enum Step {
    Route(usize, u8, [usize; 2]),
    NoRoute(usize),
    Backend(usize, u8),
    NoBackend(usize),
    Slice(usize, u8),
    NoSlice(usize),
    Proxy(usize, u8),
    NoProxy(usize),
    Secret(u8),
    NoSecret,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6usize, any::<u8>(), [0..4usize, 0..4usize]).prop_map(|(n, v, b)| Step::Route(n, v, b)),
        1 => (0..6usize).prop_map(Step::NoRoute),
        2 => (0..4usize, any::<u8>()).prop_map(|(n, v)| Step::Backend(n, v)),
        1 => (0..4usize).prop_map(Step::NoBackend),
        2 => (0..4usize, any::<u8>()).prop_map(|(n, v)| Step::Slice(n, v)),
        1 => (0..4usize).prop_map(Step::NoSlice),
        3 => (0..2usize, any::<u8>()).prop_map(|(n, v)| Step::Proxy(n, v)),
        1 => (0..2usize).prop_map(Step::NoProxy),
        1 => (0..3u8).prop_map(Step::Secret),
        1 => Just(Step::NoSecret),
    ]
}

/// A step as inputs. Steps that depend on what was before are left out: a route never names a backend that isn't
/// there, and what is named isn't deleted.
fn take(world: &mut World, step: &Step, generation: i64) -> Vec<Input> {
    match *step {
        // A route that can't be translated leaves its last good form behind: its own test has that.
        Step::Route(n, v, b) if v % 11 != 10 => {
            let backends = b.map(|b| (b, world.0.contains_key(&("GatewayBackend", format!("backend-{b}")))));
            let missing = backends.into_iter().filter(|(_, there)| !there);
            let mut inputs: Vec<Input> =
                missing.map(|(b, _)| world.set("GatewayBackend", world::backend(b, 0))).collect();
            inputs.insert(0, world.set("GatewayRoute", world::route(n, v, b, generation)));
            inputs
        }
        Step::Route(..) => Vec::new(),
        Step::NoRoute(n) => world.remove("GatewayRoute", &format!("route-{n}")).into_iter().collect(),
        Step::Backend(n, v) => vec![world.set("GatewayBackend", world::backend(n, v))],
        Step::NoBackend(n) => {
            let name = format!("backend-{n}");
            if world.named("GatewayRoute", &name) {
                return Vec::new();
            }
            world.remove("GatewayBackend", &name).into_iter().collect()
        }
        Step::Slice(n, v) => vec![world.set("GatewayEndpointSlice", world::slice(n, v))],
        Step::NoSlice(n) => world.remove("GatewayEndpointSlice", &format!("slice-{n}")).into_iter().collect(),
        Step::Proxy(n, v) => {
            // One claim is bound to one gateway at most.
            let other = world.0.get(&("GatewayProxy", format!("proxy-{}", 1 - n)));
            let taken = other.is_some_and(|other| other.to_string().contains("claim-2"));
            let v = if taken { v & !8 } else { v };
            vec![world.set("GatewayProxy", world::proxy(n, v, generation))]
        }
        Step::NoProxy(n) => world.remove("GatewayProxy", &format!("proxy-{n}")).into_iter().collect(),
        Step::Secret(v) => vec![world.set("Secret", world::secret(v))],
        Step::NoSecret if world.named("GatewayProxy", "\"certificate\"") => Vec::new(),
        Step::NoSecret => world.remove("Secret", "certificate").into_iter().collect(),
    }
}

type Held = BTreeMap<ProxyRef, BTreeMap<ResourceId, Resource>>;

/// What a server of these deltas holds.
fn hold(held: &mut Held, output: &Output) {
    for (proxy, delta) in &output.deltas {
        let held = held.entry(proxy.clone()).or_default();
        for id in &delta.remove {
            assert!(held.remove(id).is_some(), "removed without having been there: {id:?}");
        }
        for resource in &delta.set {
            let old = held.insert(resource.id.clone(), resource.clone());
            assert_ne!(old.as_ref(), Some(resource), "sent again without a change");
        }
    }
}

fn proxies() -> [ProxyRef; 2] {
    [0, 1].map(|n| ProxyRef { namespace: "tenant-a".to_owned(), name: format!("proxy-{n}") })
}

fn problems(translator: &Translator, world: &World) -> Vec<String> {
    let objects = world.0.keys().map(|(kind, name)| ObjectRef { kind, key: Key::new("tenant-a", name.as_str()) });
    objects.filter_map(|object| Some(format!("{object}: {}", translator.problem(&object)?))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn equals_a_translation_from_scratch(batches in prop::collection::vec(prop::collection::vec(step(), 1..4), 1..16)) {
        let mut world = World::default();
        let mut translator = Translator::new(Options::default());
        let mut held = Held::new();
        let mut generation = 0;
        for batch in batches {
            let mut inputs = Vec::new();
            for step in &batch {
                generation += 1;
                inputs.extend(take(&mut world, step, generation));
            }
            let output = translator.apply(inputs);
            hold(&mut held, &output);
            let mut scratch = Translator::new(Options::default());
            scratch.apply(world.inputs());
            for proxy in proxies() {
                let expected = scratch.resources(&proxy);
                prop_assert_eq!(&translator.resources(&proxy), &expected);
                let held: Vec<&Resource> = held.get(&proxy).into_iter().flat_map(BTreeMap::values).collect();
                prop_assert_eq!(&held, &expected);
                prop_assert_eq!(translator.ir(&proxy), scratch.ir(&proxy));
            }
            prop_assert_eq!(problems(&translator, &world), problems(&scratch, &world));
        }
    }

    #[test]
    fn the_order_of_inputs_does_not_matter(
        routes in prop::collection::vec((any::<u8>(), [0..4usize, 0..4usize]), 6),
        order in Just((0..14usize).collect::<Vec<_>>()).prop_shuffle(),
        split in 0..14usize,
    ) {
        let mut world = World::default();
        world.set("GatewayProxy", world::proxy(0, 15, 1));
        world.set("GatewayProxy", world::proxy(1, 7, 1));
        world.set("Secret", world::secret(0));
        for n in 0..4 {
            world.set("GatewayBackend", world::backend(n, u8::try_from(n).unwrap()));
        }
        for (n, (variant, backends)) in routes.into_iter().enumerate() {
            world.set("GatewayRoute", world::route(n, variant, backends, 1));
        }
        let inputs = world.inputs();
        let mut expected = Translator::new(Options::default());
        expected.apply(inputs.clone());
        let shuffled: Vec<Input> = order.iter().filter_map(|n| inputs.get(*n).cloned()).collect();
        let mut actual = Translator::new(Options::default());
        let (first, second) = shuffled.split_at(split.min(shuffled.len()));
        actual.apply(first.to_vec());
        actual.apply(second.to_vec());
        for proxy in proxies() {
            prop_assert_eq!(actual.resources(&proxy), expected.resources(&proxy));
        }
    }
}
