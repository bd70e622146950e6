//! What is to be written, when.
//!
//! Pure. Per object at most one write is wanted (the latest wins) and at most one is under way. A first write is due at
//! once; the next on the same object waits for the kind's interval, and after a failure for a growing time. Wanting
//! what is under way already changes nothing, so that whoever decides may say it again on every occasion.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use foregate_api::{Address, GatewayInstance, GatewayProxy};

use crate::store::Key;

/// The kinds that the platform writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Claim,
    Proxy,
    Address,
    Pool,
    Instance,
    Route,
    Backend,
    Secret,
}

impl Kind {
    /// Least time between two writes to one object.
    pub(crate) const fn interval(self) -> Duration {
        match self {
            Self::Claim | Self::Proxy | Self::Route | Self::Backend => Duration::from_millis(20),
            Self::Instance | Self::Pool => Duration::from_millis(200),
            Self::Address | Self::Secret => Duration::ZERO,
        }
    }
}

/// An object that is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Target {
    pub kind: Kind,
    pub key: Key,
}

/// A write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Write {
    CreateProxy(Box<GatewayProxy>),
    CreateAddress(Box<Address>),
    CreateInstance(Box<GatewayInstance>),
    /// Of this UID only: a successor of the same name isn't meant.
    Delete {
        uid: String,
    },
    /// The engine that the GatewayInstance with this UID runs on.
    Engine {
        uid: String,
        engine: String,
    },
    /// A merge patch of the metadata of the object with this UID.
    Metadata {
        uid: String,
        change: serde_json::Value,
    },
    /// A merge patch of the status of the object with this UID.
    Status {
        uid: String,
        status: serde_json::Value,
    },
}

#[derive(Debug, Default)]
struct Entry {
    wanted: Option<Write>,
    flying: Option<Write>,
    earliest: Option<Instant>,
    /// Its place in the queue.
    queued: Option<Instant>,
    failures: u32,
}

/// The writes that are wanted and under way.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    entries: HashMap<Target, Entry>,
    /// Entries with something wanted and nothing under way, by the time when they are due.
    due: BTreeSet<(Instant, Target)>,
}

/// Longest wait after failures.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

impl Outbox {
    /// Says what is wanted of an object; none: nothing. A write that is under way isn't recalled.
    pub(crate) fn want(&mut self, target: Target, write: Option<Write>, now: Instant) {
        if write.is_none() && !self.entries.contains_key(&target) {
            return;
        }
        let entry = self.entries.entry(target.clone()).or_default();
        if write == entry.wanted {
            return;
        }
        entry.wanted = write.filter(|write| entry.flying.as_ref() != Some(write));
        self.schedule(target, now);
    }

    /// An object is gone: nothing is wanted of it.
    pub(crate) fn forget(&mut self, target: &Target) {
        if let Some(entry) = self.entries.get_mut(target) {
            entry.wanted = None;
        }
    }

    /// Whether something is wanted of an object or under way.
    pub(crate) fn is_busy(&self, target: &Target) -> bool {
        self.entries.get(target).is_some_and(|entry| entry.wanted.is_some() || entry.flying.is_some())
    }

    /// Whether something is to be created, or is being, that hasn't failed yet.
    pub(crate) fn is_creating(&self) -> bool {
        let creates = |write: &Option<Write>| {
            matches!(write, Some(Write::CreateProxy(_) | Write::CreateAddress(_) | Write::CreateInstance(_)))
        };
        self.entries.values().any(|entry| entry.failures == 0 && (creates(&entry.wanted) || creates(&entry.flying)))
    }

