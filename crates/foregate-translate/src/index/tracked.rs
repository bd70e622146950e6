//! An object with the last form of it that was good.

use std::sync::Arc;

use foregate_envoy::Owner;

/// An object as it is, and as it was in the last generation that nobody refused.
#[derive(Debug)]
pub(crate) struct Tracked<T> {
    pub current: Arc<T>,
    /// UID and generation of `current`.
    pub owner: Owner,
    /// The last good form of an earlier generation.
    pub previous: Option<Arc<T>>,
    /// What an engine said of `current`.
    pub quarantine: Option<String>,
    /// What translation says of `current`.
    pub problem: Option<String>,
}

impl<T> Tracked<T> {
    pub(crate) fn new(current: Arc<T>, owner: Owner) -> Self {
        Self { current, owner, previous: None, quarantine: None, problem: None }
    }

    /// Takes the object's new form. A new generation ends a quarantine; the old form is kept if it was good.
    pub(crate) fn replace(&mut self, current: Arc<T>, owner: Owner) {
        let old = std::mem::replace(&mut self.current, current);
        if self.owner != owner {
            if self.quarantine.is_none() && self.problem.is_none() {
                self.previous = Some(old);
            }
            self.quarantine = None;
            self.owner = owner;
        }
        self.problem = None;
    }

    /// What may serve, best first: the current form unless it is in quarantine, then the last good one.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = &Arc<T>> {
        self.quarantine.is_none().then_some(&self.current).into_iter().chain(&self.previous)
    }

    /// The same; but where nothing else is there, the current form stays in force though an engine refused something
    /// that was made with it: a port that couldn't be bound doesn't stop a gateway's routes.
    pub(crate) fn candidates_or_current(&self) -> impl Iterator<Item = &Arc<T>> {
        let last = (self.quarantine.is_some() && self.previous.is_none()).then_some(&self.current);
        self.candidates().chain(last)
    }

    /// Puts the current form into quarantine. False: it isn't that generation, or it is there already.
    pub(crate) fn refuse(&mut self, generation: i64, message: &str) -> bool {
        let news = self.owner.generation == generation && self.quarantine.is_none();
        if news {
            self.quarantine = Some(message.to_owned());
        }
        news
    }

    /// What the user has to be told.
    pub(crate) fn complaint(&self) -> Option<String> {
        let refused = self.quarantine.as_ref().map(|message| crate::Problem::Refused { message: message.clone() });
        refused.map(|problem| problem.to_string()).or_else(|| self.problem.clone())
    }
}
