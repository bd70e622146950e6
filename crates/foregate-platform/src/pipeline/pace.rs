//! Endpoints of very large Services, at a pace.
//!
//! A ClusterLoadAssignment is always whole, so that each change of one slice costs as much as the Service is large, here
//! and in every engine. The first change goes out at once; what follows it closely goes out together, after a pause that
//! grows with the Service. Small Services never wait. Slices that come or go don't either: routes wait for these.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foregate_api::GatewayEndpointSlice;
use foregate_translate::Change;
use kube::ResourceExt as _;

use crate::pipeline::observe::translator_key;
use crate::store::{Changed, Key};

/// Per endpoint of the Service.
const EACH: Duration = Duration::from_micros(10);
/// The longest pause: ten changes a second.
const LONGEST: Duration = Duration::from_millis(100);
/// With fewer endpoints there is no pause.
const FEW: usize = 256;

/// A Service of a workload cluster: namespace of the tenant, cluster, UID.
type Service = (String, String, String);

/// Changes of slices on their way to translation.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// What has changed since the last step.
    news: Vec<Changed<GatewayEndpointSlice>>,
    services: HashMap<Service, Paced>,
    /// Services of which something is held back, by the time when it may go.
    due: BTreeSet<(Instant, Service)>,
}

#[derive(Debug, Default)]
struct Paced {
    slices: usize,
    endpoints: usize,
    /// No change before.
    next: Option<Instant>,
    held: HashMap<Key, Arc<GatewayEndpointSlice>>,
}

impl Paced {
    fn pause(&self) -> Duration {
        if self.endpoints < FEW {
            return Duration::ZERO;
        }
        EACH.saturating_mul(u32::try_from(self.endpoints).unwrap_or(u32::MAX)).min(LONGEST)
    }
}

impl Pace {
    pub(crate) fn observe(&mut self, changed: Changed<GatewayEndpointSlice>) {
        self.news.push(changed);
    }

    /// When [`Pace::take`] has something that it was too early for.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the changes that may go out now.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<Change<GatewayEndpointSlice>> {
        let (mut out, mut moved) = (Vec::new(), BTreeSet::new());
        for changed in std::mem::take(&mut self.news) {
            self.count(changed.old.as_deref(), changed.new.as_deref());
            let service = changed.new.as_deref().or(changed.old.as_deref()).map(service_of).unwrap_or_default();
            let stays = changed.old.as_deref().map(service_of).is_some_and(|old| old == service);
            if let Some(old) = changed.old.as_deref().filter(|_| !stays).map(service_of) {
                self.services.entry(old.clone()).or_default().held.remove(&changed.key);
                moved.insert(old);
            }
            let entry = self.services.entry(service.clone()).or_default();
            match changed.new {
                Some(slice) if stays && entry.next.is_some_and(|next| next > now) => {
                    if entry.held.is_empty() {
                        self.due.extend(entry.next.map(|next| (next, service)));
                    }
                    entry.held.insert(changed.key, slice);
                    continue;
                }
                Some(slice) => out.push(Change::Set(slice)),
                None => out.push(Change::Gone(translator_key(&changed.key))),
            }
            entry.held.remove(&changed.key);
            moved.insert(service);
        }
        while let Some((at, _)) = self.due.first()
            && *at <= now
            && let Some((_, service)) = self.due.pop_first()
        {
            let Some(entry) = self.services.get_mut(&service) else { continue };
            out.extend(std::mem::take(&mut entry.held).into_values().map(Change::Set));
            moved.insert(service);
        }
        for service in moved {
            let Some(entry) = self.services.get_mut(&service) else { continue };
            if entry.slices == 0 && entry.held.is_empty() {
                self.services.remove(&service);
                continue;
            }
            // What is held already goes when it was to go.
            if entry.held.is_empty() {
                let pause = entry.pause();
                entry.next = (!pause.is_zero()).then(|| now + pause);
            }
        }
        out
    }

    fn count(&mut self, old: Option<&GatewayEndpointSlice>, new: Option<&GatewayEndpointSlice>) {
        if let Some(old) = old
            && let Some(entry) = self.services.get_mut(&service_of(old))
        {
            entry.slices = entry.slices.saturating_sub(1);
            entry.endpoints = entry.endpoints.saturating_sub(old.spec.endpoints.len());
        }
        if let Some(new) = new {
            let entry = self.services.entry(service_of(new)).or_default();
            entry.slices += 1;
            entry.endpoints += new.spec.endpoints.len();
        }
    }
}

