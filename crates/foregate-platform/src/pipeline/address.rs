//! Addresses for gateways.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use foregate_api::GatewayClaim;
use foregate_api::address::{Address, AddressPool, AddressPoolStatus, AddressSpec, ProxyRef};
use kube::ResourceExt as _;

use crate::bind::{MANAGED_BY, MANAGER};
use crate::outbox::{Kind, Target, Write};
use crate::pipeline::{Pipeline, handed};
use crate::pool::{Pool, object_name};
use crate::status::Unmet;
use crate::store::{Key, Store};

/// All pools.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    pools: BTreeMap<String, Pool>,
    /// What couldn't be read of a pool's ranges.
    errors: HashMap<String, String>,
    /// Address objects per pool.
    used: HashMap<String, u64>,
    /// Pools whose status is to be looked at.
    touched: BTreeSet<String>,
}

impl Pools {
    /// Reads everything anew.
    pub(crate) fn rebuild(&mut self, pools: &Store<AddressPool>, addresses: &Store<Address>) {
        self.used.clear();
        for (_, address) in addresses.iter() {
            *self.used.entry(address.spec.pool.clone()).or_default() += 1;
        }
        let names: BTreeSet<String> = pools.iter().map(|(key, _)| key.name.clone()).collect();
        self.pools.retain(|name, _| names.contains(name));
        for (_, pool) in pools.iter() {
            self.set(pool, addresses);
        }
    }

    /// A pool is new or changed.
    pub(crate) fn set(&mut self, pool: &AddressPool, addresses: &Store<Address>) {
        let (mut ranges, errors) = Pool::new(&pool.spec.ranges);
        self.errors.remove(&pool.name_any());
        if !errors.is_empty() {
            let errors = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            tracing::warn!(pool = pool.name_any(), errors, "address ranges are ignored");
            self.errors.insert(pool.name_any(), errors);
        }
        let parsed = addresses.iter().filter_map(|(_, address)| address.spec.address.parse().ok());
        parsed.for_each(|address| ranges.take(address));
        self.touch(&pool.name_any());
        self.pools.insert(pool.name_any(), ranges);
    }

    pub(crate) fn remove(&mut self, pool: &str) {
        self.pools.remove(pool);
        self.touched.remove(pool);
    }

    /// An Address object has come.
    pub(crate) fn came(&mut self, address: &AddressSpec) {
        *self.used.entry(address.pool.clone()).or_default() += 1;
        self.touch(&address.pool);
        if let Ok(ip) = address.address.parse() {
            self.take(ip);
        }
    }

    /// An Address object has gone.
    pub(crate) fn went(&mut self, address: &AddressSpec) {
        if let Some(used) = self.used.get_mut(&address.pool) {
            *used = used.saturating_sub(1);
        }
        self.touch(&address.pool);
        if let Ok(ip) = address.address.parse() {
            self.pools.values_mut().for_each(|pool| pool.release(ip));
        }
    }

    /// Puts an address in use, in whichever pools have it.
    pub(crate) fn take(&mut self, address: IpAddr) {
        self.pools.values_mut().for_each(|pool| pool.take(address));
    }

    /// Frees an address that was never created.
    pub(crate) fn free(&mut self, address: IpAddr) {
        self.pools.values_mut().for_each(|pool| pool.release(address));
    }

    /// Its status is to be looked at.
    pub(crate) fn touch(&mut self, pool: &str) {
        self.touched.insert(pool.to_owned());
    }

    pub(crate) fn take_touched(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.touched)
    }

    /// What a pool has.
    pub(crate) fn status(&self, name: &str) -> Option<AddressPoolStatus> {
        let pool = self.pools.get(name)?;
        Some(AddressPoolStatus { used: self.used.get(name).copied().unwrap_or_default(), size: pool.size() })
    }

    fn any(&mut self, name: &str) -> Result<IpAddr, Unmet> {
        let no = |message| Unmet { reason: "AddressNotAssigned", message };
        let Some(pool) = self.pools.get_mut(name) else {
            return Err(no(format!(
                "there is no AddressPool {name}; create it, or name another in the gateway's template"
            )));
        };
        let ignored = self.errors.get(name).map(|errors| format!("; ignored: {errors}")).unwrap_or_default();
        pool.next_free().ok_or_else(|| match pool.size() {
            0 => no(format!("AddressPool {name} has no address that can be given out: correct its ranges{ignored}")),
            size => no(format!(
                "AddressPool {name} is exhausted (all {size} addresses are in use): add a range to it or free one{ignored}"
            )),
        })
    }

    fn requested(&self, name: &str, text: &str) -> Result<IpAddr, Unmet> {
        let no = |message| Unmet { reason: "AddressNotUsable", message };
        let address: IpAddr = text.parse().map_err(|_| no(format!("{text} is not an IP address")))?;
        let Some(pool) = self.pools.get(name) else {
            return Err(no(format!("there is no AddressPool {name} that {text} could come from")));
        };
        if !pool.contains(address) {
            return Err(no(format!("{text} is not in AddressPool {name}; ask for one that is, or for none")));
        }
        if pool.is_used(address) {
            return Err(no(format!("{text} is in use; ask for another, or for none")));
        }
        Ok(address)
    }
}

/// An address that is asked for, and the name of its object if it is an address at all.
type Wish<'a> = (&'a String, Option<String>);

