//! What goes wrong at an API, said once: many watches and writes meet the same, again and again.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::runtime::watcher;

/// After so long without it, what went wrong is news again. Retries come more often.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// Speaks of the failures of one API. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Voice {
    said: Arc<Mutex<HashMap<String, Instant>>>,
    /// Somebody else says when the API doesn't answer, or doesn't know who asks.
    is_checked: bool,
}

impl Voice {
    /// Of an API of which [`crate::health`] says whether it is there.
    pub fn of_checked() -> Self {
        Self { is_checked: true, ..Self::default() }
    }

    /// Says that a watch or a write (`what`) failed and is tried again: as a warning where the reason is new.
    pub fn failed(&self, what: &str, failure: &Failure) {
        if self.is_news(failure, Instant::now()) {
            tracing::warn!("{what} failed, and is tried again: {}", failure.why);
        } else {
            tracing::debug!("{what} failed, and is tried again: {}", failure.why);
        }
    }

    fn is_news(&self, failure: &Failure, now: Instant) -> bool {
        if self.is_checked && failure.is_of_all {
            return false;
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, last| now.saturating_duration_since(*last) < FORGOTTEN);
        said.insert(failure.why.clone(), now).is_none()
    }
}

/// Why something failed, in short.
#[derive(Debug)]
pub struct Failure {
    why: String,
    /// Whatever else is asked of the API fails, too.
    is_of_all: bool,
}

impl Failure {
    /// No answer in time.
    pub fn late() -> Self {
        Self { why: "the API doesn't answer in time".to_owned(), is_of_all: true }
    }

    /// What went wrong isn't the API's doing.
    pub fn own(error: &(dyn Error + 'static)) -> Self {
        Self { why: chain(error), is_of_all: false }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<&kube::Error> for Failure {
    fn from(error: &kube::Error) -> Self {
        match error {
            // Its own text is a debug print of all fields.
            kube::Error::Api(status) => {
                let why = format!("the API answers {}: {}", status.code, status.message);
                Self { why, is_of_all: status.code == 401 }
            }
            error => Self { why: chain(error), is_of_all: true },
        }
    }
}

impl From<&watcher::Error> for Failure {
    fn from(error: &watcher::Error) -> Self {
        use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
        match error {
            InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => Self::from(error),
            WatchError(status) => {
                let why = format!("the API ends the watch with {}: {}", status.code, status.message);
                Self { why, is_of_all: status.code == 401 }
            }
            NoResourceVersion => Self { why: error.to_string(), is_of_all: false },
        }
    }
}

/// An error with its causes, each said once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |&cause| cause.source()) {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, message: &str) -> kube::Error {
        let status = kube::core::Status { code, message: message.to_owned(), ..kube::core::Status::default() };
        kube::Error::Api(Box::new(status))
    }

    #[test]
    fn a_reason_is_news_once_until_it_was_away_for_long() {
        let (voice, start) = (Voice::default(), Instant::now());
        let news = |voice: &Voice, error: &kube::Error, after: u64| {
            voice.is_news(&Failure::from(error), start + Duration::from_secs(after))
        };
        let (unknown, forbidden) = (refused(401, "who?"), refused(403, "no"));
        assert!(news(&voice, &unknown, 0), "it is new");
        assert!(!news(&voice.clone(), &unknown, 5), "to all watches");
        assert!(news(&voice, &forbidden, 6), "another reason is new");
        for after in [100, 200, 300] {
            assert!(!news(&voice, &unknown, after), "it is tried all the time: {after}");
        }
        assert!(news(&voice, &forbidden, 300), "it was away");
    }

    #[test]
    fn what_checks_tell_isnt_told_twice() {
        let voice = Voice::of_checked();
        assert!(!voice.is_news(&Failure::from(&refused(401, "who?")), Instant::now()));
        assert!(!voice.is_news(&Failure::late(), Instant::now()));
        assert!(voice.is_news(&Failure::from(&refused(403, "no")), Instant::now()));
    }

    #[test]
    fn reasons_are_short() {
        let failure = Failure::from(&watcher::Error::InitialListFailed(refused(401, "who?")));
        assert_eq!(failure.why, "the API answers 401: who?");
    }
}
