//! The relay's state machine under everything that may happen in any order.

use std::collections::BTreeMap;
use std::sync::Arc;

use foregate_envoy::{Resource, ResourceId, ResourceKind};
use foregate_xds::relay::{Link, Part, Report};
use foregate_xds::{Event, Instance};
use proptest::collection::vec;
use proptest::prelude::*;

/// Content: names with versions.
type Content = BTreeMap<u8, u8>;

#[derive(Clone, Debug)]
enum Step {
    /// The platform sets or removes a name.
    Change(u8, Option<u8>),
    /// The platform sends what has changed, in so many parts; this many of them arrive.
    Send(usize, usize),
    /// The stream to the platform is lost.
    Lose,
    /// It opens.
    Open,
    /// The engine comes or goes.
    Engine(bool),
    /// The engine applies so many of the local changes that it hasn't.
    Apply(u64),
    /// The engine refuses a name, or takes it after all.
    Refuse(u8, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4u8, proptest::option::of(0..4u8)).prop_map(|(name, version)| Step::Change(name, version)),
        3 => (1..4usize, 0..4usize).prop_map(|(parts, arrive)| Step::Send(parts, arrive)),
        1 => Just(Step::Lose),
        2 => Just(Step::Open),
        2 => any::<bool>().prop_map(Step::Engine),
        3 => (0..4u64).prop_map(Step::Apply),
        2 => (0..4u8, any::<bool>()).prop_map(|(name, refuse)| Step::Refuse(name, refuse)),
    ]
}

fn id(name: u8) -> ResourceId {
    ResourceId::new(ResourceKind::Cluster, name.to_string())
}

fn version(version: u8) -> Arc<str> {
    version.to_string().into()
}

fn resource(name: u8, content: u8) -> Resource {
    Resource { id: id(name), version: version(content), body: Vec::new().into(), needs: [].into(), owners: [].into() }
}

fn instance() -> Instance {
    Instance { group: "t/gw".into(), node: "n".into() }
}

#[derive(Default)]
struct World {
    link: Link,
    /// The platform's content after each change; the last is the present one.
    history: Vec<Content>,
    open: bool,
    sent: Option<usize>,
    /// The node's content after each local change.
    local: Vec<Content>,
    engine: Option<u64>,
    refused: BTreeMap<u8, u8>,
    /// What the platform believes of the engine over this stream.
    heard_engine: bool,
    heard_refused: BTreeMap<u8, u8>,
    heard_applied: Option<u64>,
}