    /// Whether nothing is wanted or under way at all.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.entries.values().all(|entry| entry.wanted.is_none() && entry.flying.is_none())
    }

    /// Takes the writes that are due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<(Target, Write)> {
        let mut taken = Vec::new();
        while let Some((at, _)) = self.due.first()
            && *at <= now
            && let Some((_, target)) = self.due.pop_first()
        {
            let Some(entry) = self.entries.get_mut(&target) else { continue };
            entry.queued = None;
            match entry.wanted.take() {
                Some(write) => {
                    entry.flying = Some(write.clone());
                    entry.earliest = Some(now + target.kind.interval());
                    taken.push((target, write));
                }
                // Only kept for its interval.
                None => drop(self.entries.remove(&target)),
            }
        }
        taken
    }

    /// When something is due next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Says that a write has ended. One that failed waits, and is wanted again only if somebody says so.
    pub(crate) fn done(&mut self, target: &Target, failed: bool, now: Instant) {
        let Some(entry) = self.entries.get_mut(target) else { return };
        entry.flying = None;
        if failed {
            let wait = Duration::from_millis(50).saturating_mul(1 << entry.failures.min(10)).min(LONGEST_WAIT);
            entry.failures += 1;
            entry.earliest = Some(now + wait);
        } else {
            entry.failures = 0;
        }
        self.schedule(target.clone(), now);
    }

    fn schedule(&mut self, target: Target, now: Instant) {
        let Some(entry) = self.entries.get_mut(&target) else { return };
        if let Some(at) = entry.queued.take() {
            self.due.remove(&(at, target.clone()));
        }
        if entry.flying.is_none() {
            let at = entry.earliest.map_or(now, |earliest| earliest.max(now));
            entry.queued = Some(at);
            self.due.insert((at, target));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn target(name: &str) -> Target {
        Target { kind: Kind::Claim, key: Key::new("t", name) }
    }

    fn status(value: u32) -> Write {
        Write::Status { uid: "u".into(), status: value.into() }
    }

    #[test]
    fn the_first_is_at_once_the_next_waits_and_the_latest_wins() {
        let (mut outbox, start) = (Outbox::default(), Instant::now());
        outbox.want(target("a"), Some(status(1)), start);
        assert_eq!(outbox.take_due(start), [(target("a"), status(1))]);
        outbox.want(target("a"), Some(status(1)), start);
        assert!(outbox.take_due(start).is_empty(), "it is under way");
        outbox.want(target("a"), Some(status(2)), start);
        outbox.want(target("a"), Some(status(3)), start);
        assert!(outbox.take_due(start + Duration::from_secs(1)).is_empty(), "one at a time");
        outbox.done(&target("a"), false, start + Duration::from_millis(1));
        assert!(outbox.take_due(start + Duration::from_millis(19)).is_empty());
        assert_eq!(outbox.next_due(), Some(start + Duration::from_millis(20)));
        assert_eq!(outbox.take_due(start + Duration::from_millis(20)), [(target("a"), status(3))]);
    }

    #[test]
    fn what_is_not_wanted_any_more_is_not_written() {
        let (mut outbox, start) = (Outbox::default(), Instant::now());
        outbox.want(target("a"), Some(status(1)), start);
        outbox.want(target("a"), None, start);
        assert!(outbox.take_due(start).is_empty());
        assert!(outbox.is_idle());
        assert!(outbox.entries.is_empty(), "nothing is kept of it");
    }

    #[test]
    fn a_creation_is_under_way_until_it_is_done_or_has_failed() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        let spec = foregate_api::address::AddressSpec { address: "127.0.0.1".into(), pool: "p".into(), proxy: None };
        let create = Write::CreateAddress(Box::new(Address::new("a", spec)));
        let address = Target { kind: Kind::Address, key: Key::cluster("a") };
        outbox.want(target("a"), Some(status(1)), now);
        assert!(!outbox.is_creating());
        for failed in [false, true] {
            outbox.want(address.clone(), Some(create.clone()), now);
            assert!(outbox.is_creating());
            outbox.take_due(now);
            assert!(outbox.is_creating());
            outbox.done(&address, failed, now);
            assert!(!outbox.is_creating());
        }
        outbox.want(address.clone(), Some(create), now);
        assert!(!outbox.is_creating(), "it was tried");
    }

    #[test]
    fn failures_wait_longer_and_longer() {
        let (mut outbox, mut now) = (Outbox::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..12 {
            outbox.want(target("a"), Some(status(1)), now);
            let due = outbox.next_due().unwrap();
            waits.push(due - now);
            now = due;
            assert_eq!(outbox.take_due(now).len(), 1);
            outbox.done(&target("a"), true, now);
        }
        assert_eq!(waits[..3], [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(100)]);
        assert_eq!(waits[11], LONGEST_WAIT);
    }

    proptest! {
        /// Whatever happens in between: once it is quiet, the last value wanted is what was written last.
        #[test]
        fn the_last_value_is_written(steps in prop::collection::vec((0u32..4, 0u64..40, any::<bool>(), any::<bool>()), 1..60)) {
            let (mut outbox, mut now) = (Outbox::default(), Instant::now());
            let (mut written, mut flying, mut last, mut starts) = (0, None, 0, Vec::new());
            let mut steps = steps.into_iter();
            loop {
                let step = steps.next();
                let over = step.is_none();
                let (value, wait, ends, fails) = step.unwrap_or((last, 1_000, true, false));
                last = value;
                now += Duration::from_millis(wait);
                if ends && let Some(value) = flying.take() {
                    if !fails { written = value; }
                    outbox.done(&target("a"), fails, now);
                }
                outbox.want(target("a"), (value != written || flying.is_some()).then(|| status(value)), now);
                for (_, write) in outbox.take_due(now) {
                    prop_assert!(flying.is_none(), "two at once");
                    let Write::Status { status, .. } = write else { unreachable!() };
                    flying = status.as_u64().map(|value| value as u32);
                    starts.push(now);
                }
                if over && flying.is_none() && written == last { break; }
                prop_assert!(!over || outbox.next_due().is_some() || flying.is_some());
            }
            prop_assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= Kind::Claim.interval()));
        }
    }
}
