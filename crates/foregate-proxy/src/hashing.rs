//! Consistent hashing: the same key finds the same endpoint, also while others come and go.
//!
//! Both tables are made as Envoy makes them (xxHash64 of `address_index` on the ring; Maglev's permutations), so that
//! engines of both kinds side by side send a key to the same endpoint.

use xxhash_rust::xxh64::xxh64;

use crate::snapshot::Endpoint;

/// How keys find endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hashing {
    /// Each endpoint has points on a ring; a key belongs to the next point.
    Ring {
        /// Points at least.
        smallest: u64,
        /// Points at most.
        largest: u64,
    },
    /// A table in which each endpoint has its share of places.
    Maglev {
        /// Places; a prime.
        places: u64,
    },
}

/// Which endpoint a key belongs to.
#[derive(Debug)]
pub(crate) enum HashTable {
    /// Points and whose they are, in order.
    Ring(Vec<(u64, u32)>),
    /// Whose each place is.
    Maglev(Vec<u32>),
}

/// A table for some endpoints; `by_name` hashes their names instead of their addresses. `None` if there are none.
pub(crate) fn table(hashing: Hashing, endpoints: &[Endpoint], by_name: bool) -> Option<HashTable> {
    if endpoints.is_empty() {
        return None;
    }
    let total: f64 = endpoints.iter().map(|endpoint| f64::from(endpoint.weight)).sum();
    let entries: Vec<(String, f64)> = endpoints
        .iter()
        .map(|endpoint| {
            let key = if by_name && !endpoint.name.is_empty() {
                endpoint.name.to_string()
            } else {
                endpoint.address.to_string()
            };
            (key, f64::from(endpoint.weight) / total)
        })
        .collect();
    Some(match hashing {
        Hashing::Ring { smallest, largest } => HashTable::Ring(ring(&entries, smallest as f64, largest as f64)),
        Hashing::Maglev { places } => HashTable::Maglev(maglev(&entries, places)),
    })
}

/// Every endpoint has whole points, the one with the least weight at least one.
fn ring(entries: &[(String, f64)], smallest: f64, largest: f64) -> Vec<(u64, u32)> {
    let least = entries.iter().map(|(_, weight)| *weight).fold(1.0, f64::min);
    let scale = ((least * smallest).ceil() / least).min(largest);
    let mut points = Vec::with_capacity(scale.ceil() as usize);
    let (mut made, mut due) = (0.0, 0.0);
    let mut text = String::new();
    for (index, (key, weight)) in entries.iter().enumerate() {
        due += scale * weight;
        let mut number = 0;
        while made < due {
            text.clear();
            text.push_str(key);
            text.push('_');
            text.push_str(itoa::Buffer::new().format(number));
            points.push((xxh64(text.as_bytes(), 0), index as u32));
            number += 1;
            made += 1.0;
        }
    }
    points.sort_unstable();
    points
}

/// In turns, each endpoint takes the next free place of its own permutation; those of less weight skip turns.
fn maglev(entries: &[(String, f64)], places: u64) -> Vec<u32> {
    const FREE: u32 = u32::MAX;
    struct Permutation {
        offset: u64,
        skip: u64,
        next: u64,
        target: f64,
    }
    let most = entries.iter().map(|(_, weight)| *weight).fold(0.0, f64::max);
    let mut permutations: Vec<Permutation> = entries
        .iter()
        .map(|(key, _)| Permutation {
            offset: xxh64(key.as_bytes(), 0) % places,
            skip: xxh64(key.as_bytes(), 1) % (places - 1) + 1,
            next: 0,
            target: 0.0,
        })
        .collect();
    let mut table = vec![FREE; places as usize];
    let mut left = places;
    let mut turn = 0.0;
    while left > 0 {
        turn += 1.0;
        for (index, (own, (_, weight))) in permutations.iter_mut().zip(entries).enumerate() {
            if left == 0 {
                break;
            }
            if turn * weight < own.target {
                continue;
            }
            own.target += most;
            loop {
                let place = ((own.offset + own.skip * own.next) % places) as usize;
                own.next += 1;
                if table[place] == FREE {
                    table[place] = index as u32;
                    break;
                }
            }
            left -= 1;
        }
    }
    table
}

