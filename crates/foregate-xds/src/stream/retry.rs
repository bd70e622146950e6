//! Trying refused listeners again.
//!
//! Whether a listener can be had depends on more than its text: its port may be in use, its address not there yet.
//! So a refused listener is sent again, alone, after a pause that doubles each time. A refusal in the same words is
//! counted and told nobody; when it is taken at last, [`Output::Recovered`] says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use foregate_envoy::{ResourceId, ResourceKind};

use super::{Output, Stream};

/// The first pause, and the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// A refused listener.
#[derive(Debug)]
pub(super) struct Retry {
    version: Arc<str>,
    message: String,
    pause: Duration,
    /// When it is sent again; none while that is under way, or before time was told.
    at: Option<Instant>,
}

impl Stream {
    /// A refusal has come. Returns whether it says anything new.
    pub(super) fn note_refusal(&mut self, id: &ResourceId, version: &Arc<str>, message: &str) -> bool {
        if id.kind != ResourceKind::Listener {
            return true;
        }
        match self.retries.get_mut(&id.name).filter(|retry| retry.version == *version) {
            Some(retry) => {
                retry.at = None;
                retry.pause = (retry.pause * 2).min(LONGEST);
                let new = retry.message != message;
                message.clone_into(&mut retry.message);
                new
            }
            None => {
                let retry = Retry { version: version.clone(), message: message.to_owned(), pause: FIRST, at: None };
                self.retries.insert(id.name.clone(), retry);
                true
            }
        }
    }

    /// Whether a refused version is to be sent once more now; if not, when.
    pub(super) fn is_retry_due(&mut self, id: &ResourceId, version: &Arc<str>, now: Instant) -> bool {
        if id.kind != ResourceKind::Listener {
            return false;
        }
        let Some(retry) = self.retries.get_mut(&id.name).filter(|retry| retry.version == *version) else {
            return false;
        };
        match retry.at {
            Some(at) => now >= at,
            None => {
                let at = now + retry.pause;
                retry.at = Some(at);
                self.deadlines.insert((at, id.clone()));
                false
            }
        }
    }

    /// A listener was taken, or is no longer wanted. What was said against this version is over.
    pub(super) fn end_retry(&mut self, id: &ResourceId, taken: Option<&Arc<str>>) {
        if id.kind != ResourceKind::Listener {
            return;
        }
        let Some(retry) = self.retries.remove(&id.name) else { return };
        if taken == Some(&retry.version) {
            self.out.push(Output::Recovered { id: id.clone(), version: retry.version });
        }
    }
}
