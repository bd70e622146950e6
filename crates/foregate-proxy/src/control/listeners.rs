//! Listeners: bound when they are accepted, opened when everything that they name is there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foregate_xds::client::{ClientResource, Response};
use tokio::time::Instant;

use super::store::{Refusals, Store};
use crate::bind::{BindError, BoundSocket, Claim, Place};
use crate::config::listener::{self, CompiledListener, Context};
use crate::config::refusal::decode;
use crate::config::route_config;
use crate::slots::Slot;
use crate::worker::Command;

/// How long a listener waits for what it names before it is opened anyway.
const WARM_UP: Duration = Duration::from_secs(5);

/// Listeners by name.
#[derive(Default)]
pub(super) struct Listeners {
    entries: HashMap<String, Entry>,
    next_key: u64,
    warming: usize,
}

struct Entry {
    slot: Arc<Slot>,
    /// The version that was accepted last.
    newest: CompiledListener,
    /// Until when `newest` waits for what it names; `None`: it serves.
    warm_until: Option<Instant>,
    /// Where it listens, by the address that was asked for.
    sockets: Sockets,
    /// What the version that serves names; it is let go when the newest takes over.
    retiring: Option<CompiledListener>,
}

/// Sockets by the address that was asked for.
type Sockets = HashMap<Place, Bound>;

struct Bound {
    key: u64,
    claim: Claim,
    /// Sockets that no worker has yet.
    unopened: Vec<BoundSocket>,
    /// Workers have them, for the listener that had the address before.
    moving: bool,
}

impl Store {
    pub(super) fn apply_listeners(&mut self, response: &Response, refusals: &mut Refusals) {
        // An address may go from one listener to another in one step: its sockets go along, and nobody who connects in
        // that moment is turned away.
        let mut spare = Sockets::new();
        for name in &response.removed {
            spare.extend(self.remove_listener(name).into_values().map(|bound| (bound.claim.place, bound)));
        }
        for resource in &response.set {
            match self.compile_listener(resource) {
                Ok(compiled) => {
                    if let Err(error) = self.set_listener(&resource.name, compiled, &mut spare) {
                        refusals.say(&error);
                    }
                }
                Err(refusal) => refusals.add(&resource.name, &refusal),
            }
        }
        for bound in spare.into_values() {
            self.close(bound);
        }
    }

    fn compile_listener(
        &mut self,
        resource: &ClientResource,
    ) -> Result<CompiledListener, crate::config::refusal::Refusal> {
        let mut context = Context {
            numbers: &mut self.numbers,
            routes: &mut self.route_slots,
            secrets: &mut self.secrets.cells,
            tls: &self.secrets.tls,
            roots: &self.secrets.roots,
        };
        let compiled = listener::compile(decode(&resource.body)?, &mut context)?;
        for (_, config) in &compiled.inline {
            route_config::domains(&config.hosts)?;
        }
        Ok(compiled)
    }

    fn set_listener(
        &mut self,
        name: &str,
        compiled: CompiledListener,
        spare: &mut Sockets,
    ) -> Result<(), Box<BindError>> {
        let old = self.listeners.entries.get_mut(name).map(|entry| std::mem::take(&mut entry.sockets));
        let sockets = match self.bind(old.unwrap_or_default(), spare, &compiled) {
            Ok(sockets) => sockets,
            Err((old, error)) => {
                if let Some(entry) = self.listeners.entries.get_mut(name) {
                    entry.sockets = old;
                }
                return Err(error);
            }
        };
        self.want(&compiled, true);
        for (slot, config) in &compiled.inline {
            // Checked when it was compiled: no two virtual hosts have the same domain.
            let domains = route_config::domains(&config.hosts).unwrap_or_default();
            self.set_table(slot, config, domains);
        }
        let slot = self.listener_slots.slot(name);
        let mut entry =
            Entry { slot, newest: compiled, warm_until: Some(Instant::now() + WARM_UP), sockets, retiring: None };
        self.listeners.warming += 1;
        if let Some(old) = self.listeners.entries.remove(name) {
            // A version that never served is let go at once; the one that serves, when the new one takes over.
            let (serving, skipped) = match old.warm_until {
                None => (Some(old.newest), None),
                Some(_) => (old.retiring, Some(old.newest)),
            };
            if let Some(skipped) = skipped {
                self.listeners.warming -= 1;
                self.want(&skipped, false);
            }
            entry.retiring = serving;
        }
        self.listeners.entries.insert(name.to_owned(), entry);
        Ok(())
    }

    /// Sockets for a listener's addresses: those that it has stay, others are bound; what is left over is closed.
    fn bind(
        &mut self,
        mut old: Sockets,
        spare: &mut Sockets,
        compiled: &CompiledListener,
    ) -> Result<Sockets, (Sockets, Box<BindError>)> {
        let listener = &compiled.listener;
        let mut sockets = Sockets::new();
        let mut fresh = Vec::new();
        for place in listener.places() {
            if let Some(bound) = old.remove(&place) {
                sockets.insert(place, bound);
                continue;
            }
            if let Some(mut bound) = spare.remove(&place) {
                bound.claim.hand_over(&listener.name);
                bound.moving = bound.unopened.is_empty();
                sockets.insert(place, bound);
                continue;
            }
            let workers = self.shared.workers.count();
            let addresses = &self.shared.addresses;
            match addresses.bind(&self.instance.name, &listener.name, place, listener.backlog, workers) {
                Ok((claim, unopened)) => {
                    self.listeners.next_key += 1;
                    fresh.push(place);
                    sockets.insert(place, Bound { key: self.listeners.next_key, claim, unopened, moving: false });
                }
                Err(error) => {
                    old.extend(sockets.into_iter().filter(|(place, _)| !fresh.contains(place)));
                    return Err((old, Box::new(error)));
                }
            }
        }
        for bound in old.into_values() {
            self.close(bound);
        }
        Ok(sockets)
    }

