//! Ranges of addresses, and which one is next.
//!
//! Pure. The lowest free address is given out, found from a cursor below which everything is in use: a pool of 2^64
//! addresses costs as little as one of 256.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A range that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Neither a CIDR nor two addresses.
    #[error("`{0}` is neither a CIDR (192.0.2.0/24) nor a range (192.0.2.10-192.0.2.20)")]
    Syntax(String),
    /// Two families.
    #[error("`{0}` begins and ends in different address families")]
    Families(String),
    /// Backwards.
    #[error("`{0}` ends before it begins; write the lower address first")]
    Backwards(String),
}

/// Addresses from first to last, both given out. IPv4 sorts before IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    first: Slot,
    last: Slot,
}

/// An address as a number of its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    v6: bool,
    number: u128,
}

impl Slot {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self { v6: false, number: u32::from(address).into() },
            IpAddr::V6(address) => Self { v6: true, number: address.into() },
        }
    }

    fn address(self) -> IpAddr {
        if self.v6 {
            IpAddr::V6(Ipv6Addr::from(self.number))
        } else {
            // An IPv4 slot was made from 32 bits.
            IpAddr::V4(Ipv4Addr::from(u32::try_from(self.number).unwrap_or(u32::MAX)))
        }
    }

    fn after(self) -> Option<Self> {
        Some(Self { number: self.number.checked_add(1)?, ..self })
    }
}

impl Range {
    fn parse(text: &str) -> Result<Self, RangeError> {
        let syntax = || RangeError::Syntax(text.to_owned());
        if let Some((first, last)) = text.split_once('-') {
            let first = Slot::of(first.trim().parse().map_err(|_| syntax())?);
            let last = Slot::of(last.trim().parse().map_err(|_| syntax())?);
            if first.v6 != last.v6 {
                return Err(RangeError::Families(text.to_owned()));
            }
            if last < first {
                return Err(RangeError::Backwards(text.to_owned()));
            }
            return Ok(Self { first, last });
        }
        if text.contains('/') {
            return text.trim().parse().map(Self::of_network).map_err(|_| syntax());
        }
        let only = Slot::of(text.trim().parse().map_err(|_| syntax())?);
        Ok(Self { first: only, last: only })
    }

    /// Without the network's own address (for IPv6: the subnet routers') and IPv4's broadcast.
    fn of_network(network: IpNet) -> Self {
        let mut range = Self { first: Slot::of(network.network()), last: Slot::of(network.broadcast()) };
        if network.max_prefix_len() - network.prefix_len() >= 2 {
            range.first.number += 1;
            range.last.number -= u128::from(!range.last.v6);
        }
        range
    }
}

/// The addresses of a pool.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    /// Sorted, disjoint.
    ranges: Vec<Range>,
    used: BTreeSet<Slot>,
    /// Everything of the ranges before it is in use.
    cursor: Option<Slot>,
}

impl Pool {
    /// A pool of these ranges, with nothing in use, and what couldn't be read of them.
    pub fn new(ranges: &[String]) -> (Self, Vec<RangeError>) {
        let (good, bad): (Vec<_>, Vec<_>) = ranges.iter().map(|text| Range::parse(text)).partition(Result::is_ok);
        let mut good: Vec<Range> = good.into_iter().flatten().collect();
        good.sort();
        let mut ranges: Vec<Range> = Vec::with_capacity(good.len());
        for range in good {
            match ranges.last_mut() {
                Some(before) if range.first <= before.last => before.last = before.last.max(range.last),
                _ => ranges.push(range),
            }
        }
        let cursor = ranges.first().map(|range| range.first);
        (Self { ranges, used: BTreeSet::new(), cursor }, bad.into_iter().filter_map(Result::err).collect())
    }

    /// How many addresses there are in all, capped at 2^63 - 1.
    pub fn size(&self) -> u64 {
        const MAX: u128 = i64::MAX as u128;
        let count = |range: &Range| (range.last.number - range.first.number).saturating_add(1);
        self.ranges.iter().map(count).fold(0, u128::saturating_add).min(MAX) as u64
    }

    /// Whether an address is of this pool.
    pub fn contains(&self, address: IpAddr) -> bool {
        let slot = Slot::of(address);
        self.ranges.iter().any(|range| range.first <= slot && slot <= range.last)
    }

    /// Whether an address is in use.
    pub fn is_used(&self, address: IpAddr) -> bool {
        self.used.contains(&Slot::of(address))
    }

    /// Puts an address in use; addresses of other pools are ignored.
    pub fn take(&mut self, address: IpAddr) {
        if self.contains(address) {
            self.used.insert(Slot::of(address));
        }
    }

    /// Frees an address.
    pub fn release(&mut self, address: IpAddr) {
        let slot = Slot::of(address);
        if self.used.remove(&slot) {
            self.cursor = Some(self.cursor.map_or(slot, |cursor| cursor.min(slot)));
        }
    }

    /// The lowest free address, which stays free until [`Pool::take`]. None: the pool is exhausted.
    pub fn next_free(&mut self) -> Option<IpAddr> {
        let free = self.find_free();
        self.cursor = free;
        free.map(Slot::address)
    }

    fn find_free(&self) -> Option<Slot> {
        let cursor = self.cursor?;
        self.ranges.iter().filter(|range| range.last >= cursor).find_map(|range| {
            let mut slot = range.first.max(cursor);
            for used in self.used.range(slot..=range.last) {
                if *used != slot {
                    break;
                }
                slot = slot.after()?;
            }
            (slot <= range.last).then_some(slot)
        })
    }
}

/// Name of the Address object of an address. Equal addresses have equal names, however they were written.
pub(crate) fn object_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let short = address.to_string().replace([':', '.'], "-");
            if short.starts_with('-') || short.ends_with('-') {
                // A name begins and ends with a letter or digit: no `::` at the ends.
                address.segments().map(|segment| format!("{segment:x}")).join("-")
            } else {
                short
            }
        }
    }
}

#[cfg(test)]
mod tests;
