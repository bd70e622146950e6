//! One engine takes another's place, and no request fails: the new one listens before the old one lets go.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use foregate_api::instance::EngineState;

use super::actor::{Actor, Current, Stop};
use crate::envoy::listening::{self, Bound};
use crate::envoy::process::Event;
use crate::envoy::steer::{self, Role};
use crate::envoy::{Launch, Process, pid};

/// Between two looks at whether the new engine listens everywhere.
const LOOK: Duration = Duration::from_millis(25);
/// The same once it takes long.
const LONG_LOOK: Duration = Duration::from_secs(1);
/// What takes longer is said in the status.
const LONG: Duration = Duration::from_secs(5);
/// After new connections go elsewhere, until the old engine closes its sockets: time for handshakes under way.
const SETTLE: Duration = Duration::from_secs(1);
/// After the drain time, for a parent that ends by itself.
const PARENT_GRACE: Duration = Duration::from_secs(6);

/// Where new connections are kept with the old engine.
#[derive(Default)]
struct Kept(Option<(pid::Handle, BTreeSet<Bound>)>);

impl Kept {
    fn release(self) {
        if let Some((handle, addresses)) = self.0 {
            steer::release_at(&handle, &addresses);
        }
    }
}

/// How a new engine fares while the old one still serves.
enum Outcome {
    /// It serves.
    Ready,
    /// It failed: how.
    Failed(String),
    /// The old one failed: how.
    OldFailed(String),
    /// Something else is wanted now, or the instance ends.
    Overtaken,
}

impl Actor {
    /// The built-in engine takes over.
    pub(super) async fn run_builtin(&mut self) {
        let beside = matches!(self.current, Current::Envoy(_));
        if let Some(ending) = self.builtin_ending.take() {
            let _ = ending.await;
        }
        let started = Instant::now();
        let before = self.cache.newest_engine(&self.identity);
        let kept = self.keep();
        if let Err(error) = self.shared.builtin.add(self.builtin(beside)).await {
            kept.release();
            self.failed("builtin", started, &format!("doesn't start: {error}"));
            return;
        }
        if !beside {
            self.current = Current::Builtin;
            tracing::info!(instance = %self.name, "started");
            self.say(EngineState::Running, "");
            return;
        }
        self.say(EngineState::Starting, "builtin takes over");
        match self.until_builtin_listens(before).await {
            Outcome::Ready => {
                let Current::Envoy(old) = std::mem::replace(&mut self.current, Current::Builtin) else { return };
                steer::steer(&old.handle, Role::Old);
                tracing::info!(instance = %self.name, from = %old.record.engine, "builtin has taken over");
                self.shared.metrics.remove(&self.name);
                self.retire(*old, None);
                self.say(EngineState::Running, "");
            }
            Outcome::OldFailed(how) => {
                self.lost(&how).await;
                self.shared.builtin.alone(&self.name);
                self.current = Current::Builtin;
                self.begin_anew();
                self.say(EngineState::Running, "");
            }
            Outcome::Overtaken | Outcome::Failed(_) => {
                let heir = match &self.current {
                    Current::Envoy(old) => Some((old.handle.pid, old.handle.started)),
                    _ => None,
                };
                self.end_builtin(Duration::ZERO, heir);
            }
        }
    }

    /// An Envoy takes over.
    pub(super) async fn run_envoy(&mut self, launch: Launch) {
        let started = Instant::now();
        let hot = self.hot_parent(&launch);
        let before = self.cache.newest_engine(&self.identity);
        let kept = if hot.is_none() { self.keep() } else { Kept::default() };
        let start = async {
            self.make_dir()?;
            Process::start(&launch, hot.as_ref()).await
        };
        let new = match start.await {
            Ok(new) => new,
            Err(error) => {
                kept.release();
                return self.failed(&launch.engine, started, &format!("doesn't start: {error}"));
            }
        };
        self.inventory.change(|records| records.push(new.record.clone()));
        tracing::info!(instance = %self.name, engine = %launch.engine, pid = new.handle.pid, epoch = new.record.epoch, "started");
        if matches!(self.current, Current::Nothing) {
            self.current = Current::Envoy(Box::new(new));
            self.say(EngineState::Starting, "");
            return;
        }
        let again = self.current.name().as_ref() == Some(&launch.engine);
        let what = if again { "a new process of " } else { "" };
        self.say(EngineState::Starting, &format!("{what}{} takes over", launch.engine));
        let mut new = new;
        match self.until_envoy_serves(&mut new, hot.is_some(), before).await {
            Outcome::Ready => self.take_over(new, hot.is_some()),
            Outcome::OldFailed(how) => {
                self.lost(&how).await;
                release((new.handle.pid, new.handle.started));
                self.begin_anew();
                self.current = Current::Envoy(Box::new(new));
                if matches!(&self.current, Current::Envoy(new) if new.ready) {
                    self.announce();
                    self.say(EngineState::Running, "");
                }
            }
            outcome => {
                new.kill().await;
                self.inventory.ended(&new.record);
                kept.release();
                if let (Current::Envoy(old), true) = (&mut self.current, hot.is_some()) {
                    old.has_lost_a_child().await;
                }
                if let Outcome::Failed(how) = outcome {
                    self.failed(&launch.engine, started, &how);
                }
            }
        }
    }

