//! The search for the culprits of a refusal among several suspects.
//!
//! Pure. All suspects are held back first, so that what was good serves on. Then halves are let go on trial: what the
//! engine takes is innocent, what it refuses is held again and halved. `k` culprits among `n` cost about `k · log n`
//! trials of one round trip each.

/// A search among suspects.
#[derive(Debug)]
pub(crate) struct Search<T> {
    suspects: Vec<T>,
    /// Groups that are to be tried; the next is the last.
    untried: Vec<Vec<T>>,
    trial: Vec<T>,
    /// The sequence that published the trial.
    sequence: Option<u64>,
    guilty: Vec<T>,
}

/// What is to be done next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Move<T> {
    /// Held back again.
    pub hold: Vec<T>,
    /// Let go on trial.
    pub release: Vec<T>,
    /// There is nobody left to try.
    pub over: bool,
}

impl<T: Clone> Search<T> {
    /// Begins with all suspects held back, and tries the first half.
    pub(crate) fn begin(suspects: Vec<T>) -> (Self, Move<T>) {
        let mut search =
            Self { untried: halves(&suspects), suspects, trial: Vec::new(), sequence: None, guilty: Vec::new() };
        let first = search.next(Vec::new());
        (search, first)
    }

    /// All that were suspected at the beginning.
    pub(crate) fn suspects(&self) -> &[T] {
        &self.suspects
    }

    /// Those that were found out.
    pub(crate) fn guilty(&self) -> &[T] {
        &self.guilty
    }

    /// What is published up to a sequence includes the trial.
    pub(crate) fn published(&mut self, sequence: u64) {
        self.sequence.get_or_insert(sequence);
    }

    /// Engines have applied up to a sequence, and haven't refused the trial.
    pub(crate) fn applied(&mut self, applied: u64) -> Option<Move<T>> {
        let taken = self.sequence.is_some_and(|sequence| sequence <= applied);
        taken.then(|| self.next(Vec::new()))
    }

    /// The engine has refused the trial.
    pub(crate) fn refused(&mut self) -> Move<T> {
        let trial = std::mem::take(&mut self.trial);
        if trial.len() == 1 {
            self.guilty.extend(trial.iter().cloned());
        } else {
            self.untried.extend(halves(&trial));
        }
        self.next(trial)
    }

    fn next(&mut self, hold: Vec<T>) -> Move<T> {
        self.sequence = None;
        self.trial = self.untried.pop().unwrap_or_default();
        Move { hold, release: self.trial.clone(), over: self.trial.is_empty() }
    }
}

/// The first half comes last, to be tried first.
fn halves<T: Clone>(all: &[T]) -> Vec<Vec<T>> {
    let (first, second) = all.split_at(all.len().div_ceil(2));
    [second, first].into_iter().filter(|half| !half.is_empty()).map(<[T]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against an engine that refuses whatever holds a culprit: exactly the culprits stay held back.
        #[test]
        fn finds_exactly_the_culprits(count in 2usize..60, culprits in prop::collection::btree_set(0usize..60, 1..5)) {
            let culprits: BTreeSet<usize> = culprits.into_iter().filter(|it| *it < count).collect();
            let mut held: BTreeSet<usize> = (0..count).collect();
            let (mut search, mut next) = Search::begin((0..count).collect());
            let mut trials = 0;
            while !next.over {
                held.extend(next.hold.iter().copied());
                next.release.iter().for_each(|it| { held.remove(it); });
                trials += 1;
                search.published(trials);
                prop_assert_eq!(search.applied(trials - 1), None, "it isn't applied yet");
                let bad = (0..count).any(|it| !held.contains(&it) && culprits.contains(&it));
                next = if bad { search.refused() } else { search.applied(trials).unwrap() };
            }
            held.extend(next.hold.iter().copied());
            prop_assert_eq!(&held, &culprits);
            prop_assert_eq!(search.guilty().iter().copied().collect::<BTreeSet<_>>(), culprits.clone());
            let depth = u64::from(count.next_power_of_two().ilog2()) + 1;
            prop_assert!(trials <= 2 * depth * (culprits.len() as u64).max(1), "{trials} trials");
        }
    }
}