fn service_of(slice: &GatewayEndpointSlice) -> Service {
    let spec = &slice.spec;
    (slice.namespace().unwrap_or_default(), spec.origin.cluster.clone(), spec.service_uid.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;
    use crate::testing::slice_with;

    /// A world of one Service.
    struct World {
        pace: Pace,
        known: HashMap<String, Arc<GatewayEndpointSlice>>,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            Self { pace: Pace::default(), known: HashMap::new(), now: Instant::now() }
        }

        fn set(&mut self, name: &str, endpoints: usize) {
            let slice = Arc::new(slice_with(name, endpoints));
            let old = self.known.insert(name.to_owned(), Arc::clone(&slice));
            self.pace.observe(Changed { key: Key::of(&*slice), old, new: Some(slice) });
        }

        fn remove(&mut self, name: &str) {
            let old = self.known.remove(name).unwrap();
            self.pace.observe(Changed { key: Key::of(&*old), old: Some(old), new: None });
        }

        /// What goes out, after so many milliseconds.
        fn after(&mut self, millis: u64) -> Vec<String> {
            self.now += Duration::from_millis(millis);
            let name = |change: Change<GatewayEndpointSlice>| match change {
                Change::Set(slice) => format!("{}={}", slice.name_any(), slice.spec.endpoints.len()),
                Change::Gone(key) => format!("-{}", key.name),
            };
            let mut names: Vec<_> = self.pace.take(self.now).into_iter().map(name).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn the_first_goes_at_once_and_the_next_together() {
        let mut world = World::new();
        world.set("a", 1000);
        world.set("b", 1000);
        assert_eq!(world.after(0), ["a=1000", "b=1000"], "what is new doesn't wait");
        world.set("a", 999);
        assert_eq!(world.after(1), Vec::<String>::new());
        world.set("a", 998);
        world.set("b", 999);
        assert_eq!(world.after(1), Vec::<String>::new());
        assert_eq!(world.pace.next_deadline().unwrap() - world.now, Duration::from_millis(18), "20 ms after the first");
        assert_eq!(world.after(18), ["a=998", "b=999"]);
        assert_eq!(world.pace.next_deadline(), None);
        world.set("a", 1);
        assert_eq!(world.after(200), ["a=1"], "it was quiet");
    }

    #[test]
    fn a_small_service_never_waits() {
        let mut world = World::new();
        world.set("a", 100);
        assert_eq!(world.after(0), ["a=100"]);
        for endpoints in 0..50 {
            world.set("a", endpoints);
            assert_eq!(world.after(0), [format!("a={endpoints}")]);
        }
    }

    #[test]
    fn what_is_new_or_gone_goes_at_once_and_nothing_old_follows() {
        let mut world = World::new();
        world.set("a", 20_000);
        assert_eq!(world.after(0), ["a=20000"]);
        world.set("a", 19_999);
        world.set("b", 5);
        assert_eq!(world.after(1), ["b=5"]);
        world.remove("a");
        assert_eq!(world.after(1), ["-a"]);
        assert_eq!(world.after(200), Vec::<String>::new(), "the form that was held back is gone as well");
        world.remove("b");
        assert_eq!(world.after(0), ["-b"]);
        assert!(world.pace.services.is_empty(), "nothing is kept of it");
    }
}
