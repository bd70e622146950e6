//! What is about to change isn't said.
//!
//! While an engine takes a new listener, which is a matter of milliseconds, its Gateway is neither here nor there. The
//! status of before, which names the generation that it is about, stays for a moment; only if that passes is it said
//! what is waited for.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use foregate_api::address::ProxyRef;

use crate::outbox::{Target, Write};

/// How long a status may be that of before.
pub(crate) const PATIENCE: Duration = Duration::from_millis(50);

/// Statuses that are held back for a moment.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    until: HashMap<Target, Instant>,
    later: BTreeSet<(Instant, ProxyRef)>,
}

impl Patience {
    /// The write that is wanted now: none yet, if it says something transient and the moment isn't over.
    pub(super) fn consider(
        &mut self,
        proxy: &ProxyRef,
        target: &Target,
        write: Option<Write>,
        is_transient: bool,
        now: Instant,
    ) -> Option<Write> {
        if !is_transient || write.is_none() {
            self.until.remove(target);
            return write;
        }
        let until = *self.until.entry(target.clone()).or_insert(now + PATIENCE);
        if until <= now {
            return write;
        }
        self.later.insert((until, proxy.clone()));
        None
    }

    /// An object is gone.
    pub(super) fn forget(&mut self, target: &Target) {
        self.until.remove(target);
    }

    /// When a moment is over.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// Gateways whose moment is over.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<ProxyRef> {
        let mut over = Vec::new();
        while self.later.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, proxy)) = self.later.pop_first()
        {
            over.push(proxy);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;
    use crate::outbox::Kind;
    use crate::store::Key;

    #[test]
    fn a_transient_status_waits_and_a_final_one_does_not() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        let proxy = ProxyRef { namespace: "t".into(), name: "web".into() };
        let target = Target { kind: Kind::Claim, key: Key::new("t", "web") };
        let write = || Some(Write::Delete { uid: "u".into() });
        assert_eq!(patience.consider(&proxy, &target, write(), true, start), None);
        assert_eq!(patience.consider(&proxy, &target, write(), false, start), write());
        assert_eq!(patience.consider(&proxy, &target, write(), true, start), None);
        let later = start + PATIENCE / 2;
        assert_eq!(patience.consider(&proxy, &target, write(), true, later), None);
        assert_eq!(patience.next_deadline(), Some(start + PATIENCE), "it isn't put off");
        assert_eq!(patience.expire(start + PATIENCE), std::slice::from_ref(&proxy));
        assert_eq!(patience.consider(&proxy, &target, write(), true, start + PATIENCE), write());
        assert_eq!(patience.consider(&proxy, &target, write(), true, start + PATIENCE), write());
    }
}