    /// Keeps new connections with the engine that serves, until the new one has shown that it can do what that does.
    fn keep(&self) -> Kept {
        let (pid, started, addresses) = match &self.current {
            Current::Nothing => return Kept::default(),
            Current::Builtin => {
                let addresses = self.shared.builtin.listening(&self.name).into_iter().collect();
                (std::process::id(), None, addresses)
            }
            Current::Envoy(old) => (old.handle.pid, Some(old.handle.started), listening_of(old)),
        };
        let Ok(handle) = pid::Handle::open(pid, started) else { return Kept::default() };
        steer::keep(&handle, &addresses);
        Kept(Some((handle, addresses)))
    }

    /// Whether a new engine could take over: it takes what the old one has, and lacks no address. Says what is in the
    /// way. `before`: the newest engine before it.
    fn could_take_over(&mut self, new: &str, before: u64, begun: Instant, lacking: &[Bound]) -> bool {
        let refused = self.cache.refused_since(&self.identity, before);
        if let Some((id, message)) = refused.iter().flatten().next() {
            let message = format!(
                "{new} can't take over: it refuses {id:?}, which serves now: {message}; change that, or choose another \
                 engine"
            );
            self.say(EngineState::Starting, &message);
            return false;
        }
        if refused.is_some() && lacking.is_empty() {
            return true;
        }
        self.say_slow(begun, new, lacking);
        false
    }

    /// The process whose sockets a new one can take over. Another version may refuse what this one has, and a hot restart
    /// can't be taken back once that is known. Of a UDP socket that both have, the parent takes datagrams until its end,
    /// and their answers end with it: such a process is exchanged like any other.
    fn hot_parent(&self, launch: &Launch) -> Option<crate::envoy::Record> {
        let Current::Envoy(old) = &self.current else { return None };
        let same = launch.hot_restart.is_some()
            && old.record.hot_restart == launch.hot_restart
            && old.record.engine == launch.engine;
        let can = same && !old.spent && self.retiring.is_empty();
        (can && !listening_of(old).iter().any(|bound| bound.datagrams)).then(|| old.record.clone())
    }

    fn take_over(&mut self, new: Process, hot: bool) {
        tracing::info!(instance = %self.name, engine = %new.record.engine, hot, "it has taken over");
        let new_id = (new.handle.pid, new.handle.started);
        if !hot {
            steer::steer(&new.handle, Role::New);
        }
        match std::mem::replace(&mut self.current, Current::Envoy(Box::new(new))) {
            // Its child tells it to drain, and to end.
            Current::Envoy(old) if hot => self.await_end(*old),
            Current::Envoy(old) => self.retire(*old, Some(new_id)),
            Current::Builtin => self.end_builtin(SETTLE, Some(new_id)),
            Current::Nothing => {}
        }
        self.begin_anew();
        self.announce();
        self.say(EngineState::Running, "");
    }

    /// Waits until the built-in engine listens wherever the Envoy does.
    async fn until_builtin_listens(&mut self, before: u64) -> Outcome {
        let begun = Instant::now();
        loop {
            let Current::Envoy(old) = &self.current else { return Outcome::Ready };
            let lacking = lacking(&listening_of(old), &self.shared.builtin.listening(&self.name));
            if self.could_take_over("builtin", before, begun, &lacking) {
                return Outcome::Ready;
            }
            tokio::select! {
                biased;
                () = overtaken("builtin", &mut self.stop, &mut self.wanted) => return Outcome::Overtaken,
                event = self.current.event() => if let Some(how) = end_of(event) {
                    return Outcome::OldFailed(how);
                },
                () = tokio::time::sleep(pace(begun)) => {}
            }
        }
    }

