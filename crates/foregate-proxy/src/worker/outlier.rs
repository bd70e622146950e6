//! Endpoints that fail again and again are left out for a while. Each worker goes by what it has seen itself.

use std::cell::Cell;

use super::sweep::ticks;
use crate::config::outlier::Outlier;

/// What a worker has seen of an endpoint.
#[derive(Default)]
pub(super) struct Record {
    /// Failures in a row, and those among them that are a gateway's.
    failures: Cell<u32>,
    gateway_failures: Cell<u32>,
    /// Left out before this tick.
    until: Cell<Option<u32>>,
    /// How often it has been left out, as far as that is remembered.
    times: Cell<u32>,
}

impl Record {
    /// Notes an answer (`None`: there was none); says whether the endpoint should be left out.
    pub(super) fn note(&self, outlier: &Outlier, status: Option<u16>) -> bool {
        let count = |cell: &Cell<u32>, failed: bool| cell.set(if failed { cell.get().saturating_add(1) } else { 0 });
        count(&self.failures, status.is_none_or(|status| status >= 500));
        count(&self.gateway_failures, status.is_none_or(|status| (502..=504).contains(&status)));
        let reached = |limit: Option<u32>, cell: &Cell<u32>| limit.is_some_and(|limit| cell.get() >= limit);
        reached(outlier.failures, &self.failures) || reached(outlier.gateway_failures, &self.gateway_failures)
    }

    /// Leaves it out from this tick on.
    pub(super) fn leave_out(&self, outlier: &Outlier, now: u32) {
        let quiet = self.until.get().map_or(0, |until| now.wrapping_sub(until));
        let forgotten = quiet / ticks(Some(outlier.interval)).max(1);
        let times = self.times.get().saturating_sub(forgotten).saturating_add(1);
        self.times.set(times);
        self.failures.set(0);
        self.gateway_failures.set(0);
        let long = outlier.base.saturating_mul(times).min(outlier.longest);
        self.until.set(Some(now.wrapping_add(ticks(Some(long)))));
    }

    /// Whether it is left out at a tick.
    pub(super) fn is_out(&self, now: u32) -> bool {
        // Ticks begin again some day: who is ahead is less than half of them ahead.
        self.until.get().is_some_and(|until| until.wrapping_sub(now).wrapping_sub(1) < u32::MAX / 2)
    }
}

/// Whether one more may be left out of so many.
pub(super) fn may_leave_out(outlier: &Outlier, out: usize, all: usize) -> bool {
    (out + 1) * 100 <= outlier.most_percent as usize * all || (outlier.always_one && out == 0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const OUTLIER: Outlier = Outlier {
        failures: Some(3),
        gateway_failures: None,
        base: Duration::from_secs(1),
        longest: Duration::from_secs(2),
        interval: Duration::from_secs(10),
        most_percent: 50,
        always_one: false,
    };

    #[test]
    fn failures_in_a_row_count() {
        let record = Record::default();
        let noted: Vec<bool> =
            [Some(500), None, Some(404), Some(503), None, Some(501)].map(|status| record.note(&OUTLIER, status)).into();
        assert_eq!(noted, [false, false, false, false, false, true]);
        let gateway = Outlier { failures: None, gateway_failures: Some(2), ..OUTLIER };
        let record = Record::default();
        let noted = [Some(500), Some(502), Some(500), None, Some(504)].map(|status| record.note(&gateway, status));
        assert_eq!(noted, [false, false, false, false, true]);
    }

    #[test]
    fn who_fails_again_is_left_out_for_longer() {
        let record = Record::default();
        assert!(!record.is_out(0));
        for (now, long) in [(u32::MAX - 1, 4), (10, 8), (20, 8), (60, 8), (400, 4)] {
            record.leave_out(&OUTLIER, now);
            let out = (0..20).take_while(|after| record.is_out(now.wrapping_add(*after))).count();
            assert_eq!(out, long, "{now}");
        }
    }

    #[test]
    fn some_are_always_left() {
        for (out, all, want) in [(0, 1, false), (0, 2, true), (1, 2, false), (1, 4, true), (2, 4, false)] {
            assert_eq!(may_leave_out(&OUTLIER, out, all), want, "{out} of {all}");
        }
        assert!(may_leave_out(&Outlier { always_one: true, ..OUTLIER }, 0, 1));
    }
}
