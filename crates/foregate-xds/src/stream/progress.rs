//! Which changes are outstanding, and when that is reported.

use std::collections::BTreeMap;
use std::time::Instant;

use foregate_envoy::ResourceKind;

use super::{Output, Stream};
use crate::store::Store;

/// How many units are outstanding, by the sequence of their change.
#[derive(Debug, Default)]
pub(super) struct Progress {
    outstanding: BTreeMap<u64, u32>,
    reported: Option<u64>,
    open: bool,
}

impl Progress {
    pub(super) fn add(&mut self, sequence: u64) {
        *self.outstanding.entry(sequence).or_default() += 1;
    }

    pub(super) fn remove(&mut self, sequence: u64) {
        if let Some(count) = self.outstanding.get_mut(&sequence) {
            *count -= 1;
            if *count == 0 {
                self.outstanding.remove(&sequence);
            }
        }
    }

    /// Whether anything may be reported yet.
    pub(super) fn open(&self) -> bool {
        self.open
    }
}

impl Stream {
    /// Reports progress when it changed. A new stream that has asked for clusters only has "nothing outstanding" long
    /// before it is of use; so nothing is reported until it asked for clusters and listeners and has all that follows
    /// from them (outstanding since 0), or had time to.
    pub(super) fn report(&mut self, store: &Store, now: Instant) {
        if !self.progress.open {
            let asked = [ResourceKind::Cluster, ResourceKind::Listener].iter().all(|kind| self.channel(*kind).started);
            let complete = asked && !self.progress.outstanding.contains_key(&0);
            if !complete && now < self.opened + self.need_timeout {
                return;
            }
            self.progress.open = true;
        }
        let applied = match self.progress.outstanding.first_key_value() {
            Some((first, _)) => first.saturating_sub(1),
            None => store.sequence(),
        };
        if self.progress.reported.is_none_or(|reported| reported < applied) {
            self.progress.reported = Some(applied);
            self.out.push(Output::Progress(applied));
        }
    }
}