    /// Waits until a new Envoy serves, wherever the old engine does.
    async fn until_envoy_serves(&mut self, new: &mut Process, hot: bool, before: u64) -> Outcome {
        let begun = Instant::now();
        loop {
            if new.ready {
                // With a hot restart both have the same sockets.
                let old = match &self.current {
                    Current::Builtin => self.shared.builtin.listening(&self.name).into_iter().collect(),
                    Current::Envoy(old) if !hot => listening_of(old),
                    _ => BTreeSet::new(),
                };
                let lacking = lacking(&old, &listening_of(new).into_iter().collect::<Vec<_>>());
                if hot || self.could_take_over(&new.record.engine, before, begun, &lacking) {
                    return Outcome::Ready;
                }
            }
            let target = new.record.engine.clone();
            let look = if new.ready { pace(begun) } else { Duration::MAX };
            tokio::select! {
                biased;
                () = overtaken(&target, &mut self.stop, &mut self.wanted) => return Outcome::Overtaken,
                event = new.event() => if let Some(how) = end_of(event) {
                    return Outcome::Failed(how);
                },
                // A parent that has been told to close its admin interface isn't hung.
                event = self.current.event() => match event {
                    Event::Hung(_) if hot => if let Current::Envoy(old) = &mut self.current { old.unwatched = true },
                    event => if let Some(how) = end_of(event) {
                        return Outcome::OldFailed(how);
                    },
                },
                () = tokio::time::sleep(look) => {}
            }
        }
    }

    /// An exchange that takes long says why.
    fn say_slow(&mut self, begun: Instant, new: &str, lacking: &[Bound]) {
        if begun.elapsed() >= LONG {
            let addresses: Vec<String> = lacking.iter().map(ToString::to_string).collect();
            let message = match addresses.as_slice() {
                [] => format!("{new} takes over as soon as it has answered all of its configuration"),
                _ => format!(
                    "{new} takes over as soon as it listens on {}; the Gateway's conditions say what it refuses",
                    addresses.join(", ")
                ),
            };
            self.say(EngineState::Starting, &message);
        }
    }

    /// Drains an Envoy that gets no new connections any more, and lets the kernel deal them out again to whoever took its
    /// place: `heir`, if that is an Envoy.
    fn retire(&mut self, old: Process, heir: Option<(u32, u64)>) {
        self.mark_retiring(&old);
        let (inventory, record) = (self.inventory.clone(), old.record.clone());
        let (drain, builtin, name) = (self.shared.options.drain, self.shared.builtin.clone(), self.name.clone());
        self.retiring.spawn(async move {
            old.retire(SETTLE, drain, None).await;
            inventory.ended(&record);
            match heir {
                Some(heir) => release(heir),
                None => builtin.alone(&name),
            }
        });
    }

    fn mark_retiring(&self, old: &Process) {
        self.inventory.change(|records| {
            for record in records.iter_mut().filter(|record| record.pid == old.handle.pid) {
                record.retiring = true;
            }
        });
    }

    /// Waits in the background for a process that ends by itself, but not for ever.
    pub(super) fn await_end(&mut self, mut old: Process) {
        self.mark_retiring(&old);
        let (inventory, patience) = (self.inventory.clone(), self.shared.options.drain + PARENT_GRACE);
        self.retiring.spawn(async move {
            if tokio::time::timeout(patience, old.ended()).await.is_err() {
                old.terminate().await;
            }
            old.clean();
            inventory.ended(&old.record);
        });
    }

    /// Ends the built-in engine's instance in the background.
    fn end_builtin(&mut self, settle: Duration, heir: Option<(u32, u64)>) {
        let (builtin, name) = (self.shared.builtin.clone(), self.name.clone());
        self.builtin_ending = Some(tokio::spawn(async move {
            tokio::time::sleep(settle).await;
            if let Err(error) = builtin.remove(&name).await {
                tracing::warn!(instance = %name, %error, "the built-in engine isn't stopped");
            }
            if let Some(heir) = heir {
                release(heir);
            }
        }));
    }
}

/// Lets the kernel deal out connections, after nobody else listens where this Envoy does.
fn release((id, started): (u32, u64)) {
    if let Ok(handle) = pid::Handle::open(id, Some(started)) {
        steer::release(&handle);
    }
}

fn listening_of(process: &Process) -> BTreeSet<Bound> {
    listening::of(process.handle.pid).into_iter().map(|socket| socket.bound).collect()
}

fn lacking(old: &BTreeSet<Bound>, new: &[Bound]) -> Vec<Bound> {
    old.iter().filter(|address| !new.contains(address)).copied().collect()
}

fn pace(begun: Instant) -> Duration {
    if begun.elapsed() < LONG { LOOK } else { LONG_LOOK }
}

/// How a process ended, if it did.
fn end_of(event: Event) -> Option<String> {
    match event {
        Event::Ready => None,
        Event::Ended(how) | Event::Hung(how) => Some(how),
    }
}

/// Waits until something else is wanted than what takes over.
async fn overtaken(
    target: &str,
    stop: &mut tokio::sync::watch::Receiver<Stop>,
    wanted: &mut tokio::sync::watch::Receiver<foregate_api::EngineName>,
) {
    tokio::select! {
        _ = stop.wait_for(|stop| *stop != Stop::No) => {}
        _ = wanted.wait_for(|wanted| wanted.to_string() != target) => {}
    }
}
