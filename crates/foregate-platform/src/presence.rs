//! Which instances are there, and what they have applied.
//!
//! Pure. After a start, and for a moment after a stream was lost, an instance is *uncertain*: whatever was said of it
//! stays, so that a restart of the platform or a reconnect changes no status.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use foregate_api::address::ProxyRef;
use foregate_api::claim::InstanceCounts;
use foregate_api::instance::Nack;

/// One instance's stream.
#[derive(Clone, Debug, Default)]
struct Presence {
    stream: Option<Stream>,
    uncertain_until: Option<Instant>,
    last_nack: Option<Nack>,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    /// Sequence of the gateway when it connected: with this applied it is ready.
    expected: u64,
    applied: u64,
    ready: bool,
}

/// What is known of one instance.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    pub connected: bool,
    pub ready: bool,
    /// None: nothing was refused since the platform started.
    pub last_nack: Option<Nack>,
}

/// What is known of a gateway's instances together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serving {
    /// Some instance is uncertain: what was said stays.
    Uncertain,
    /// All are known.
    Known {
        counts: InstanceCounts,
        /// The sequence that every connected instance has applied.
        applied: u64,
    },
}

/// All instances.
#[derive(Debug)]
pub(crate) struct Presences {
    gateways: HashMap<ProxyRef, BTreeMap<String, Presence>>,
    /// Instances that were there before the platform started are uncertain until then.
    settled_at: Instant,
    grace: Duration,
    /// No uncertainty ends before it.
    earliest: Option<Instant>,
}

impl Presences {
    /// Nobody is there yet. `settle`: how long instances may take to come back after a start; `grace`: after a stream
    /// was lost.
    pub(crate) fn new(now: Instant, settle: Duration, grace: Duration) -> Self {
        Self { gateways: HashMap::new(), settled_at: now + settle, grace, earliest: None }
    }

    /// An instance of which the API says that it was there.
    pub(crate) fn recall(&mut self, proxy: &ProxyRef, node: &str) {
        let until = self.settled_at;
        let presence = self.presence(proxy, node);
        if !presence.stream.is_some_and(|stream| stream.ready) {
            presence.uncertain_until = Some(until);
            self.expect(until);
        }
    }

    pub(crate) fn connected(&mut self, proxy: &ProxyRef, node: &str, sequence: u64) {
        // A gateway that nothing was published for yet begins with 1.
        let stream = Stream { expected: sequence.max(1), applied: 0, ready: false };
        self.presence(proxy, node).stream = Some(stream);
    }

    pub(crate) fn disconnected(&mut self, proxy: &ProxyRef, node: &str, now: Instant) {
        let until = now + self.grace;
        let presence = self.presence(proxy, node);
        if let Some(stream) = presence.stream.take() {
            // One that was never ready has nothing that could stay.
            let was = presence.uncertain_until.is_some() || stream.ready;
            presence.uncertain_until = was.then_some(presence.uncertain_until.unwrap_or(until).max(until));
            self.expect(until);
        }
    }

    fn expect(&mut self, deadline: Instant) {
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
    }

    /// Returns whether it has become ready by this.
    pub(crate) fn progress(&mut self, proxy: &ProxyRef, node: &str, applied: u64) -> bool {
        let presence = self.presence(proxy, node);
        let Some(stream) = presence.stream.as_mut() else { return false };
        stream.applied = stream.applied.max(applied);
        let became = !stream.ready && stream.applied >= stream.expected;
        if became {
            stream.ready = true;
            presence.uncertain_until = None;
        }
        became
    }

    pub(crate) fn nacked(&mut self, proxy: &ProxyRef, node: &str, nack: Nack) {
        self.presence(proxy, node).last_nack = Some(nack);
    }

    /// Forgets an instance that is no more.
    pub(crate) fn forget(&mut self, proxy: &ProxyRef, node: &str) {
        if let Some(nodes) = self.gateways.get_mut(proxy) {
            if nodes.get(node).is_some_and(|presence| presence.stream.is_none()) {
                nodes.remove(node);
            }
            if nodes.is_empty() {
                self.gateways.remove(proxy);
            }
        }
    }

    /// Whether any stream of a gateway is open.
    pub(crate) fn any_connected(&self, proxy: &ProxyRef) -> bool {
        self.gateways.get(proxy).is_some_and(|nodes| nodes.values().any(|presence| presence.stream.is_some()))
    }

    /// None: uncertain.
    pub(crate) fn of(&self, proxy: &ProxyRef, node: &str) -> Option<Known> {
        let absent = Presence::default();
        let presence = self.gateways.get(proxy).and_then(|nodes| nodes.get(node)).unwrap_or(&absent);
        presence.uncertain_until.is_none().then(|| Known {
            connected: presence.stream.is_some(),
            ready: presence.stream.is_some_and(|stream| stream.ready),
            last_nack: presence.last_nack.clone(),
        })
    }

