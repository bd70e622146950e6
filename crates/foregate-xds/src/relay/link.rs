//! What a relay knows of one instance's link between platform and engine: a pure state machine.
//!
//! Inputs: the stream to the platform opens ([`Link::opened`]) and is lost ([`Link::lost`]), parts of changes come
//! ([`Link::part`]) and are applied to the local cache ([`Link::stored`]), the local cache says what the engine does
//! ([`Link::engine`]). Output: what is to be told to the platform ([`Link::take`]).
//!
//! Two counts of changes meet here: the platform's and the local cache's. Each change that is stored pairs them; when
//! the engine has applied the local one, it has applied the platform's.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use foregate_envoy::{Delta, ResourceId};

use super::wire::{Part, Report};
use crate::event::Event;

/// Pairs that are remembered; beyond that progress is reported in larger steps.
const MAX_PAIRS: usize = 1024;
/// The largest change that is put together, in bytes of bodies.
const MAX_CHANGE: usize = 1 << 30;

/// The platform has said something that can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// One change never ends.
    #[error("a change of more than {MAX_CHANGE} bytes")]
    TooLarge,
    /// The count of changes goes backwards.
    #[error("change {later} came after change {earlier}")]
    Backwards {
        /// What came first.
        earlier: u64,
        /// What came then.
        later: u64,
    },
}

/// One instance's link.
#[derive(Debug, Default)]
pub struct Link {
    /// The stream to the platform is open.
    open: bool,
    /// All that the platform has came over this stream and is stored.
    synced: bool,
    /// There is an engine.
    engine: bool,
    /// What the engine has applied, in the local count.
    applied: u64,
    /// What was reported of that, in the platform's count, for this engine over this stream.
    reported: Option<u64>,
    /// Local and platform's counts of the same moment, growing. The first is the last that the engine has applied.
    pairs: VecDeque<(u64, u64)>,
    /// The platform's last complete change over this stream.
    sequence: u64,
    /// What the engine refuses at present.
    refused: BTreeMap<ResourceId, (Arc<str>, String)>,
    /// Parts of a change that isn't complete.
    partial: Delta,
    partial_bytes: usize,
    out: Vec<Report>,
}

impl Link {
    /// Neither platform nor engine is there.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new stream to the platform is open.
    pub fn opened(&mut self) {
        self.lost();
        self.open = true;
        if self.engine {
            self.out.push(Report::Engine(true));
        }
    }

    /// The stream is gone. What was to be reported over it isn't any more, what was incomplete is forgotten.
    pub fn lost(&mut self) {
        self.open = false;
        self.synced = false;
        self.reported = None;
        self.pairs.clear();
        self.sequence = 0;
        self.partial = Delta::default();
        self.partial_bytes = 0;
        self.out.clear();
    }

    /// A part has come. Returns the change with its sequence once it is complete: apply it, then call [`Link::stored`].
    ///
    /// # Errors
    /// When it makes no sense: the stream is to be given up.
    pub fn part(&mut self, part: Part) -> Result<Option<(Delta, u64)>, LinkError> {
        self.partial_bytes += part.set.iter().map(|resource| resource.body.len()).sum::<usize>();
        if self.partial_bytes > MAX_CHANGE {
            return Err(LinkError::TooLarge);
        }
        self.partial.set.extend(part.set);
        self.partial.remove.extend(part.remove);
        let Some(later) = part.sequence else { return Ok(None) };
        if later < self.sequence {
            return Err(LinkError::Backwards { earlier: self.sequence, later });
        }
        self.sequence = later;
        self.partial_bytes = 0;
        Ok(Some((std::mem::take(&mut self.partial), later)))
    }

    /// A change is in the local cache: its ids with their versions (none: removed), and both counts.
    pub fn stored<'a>(
        &mut self,
        changed: impl IntoIterator<Item = (&'a ResourceId, Option<&'a Arc<str>>)>,
        local: u64,
        platform: u64,
    ) {
        for (id, version) in changed {
            if self.refused.get(id).is_some_and(|(refused, _)| Some(refused) != version) {
                self.refused.remove(id);
            }
        }
        if self.pairs.len() >= MAX_PAIRS {
            self.pairs.pop_back();
        }
        self.pairs.push_back((local, platform));
        if self.open && !std::mem::replace(&mut self.synced, true) {
            // A platform that has just started doesn't know.
            let refused = self.refused.iter().map(|(id, (version, message))| Report::Refused {
                id: id.clone(),
                version: version.clone(),
                message: message.clone(),
            });
            self.out.extend(refused);
        }
        self.report_applied();
    }

    /// The local cache says something of this instance's engine.
    pub fn engine(&mut self, event: Event) {
        match event {
            Event::Connected(_) => self.engine_is(true),
            Event::Disconnected(_) => self.engine_is(false),
            Event::Progress { applied, .. } => {
                self.applied = applied;
                self.report_applied();
            }
            Event::Nacked { id, version, message, .. } => {
                self.refused.insert(id.clone(), (version.clone(), message.clone()));
                self.tell(Report::Refused { id, version, message });
            }
            Event::Recovered { id, version, .. } => {
                self.refused.remove(&id);
                self.tell(Report::Recovered { id, version });
            }
        }
    }

    /// Takes what is to be told to the platform, in this order.
    pub fn take(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.out)
    }

    fn engine_is(&mut self, there: bool) {
        self.engine = there;
        self.applied = 0;
        self.reported = None;
        // The next engine will say itself what it refuses.
        self.refused.clear();
        if self.open {
            self.out.push(Report::Engine(there));
        }
    }

    fn tell(&mut self, report: Report) {
        // Before everything has come, the platform may mean something else by that id.
        if self.synced {
            self.out.push(report);
        }
    }

    fn report_applied(&mut self) {
        if !self.engine {
            return;
        }
        while self.pairs.get(1).is_some_and(|(local, _)| *local <= self.applied) {
            self.pairs.pop_front();
        }
        let Some((_, platform)) = self.pairs.front().filter(|(local, _)| *local <= self.applied) else { return };
        if self.open && self.reported.is_none_or(|reported| reported < *platform) {
            self.reported = Some(*platform);
            self.out.push(Report::Applied(*platform));
        }
    }
}