    fn close(&self, bound: Bound) {
        if bound.unopened.is_empty() {
            let (instance, key, drain) = (self.instance.key, bound.key, self.shared.drain);
            self.shared.workers.all(|| Command::Close { instance, key, drain });
        }
        drop(bound.claim);
    }

    fn want(&mut self, compiled: &CompiledListener, wanted: bool) {
        let lists = [(&mut self.wanted.routes, &compiled.rds), (&mut self.wanted.secrets, &compiled.secrets)];
        for (wants, names) in lists {
            for name in names {
                if wanted { wants.add(name) } else { wants.remove(name) }
            }
        }
    }

    /// Returns its sockets: somebody else may want them, otherwise they are to be closed.
    fn remove_listener(&mut self, name: &str) -> Sockets {
        let Some(entry) = self.listeners.entries.remove(name) else { return Sockets::new() };
        if entry.warm_until.is_some() {
            self.listeners.warming -= 1;
        }
        for old in std::iter::once(&entry.newest).chain(&entry.retiring) {
            self.want(old, false);
            self.forget_inline(old, None);
        }
        self.snapshot.listeners = self.snapshot.listeners.with(entry.slot.number, None);
        self.changed = true;
        entry.sockets
    }

    /// Takes the route configurations that an old version held itself out of the snapshot.
    fn forget_inline(&mut self, old: &CompiledListener, newest: Option<&CompiledListener>) {
        for (slot, _) in &old.inline {
            if newest.is_some_and(|newest| newest.inline.iter().any(|(kept, _)| kept.number == slot.number)) {
                continue;
            }
            self.snapshot.routes = self.snapshot.routes.with(slot.number, None);
            self.changed = true;
        }
    }

    /// Lets listeners serve whose route configurations and certificates are there, or that have waited long enough.
    pub(super) fn activate_listeners(&mut self) {
        if self.listeners.warming == 0 {
            return;
        }
        let now = Instant::now();
        let mut ready = Vec::new();
        for (name, entry) in &self.listeners.entries {
            let Some(until) = entry.warm_until else { continue };
            if until <= now || self.complete_at(entry).is_some_and(|at| at.is_none_or(|at| at <= now)) {
                ready.push(name.clone());
            }
        }
        for name in ready {
            self.activate(&name);
        }
    }

    /// From when on everything is there that a listener names (`Some(None)`: at once); `None`: something is missing.
    fn complete_at(&self, entry: &Entry) -> Option<Option<Instant>> {
        if !entry.newest.listener.is_ready() {
            return None;
        }
        let mut latest = None;
        for name in &entry.newest.rds {
            latest = latest.max(Some(self.routes.ready_at(name)?));
        }
        Some(latest)
    }

    fn activate(&mut self, name: &str) {
        let Some(entry) = self.listeners.entries.get_mut(name) else { return };
        entry.warm_until = None;
        self.listeners.warming -= 1;
        for name in &entry.newest.rds {
            self.routes.serving(name);
        }
        let listener = Arc::clone(&entry.newest.listener);
        self.snapshot.listeners = self.snapshot.listeners.with(entry.slot.number, Some(listener));
        self.changed = true;
        if let Some(old) = entry.retiring.take() {
            self.want(&old, false);
            let newest = self.listeners.entries.remove(name);
            self.forget_inline(&old, newest.as_ref().map(|entry| &entry.newest));
            if let Some(entry) = newest {
                self.listeners.entries.insert(name.to_owned(), entry);
            }
        }
    }

    /// Gives the workers the sockets of listeners that serve.
    pub(super) fn open_sockets(&mut self) {
        for entry in self.listeners.entries.values_mut() {
            if entry.warm_until.is_some() && entry.retiring.is_none() {
                continue;
            }
            for bound in entry.sockets.values_mut() {
                if std::mem::take(&mut bound.moving) {
                    let (instance, key, drain) = (self.instance.key, bound.key, self.shared.drain);
                    let slot = &entry.slot;
                    self.shared.workers.all(|| Command::Move { instance, key, slot: Arc::clone(slot), drain });
                }
                for (index, socket) in bound.unopened.drain(..).enumerate() {
                    self.shared.workers.one(
                        index,
                        Command::Listen {
                            instance: self.instance.key,
                            key: bound.key,
                            slot: Arc::clone(&entry.slot),
                            socket,
                        },
                    );
                }
            }
        }
    }

    /// When a listener has waited long enough.
    pub(super) fn next_warm(&self) -> Option<Instant> {
        if self.listeners.warming == 0 {
            return None;
        }
        let warming = self.listeners.entries.values().filter_map(|entry| Some((entry, entry.warm_until?)));
        warming.map(|(entry, until)| self.complete_at(entry).flatten().unwrap_or(until).min(until)).min()
    }

    /// Opens listeners that have waited long enough.
    pub(super) fn warmed(&mut self) {
        self.activate_listeners();
        self.publish();
    }
}