    /// What a gateway's instances on these nodes do together.
    pub(crate) fn serving(&self, proxy: &ProxyRef, nodes: &[&str]) -> Serving {
        let mut counts = InstanceCounts { desired: nodes.len() as u32, ..Default::default() };
        let mut applied = u64::MAX;
        for presence in nodes.iter().filter_map(|node| self.gateways.get(proxy)?.get(*node)) {
            if presence.uncertain_until.is_some() {
                return Serving::Uncertain;
            }
            if let Some(stream) = presence.stream {
                counts.connected += 1;
                counts.ready += u32::from(stream.ready);
                applied = applied.min(stream.applied);
            }
        }
        Serving::Known { counts, applied: if counts.connected == 0 { 0 } else { applied } }
    }

    /// Lowest sequence that the connected instances of a gateway have applied; none if none is connected.
    pub(crate) fn applied(&self, proxy: &ProxyRef) -> Option<u64> {
        let nodes = self.gateways.get(proxy)?;
        nodes.values().filter_map(|presence| presence.stream.map(|stream| stream.applied)).min()
    }

    /// Whether an instance is connected and has applied a sequence of its gateway.
    pub(crate) fn has_applied(&self, proxy: &ProxyRef, node: &str, sequence: u64) -> bool {
        let presence = self.gateways.get(proxy).and_then(|nodes| nodes.get(node));
        presence.and_then(|presence| presence.stream).is_some_and(|stream| stream.applied >= sequence)
    }

    /// When an uncertainty ends by time, or a little before.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.earliest
    }

    /// Ends uncertainties whose time has come, and returns their gateways.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<ProxyRef> {
        let mut ended = Vec::new();
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return ended;
        }
        for (proxy, nodes) in &mut self.gateways {
            let mut any = false;
            for presence in nodes.values_mut().filter(|presence| presence.uncertain_until.is_some_and(|at| at <= now)) {
                presence.uncertain_until = None;
                any = true;
            }
            if any {
                ended.push(proxy.clone());
            }
        }
        let left = self.gateways.values().flat_map(BTreeMap::values).filter_map(|presence| presence.uncertain_until);
        self.earliest = left.min();
        ended
    }

    fn presence(&mut self, proxy: &ProxyRef, node: &str) -> &mut Presence {
        self.gateways.entry(proxy.clone()).or_default().entry(node.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    fn proxy() -> ProxyRef {
        ProxyRef { namespace: "t".into(), name: "web".into() }
    }

    fn known(presences: &Presences) -> Option<(u32, u32, u64)> {
        match presences.serving(&proxy(), &["a", "b"]) {
            Serving::Uncertain => None,
            Serving::Known { counts, applied } => Some((counts.connected, counts.ready, applied)),
        }
    }

    #[test]
    fn ready_once_it_has_caught_up() {
        let now = Instant::now();
        let mut presences = Presences::new(now, Duration::ZERO, Duration::from_secs(2));
        assert_eq!(known(&presences), Some((0, 0, 0)));
        presences.connected(&proxy(), "a", 3);
        assert_eq!(known(&presences), Some((1, 0, 0)));
        assert!(!presences.progress(&proxy(), "a", 2));
        assert!(presences.progress(&proxy(), "a", 3));
        assert_eq!(known(&presences), Some((1, 1, 3)));
        presences.connected(&proxy(), "b", 5);
        assert_eq!(known(&presences), Some((2, 1, 0)), "what one hasn't applied, not all have");
        presences.progress(&proxy(), "b", 5);
        presences.progress(&proxy(), "a", 7);
        assert_eq!(known(&presences), Some((2, 2, 5)));
    }

    #[test]
    fn uncertain_after_a_start_until_it_is_back_or_late() {
        let start = Instant::now();
        let mut presences = Presences::new(start, Duration::from_secs(10), Duration::from_secs(2));
        presences.recall(&proxy(), "a");
        assert_eq!(known(&presences), None);
        presences.connected(&proxy(), "a", 1);
        assert_eq!(known(&presences), None, "it hasn't caught up");
        presences.progress(&proxy(), "a", 1);
        assert_eq!(known(&presences), Some((1, 1, 1)));

        let mut late = Presences::new(start, Duration::from_secs(10), Duration::from_secs(2));
        late.recall(&proxy(), "a");
        assert_eq!(late.next_deadline(), Some(start + Duration::from_secs(10)));
        assert!(late.expire(start + Duration::from_secs(9)).is_empty());
        assert_eq!(late.expire(start + Duration::from_secs(10)), [proxy()]);
        assert_eq!(known(&late), Some((0, 0, 0)));
    }

    #[test]
    fn a_reconnect_changes_nothing() {
        let now = Instant::now();
        let mut presences = Presences::new(now, Duration::ZERO, Duration::from_secs(2));
        presences.connected(&proxy(), "a", 0);
        assert_eq!(known(&presences), Some((1, 0, 0)), "nothing was published yet");
        presences.progress(&proxy(), "a", 1);
        assert_eq!(known(&presences), Some((1, 1, 1)));
        presences.disconnected(&proxy(), "a", now);
        assert_eq!(known(&presences), None);
        assert_eq!(presences.of(&proxy(), "a"), None);
        presences.connected(&proxy(), "a", 4);
        presences.progress(&proxy(), "a", 4);
        assert_eq!(known(&presences), Some((1, 1, 4)));
        presences.disconnected(&proxy(), "a", now);
        presences.expire(now + Duration::from_secs(2));
        assert_eq!(known(&presences), Some((0, 0, 0)));
    }
}