/// What a gateway asks for: the addresses that its first claim names, or that its proxy names.
pub(crate) fn requests<'a>(eldest: Option<&'a GatewayClaim>, of_proxy: &'a [String]) -> &'a [String] {
    eldest.map(|claim| claim.spec.addresses.as_slice()).filter(|list| !list.is_empty()).unwrap_or(of_proxy)
}

impl Pipeline {
    /// Sees to it that a gateway has the addresses that it asks for, or any one.
    pub(super) fn assign(&mut self, proxy: &ProxyRef, pool: &str, requests: &[String], now: std::time::Instant) {
        let Some(gateway) = self.gateways.get_mut(proxy) else { return };
        let mut have: BTreeMap<String, String> = BTreeMap::new();
        for name in &gateway.addresses {
            if let Some(address) = self.stores.addresses.get(&Key::cluster(name)) {
                have.insert(name.clone(), address.spec.address.clone());
            }
        }
        let wanted: Vec<Wish<'_>> = requests.iter().map(|text| (text, text.parse().ok().map(object_name))).collect();
        gateway.owned = in_order(&wanted, &have);
        self.choose(proxy, pool, &wanted, &have);
        let assigning: Option<Vec<_>> =
            self.gateways.get(proxy).map(|gateway| gateway.assigning.values().copied().collect());
        for address in assigning.unwrap_or_default() {
            self.want_address(proxy, pool, address, now);
        }
        let surplus = surplus(&wanted, &have);
        for name in have.keys() {
            if surplus.contains(name) {
                self.release(name, now);
            } else {
                // A release that was wanted isn't any more.
                let key = Key::cluster(name);
                let given = self.gateways.get(proxy).and_then(|gateway| gateway.infrastructure.as_ref());
                let address = self.stores.addresses.get(&key);
                let write = address.and_then(|address| handed::change(&**address, given));
                self.outbox.want(Target { kind: Kind::Address, key }, write, now);
            }
        }
    }

    /// Decides on the addresses that a gateway lacks, or says why it can't have them.
    fn choose(&mut self, proxy: &ProxyRef, pool: &str, wanted: &[Wish<'_>], have: &BTreeMap<String, String>) {
        let Some(gateway) = self.gateways.get_mut(proxy) else { return };
        let mut chosen = Vec::new();
        let is_coming = |name: &String| have.contains_key(name) || gateway.assigning.contains_key(name);
        for (text, _) in wanted.iter().filter(|(_, name)| !name.as_ref().is_some_and(is_coming)) {
            chosen.push(self.pools.requested(pool, text));
        }
        if wanted.is_empty() && have.is_empty() && gateway.assigning.is_empty() {
            chosen.push(self.pools.any(pool));
        }
        let failure = gateway.assigning.keys().find_map(|name| {
            let error = self.failures.get(&Target { kind: Kind::Address, key: Key::cluster(name) })?;
            let message = format!("Address {name} can't be created: {error}");
            Some(Unmet { reason: "AddressNotAssigned", message })
        });
        gateway.unmet = failure;
        for chosen in chosen {
            match chosen {
                Ok(address) => {
                    self.pools.take(address);
                    gateway.assigning.insert(object_name(address), address);
                }
                Err(unmet) => gateway.unmet = gateway.unmet.take().or(Some(unmet)),
            }
        }
        if gateway.unmet.is_some() {
            self.unmet.insert(proxy.clone());
        } else {
            self.unmet.remove(proxy);
        }
    }

    fn want_address(&mut self, proxy: &ProxyRef, pool: &str, address: IpAddr, now: std::time::Instant) {
        let name = object_name(address);
        let spec = AddressSpec { address: address.to_string(), pool: pool.to_owned(), proxy: Some(proxy.clone()) };
        let mut object = Address::new(&name, spec);
        object.labels_mut().insert(MANAGED_BY.into(), MANAGER.into());
        let gateway = self.gateways.get(proxy);
        handed::put(&mut object.metadata, gateway.and_then(|gateway| gateway.infrastructure.as_ref()));
        let target = Target { kind: Kind::Address, key: Key::cluster(name) };
        self.outbox.want(target, Some(Write::CreateAddress(Box::new(object))), now);
    }

    /// Deletes an Address object.
    pub(super) fn release(&mut self, name: &str, now: std::time::Instant) {
        let key = Key::cluster(name);
        let write = self.stores.addresses.get(&key).and_then(|address| address.uid()).map(|uid| Write::Delete { uid });
        self.outbox.want(Target { kind: Kind::Address, key }, write, now);
    }
}

/// Addresses as they are shown: as they were asked for, then by name.
fn in_order(wanted: &[Wish<'_>], have: &BTreeMap<String, String>) -> Vec<String> {
    let asked: Vec<&String> =
        wanted.iter().filter_map(|(_, name)| name.as_ref().filter(|name| have.contains_key(*name))).collect();
    let others = have.keys().filter(|name| !asked.contains(name));
    asked.iter().copied().chain(others).filter_map(|name| have.get(name).cloned()).collect()
}

/// Addresses that aren't asked for any more: once everything that is asked for is there.
fn surplus(wanted: &[Wish<'_>], have: &BTreeMap<String, String>) -> Vec<String> {
    let asked: BTreeSet<&String> = wanted.iter().filter_map(|(_, name)| name.as_ref()).collect();
    if wanted.is_empty() || asked.len() < wanted.len() || !asked.iter().all(|name| have.contains_key(*name)) {
        return Vec::new();
    }
    have.keys().filter(|name| !asked.contains(name)).cloned().collect()
}