impl World {
    fn new() -> Self {
        Self { history: vec![Content::new()], local: vec![Content::new()], ..Self::default() }
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Change(name, content) => {
                let mut next = self.history.last().unwrap().clone();
                match content {
                    Some(content) => next.insert(name, content),
                    None => next.remove(&name),
                };
                self.history.push(next);
            }
            Step::Send(parts, arrive) => self.send(parts, arrive),
            Step::Lose => self.lose(),
            Step::Open => {
                self.lose();
                self.open = true;
                self.link.opened();
            }
            Step::Engine(there) if there != self.engine.is_some() => {
                self.engine = there.then_some(0);
                self.refused.clear();
                self.link.engine(match there {
                    true => Event::Connected(instance()),
                    false => Event::Disconnected(instance()),
                });
            }
            Step::Engine(_) => {}
            Step::Apply(some) => self.apply(some),
            Step::Refuse(name, refuse) => self.refuse(name, refuse),
        }
        self.hear()
    }

    fn lose(&mut self) {
        self.open = false;
        self.sent = None;
        self.heard_engine = false;
        self.heard_refused.clear();
        self.heard_applied = None;
        self.link.lost();
    }

    fn send(&mut self, parts: usize, arrive: usize) {
        let now = self.history.len() - 1;
        if !self.open || self.sent == Some(now) {
            return;
        }
        let (before, after) = (self.local.last().unwrap().clone(), self.history[now].clone());
        let set: Vec<_> = after.iter().filter(|(name, content)| before.get(name) != Some(content)).collect();
        let mut part_of = vec![Part::default(); parts];
        for (index, (name, content)) in set.into_iter().enumerate() {
            part_of[index % parts].set.push(resource(*name, *content));
        }
        part_of[0].remove = before.keys().filter(|name| !after.contains_key(name)).map(|name| id(*name)).collect();
        part_of[parts - 1].sequence = Some(now as u64);
        for (index, part) in part_of.into_iter().enumerate() {
            if index >= arrive {
                // The rest is never seen.
                return self.lose();
            }
            let complete = self.link.part(part).expect("it makes sense");
            assert_eq!(complete.is_some(), index + 1 == parts);
            let Some((delta, sequence)) = complete else { continue };
            self.local.push(after.clone());
            self.refused.retain(|name, content| after.get(name) == Some(content));
            let set: Vec<_> = delta.set.iter().map(|resource| (&resource.id, Some(&resource.version))).collect();
            let changed = set.into_iter().chain(delta.remove.iter().map(|id| (id, None)));
            self.link.stored(changed, self.local.len() as u64 - 1, sequence);
            self.sent = Some(now);
            self.heard_refused.retain(|name, content| after.get(name) == Some(content));
        }
    }

    fn apply(&mut self, some: u64) {
        let newest = self.local.len() as u64 - 1;
        let Some(applied) = &mut self.engine else { return };
        *applied = (*applied + some).min(newest);
        let applied = *applied;
        self.link.engine(Event::Progress { instance: instance(), applied });
    }

    fn refuse(&mut self, name: u8, refuse: bool) {
        let Some(content) = self.local.last().unwrap().get(&name).copied() else { return };
        if self.engine.is_none() || self.refused.contains_key(&name) == refuse {
            return;
        }
        let (instance, id, version) = (instance(), id(name), version(content));
        if refuse {
            self.refused.insert(name, content);
            let (owners, message) = ([].into(), "no".to_owned());
            self.link.engine(Event::Nacked { instance, id, version, owners, message });
        } else {
            self.refused.remove(&name);
            self.link.engine(Event::Recovered { instance, id, version });
        }
    }

    /// What is reported is true.
    fn hear(&mut self) -> Result<(), TestCaseError> {
        for report in self.link.take() {
            prop_assert!(self.open, "a report to nobody: {report:?}");
            match report {
                Report::Engine(there) => {
                    prop_assert_ne!(there, self.heard_engine, "said twice");
                    self.heard_engine = there;
                    self.heard_applied = None;
                    self.heard_refused.clear();
                }
                Report::Applied(sequence) => {
                    prop_assert!(self.heard_engine, "nobody can have applied it");
                    prop_assert!(self.heard_applied < Some(sequence), "progress goes back");
                    prop_assert!(sequence <= self.sent.unwrap() as u64, "never sent");
                    let applied = self.engine.unwrap() as usize;
                    let truly = self.local[..=applied].contains(&self.history[sequence as usize]);
                    prop_assert!(truly, "the engine hasn't got change {sequence}");
                    self.heard_applied = Some(sequence);
                }
                Report::Refused { id, version, .. } => {
                    let (name, content) = (id.name.parse().unwrap(), version.parse().unwrap());
                    prop_assert_eq!(self.refused.get(&name), Some(&content));
                    self.heard_refused.insert(name, content);
                }
                Report::Recovered { id, .. } => drop(self.heard_refused.remove(&id.name.parse().unwrap())),
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn what_is_reported_is_true_and_in_the_end_complete(steps in vec(step(), 0..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step)?;
        }
        world.take(Step::Engine(true))?;
        world.take(Step::Change(0, Some(9)))?;
        if !world.open {
            world.take(Step::Open)?;
        }
        world.take(Step::Send(2, 2))?;
        world.take(Step::Apply(u64::MAX / 2))?;
        prop_assert_eq!(world.local.last(), world.history.last());
        prop_assert!(world.heard_engine);
        prop_assert_eq!(world.heard_applied, Some(world.history.len() as u64 - 1));
        prop_assert_eq!(&world.heard_refused, &world.refused);
    }
}