impl HashTable {
    /// The index of the endpoint that a key belongs to; with `not`, of the next other one, if there is one.
    pub(crate) fn choose(&self, hash: u64, not: Option<usize>) -> usize {
        let owners = |at: usize| match self {
            Self::Ring(points) => points[at % points.len()].1 as usize,
            Self::Maglev(places) => places[at % places.len()] as usize,
        };
        let (at, len) = match self {
            Self::Ring(points) => (points.partition_point(|(point, _)| *point < hash), points.len()),
            Self::Maglev(places) => ((hash % places.len() as u64) as usize, places.len()),
        };
        (at..at + len).map(owners).find(|owner| Some(*owner) != not).unwrap_or_else(|| owners(at))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::Address;

    fn endpoints(weights: &[(u16, u32)]) -> Vec<Endpoint> {
        weights
            .iter()
            .map(|(port, weight)| Endpoint {
                address: Address::Socket(([10, 0, 0, 1], *port).into()),
                name: "".into(),
                weight: *weight,
            })
            .collect()
    }

    fn kinds() -> [Hashing; 2] {
        [Hashing::Ring { smallest: 1024, largest: 8 << 20 }, Hashing::Maglev { places: 2039 }]
    }

    const KEYS: u64 = 2000;

    /// Whose each of many keys is, by port.
    fn owners(hashing: Hashing, endpoints: &[Endpoint]) -> Vec<String> {
        let table = table(hashing, endpoints, false).unwrap();
        (0..KEYS).map(|key| endpoints[table.choose(xxh64(&key.to_le_bytes(), 0), None)].address.to_string()).collect()
    }

    #[test]
    fn nobody_owns_nothing() {
        for hashing in kinds() {
            assert!(table(hashing, &[], false).is_none());
        }
    }

    #[test]
    fn names_count_instead_of_addresses_when_asked_for() {
        let mut before = endpoints(&[(1, 1), (2, 1)]);
        before[0].name = "a".into();
        before[1].name = "b".into();
        let mut after = endpoints(&[(3, 1), (4, 1)]);
        after[0].name = "a".into();
        after[1].name = "b".into();
        for hashing in kinds() {
            let choose = |endpoints: &[Endpoint]| -> Vec<usize> {
                let table = table(hashing, endpoints, true).unwrap();
                (0..100).map(|key: u64| table.choose(xxh64(&key.to_le_bytes(), 0), None)).collect()
            };
            assert_eq!(choose(&before), choose(&after));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Shares follow the weights.
        #[test]
        fn shares_follow_weights(weights in prop::collection::vec(1_u32..8, 1..8)) {
            let list: Vec<(u16, u32)> = weights.iter().enumerate().map(|(i, w)| (i as u16 + 1, *w)).collect();
            let endpoints = endpoints(&list);
            let total: u32 = weights.iter().sum();
            for hashing in kinds() {
                let mut counts: HashMap<String, u64> = HashMap::new();
                owners(hashing, &endpoints).into_iter().for_each(|owner| *counts.entry(owner).or_default() += 1);
                for endpoint in &endpoints {
                    let share = counts.get(&endpoint.address.to_string()).copied().unwrap_or(0) as f64 / KEYS as f64;
                    let due = f64::from(endpoint.weight) / f64::from(total);
                    prop_assert!((share - due).abs() < 0.12, "{hashing:?}: {share} of {due}");
                }
            }
        }

        /// When an endpoint goes, few keys but its own move.
        #[test]
        fn few_keys_move(count in 2_u16..10, gone in any::<prop::sample::Index>()) {
            let list: Vec<(u16, u32)> = (1..=count).map(|port| (port, 1)).collect();
            let before = endpoints(&list);
            let gone = gone.index(before.len());
            let mut after = before.clone();
            let gone = after.remove(gone).address.to_string();
            for hashing in kinds() {
                let pairs = owners(hashing, &before).into_iter().zip(owners(hashing, &after));
                let moved = pairs.filter(|(old, new)| old != new && *old != gone).count();
                // Not none: the others' points grow in number when one goes.
                let bound = KEYS as usize / 4;
                prop_assert!(moved <= bound, "{hashing:?}: {moved} of {KEYS} moved");
            }
        }

        /// The order in which endpoints come doesn't matter to the ring, and another one is found when one is avoided.
        #[test]
        fn another_one_is_found(count in 1_u16..6, hash in any::<u64>()) {
            let list: Vec<(u16, u32)> = (1..=count).map(|port| (port, 1)).collect();
            let endpoints = endpoints(&list);
            for hashing in kinds() {
                let table = table(hashing, &endpoints, false).unwrap();
                let first = table.choose(hash, None);
                prop_assert!(first < endpoints.len());
                prop_assert_eq!(table.choose(hash, None), first);
                let other = table.choose(hash, Some(first));
                prop_assert_eq!(other == first, count == 1);
            }
        }
    }
}
