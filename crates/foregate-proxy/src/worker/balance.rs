//! Whose turn it is: round robin by weight, or by chance.

/// Turns among hosts, by weight.
#[derive(Default)]
pub(super) struct Turns {
    /// Empty when all weights are equal.
    weights: Vec<(i64, i64)>,
    count: usize,
    next: usize,
}

impl Turns {
    /// Turns for hosts with these weights. The first turn is anybody's, so that workers don't all begin with the same.
    pub(super) fn new(weights: impl Iterator<Item = u32>) -> Self {
        let weights: Vec<u32> = weights.collect();
        let count = weights.len();
        let equal = weights.iter().all(|weight| *weight == weights[0]);
        let weights = if equal { Vec::new() } else { weights.iter().map(|w| (i64::from(*w), 0)).collect() };
        Self { weights, count, next: if count == 0 { 0 } else { rand::random_range(0..count) } }
    }

    /// The next in turn. By weight: everybody gains its weight, the richest goes and pays everybody's.
    pub(super) fn next(&mut self) -> Option<usize> {
        if self.count == 0 {
            return None;
        }
        if self.weights.is_empty() {
            self.next = if self.next + 1 >= self.count { 0 } else { self.next + 1 };
            return Some(self.next);
        }
        let total: i64 = self.weights.iter().map(|(weight, _)| weight).sum();
        let mut best = 0;
        for index in 0..self.count {
            let (weight, credit) = &mut self.weights[index];
            *credit += *weight;
            if self.weights[index].1 > self.weights[best].1 {
                best = index;
            }
        }
        self.weights[best].1 -= total;
        Some(best)
    }

    /// Anybody, by weight.
    pub(super) fn random(&self) -> Option<usize> {
        if self.count == 0 {
            return None;
        }
        if self.weights.is_empty() {
            return Some(rand::random_range(0..self.count));
        }
        let total: i64 = self.weights.iter().map(|(weight, _)| weight).sum();
        let mut left = rand::random_range(0..total);
        self.weights.iter().position(|(weight, _)| {
            left -= weight;
            left < 0
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn shares(weights: &[u32], turns: usize) -> Vec<usize> {
        let mut counts = vec![0; weights.len()];
        let mut all = Turns::new(weights.iter().copied());
        for _ in 0..turns {
            counts[all.next().unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn turns_are_shared_by_weight() {
        assert_eq!(shares(&[1, 1, 1], 9), [3, 3, 3]);
        assert_eq!(shares(&[1, 2, 5], 80), [10, 20, 50]);
        assert_eq!(Turns::new(std::iter::empty()).next(), None);
        assert_eq!(Turns::new(std::iter::empty()).random(), None);
        let turns = Turns::new([1, 9].into_iter());
        assert!((0..1000).filter(|_| turns.random() == Some(1)).count() > 700);
    }
}
