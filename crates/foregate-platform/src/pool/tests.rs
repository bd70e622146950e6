#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn pool(ranges: &[&str]) -> Pool {
    let (pool, errors) = Pool::new(&ranges.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
    assert_eq!(errors, []);
    pool
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn ranges() {
    for (texts, size, first) in [
        (&["192.0.2.0/24"][..], 254, "192.0.2.1"),
        (&["192.0.2.0/31"], 2, "192.0.2.0"),
        (&["192.0.2.7/32"], 1, "192.0.2.7"),
        (&["192.0.2.7"], 1, "192.0.2.7"),
        (&["192.0.2.10-192.0.2.20"], 11, "192.0.2.10"),
        (&["192.0.2.10 - 192.0.2.20", "192.0.2.15-192.0.2.30"], 21, "192.0.2.10"),
        (&["2001:db8::/120", "192.0.2.0/30"], 255 + 2, "192.0.2.1"),
        (&["2001:db8::/64"], i64::MAX as u64, "2001:db8::1"),
        (&["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], i64::MAX as u64, "::"),
        (&["0.0.0.0-255.255.255.255"], 1 << 32, "0.0.0.0"),
    ] {
        let mut pool = pool(texts);
        assert_eq!(pool.size(), size, "{texts:?}");
        assert_eq!(pool.next_free(), Some(ip(first)), "{texts:?}");
    }
}

#[test]
fn bad_ranges() {
    let bad = ["192.0.2.0/33", "192.0.2.9-192.0.2.1", "192.0.2.1-2001:db8::1", "pool", ""].map(str::to_owned);
    let (pool, errors) = Pool::new(&bad);
    assert_eq!(pool.size(), 0);
    assert_eq!(errors[0], RangeError::Syntax(bad[0].clone()));
    assert_eq!(errors[1], RangeError::Backwards(bad[1].clone()));
    assert_eq!(errors[2], RangeError::Families(bad[2].clone()));
    assert_eq!(errors.len(), 5);
}

#[test]
fn the_end_of_the_address_space() {
    let mut pool = pool(&["255.255.255.254-255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]);
    for expected in ["255.255.255.254", "255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
        let next = pool.next_free().unwrap();
        assert_eq!(next, ip(expected));
        pool.take(next);
    }
    assert_eq!(pool.next_free(), None);
    pool.release(ip("255.255.255.254"));
    assert_eq!(pool.next_free(), Some(ip("255.255.255.254")));
}

#[test]
fn names() {
    for (address, name) in [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8::1", "2001-db8--1"),
        ("2001:db8::", "2001-db8-0-0-0-0-0-0"),
        ("::1", "0-0-0-0-0-0-0-1"),
        ("::ffff:192.0.2.1", "0-0-0-0-0-ffff-c000-201"),
    ] {
        assert_eq!(object_name(ip(address)), name);
    }
}

#[derive(Clone, Debug)]
enum Step {
    TakeNext,
    TakeAt(u8),
    Release(u8),
}

proptest! {
    /// Against a plain model: the lowest address that isn't taken, whatever was taken and released before.
    #[test]
    fn gives_the_lowest_free_address(
        steps in prop::collection::vec(
            prop_oneof![Just(Step::TakeNext), any::<u8>().prop_map(Step::TakeAt), any::<u8>().prop_map(Step::Release)],
            0..200,
        )
    ) {
        let mut pool = pool(&["10.0.0.8-10.0.0.40", "10.0.0.100-10.0.0.110"]);
        let all: BTreeSet<u8> = (8..=40).chain(100..=110).collect();
        let mut taken = BTreeSet::new();
        let at = |last: u8| IpAddr::from([10, 0, 0, last]);
        for step in steps {
            let free = all.difference(&taken).next().copied();
            prop_assert_eq!(pool.next_free(), free.map(at));
            match step {
                Step::TakeNext => if let Some(last) = free {
                    pool.take(at(last));
                    taken.insert(last);
                },
                Step::TakeAt(last) => {
                    pool.take(at(last));
                    if all.contains(&last) {
                        taken.insert(last);
                    }
                }
                Step::Release(last) => {
                    pool.release(at(last));
                    taken.remove(&last);
                }
            }
            prop_assert!(taken.iter().all(|&last| pool.is_used(at(last))));
        }
    }

    /// Names are object names, and different for different addresses.
    #[test]
    fn names_are_valid_and_distinct(a in any::<u128>(), b in any::<u128>()) {
        let name = |number: u128| object_name(IpAddr::V6(number.into()));
        let valid = |name: &str| name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.ends_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase() || c == '-');
        prop_assert!(valid(&name(a)));
        prop_assert_eq!(a == b, name(a) == name(b));
    }
}
