//! One instance: which engine runs, and what happens to it.
//!
//! A loop that compares what is wanted with what runs. An exchange of one engine for another is in
//! [`exchange`](super::exchange).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foregate_api::instance::{EngineState, EngineStatus};
use foregate_api::{EngineName, GatewayInstance};
use foregate_xds::{Cache, Endpoint, Instance, UnixSocket};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::source::{identity, short_name};
use super::{Shared, sockets};
use crate::agent::BuiltinInstance;
use crate::engines::{Installed, Watch};
use crate::envoy::backoff::Backoff;
use crate::envoy::inventory::{self, Record};
use crate::envoy::process::{Event, clean_base};
use crate::envoy::{Launch, Process, pid, stray};

/// Whether an instance is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It runs.
    No,
    /// It is no more.
    Removed,
    /// The agent ends.
    Drain,
}

/// What runs.
#[derive(Debug)]
pub(super) enum Current {
    Nothing,
    Builtin,
    Envoy(Box<Process>),
}

impl Current {
    /// Waits for something to happen to it; to the built-in engine nothing does.
    pub(super) async fn event(&mut self) -> Event {
        match self {
            Self::Envoy(process) => process.event().await,
            Self::Nothing | Self::Builtin => std::future::pending().await,
        }
    }

    pub(super) fn name(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Builtin => Some(EngineName::Builtin.to_string()),
            Self::Envoy(process) => Some(process.record.engine.clone()),
        }
    }
}

/// Which processes the instance has, in memory and written down.
#[derive(Debug)]
pub(super) struct Inventory {
    dir: PathBuf,
    records: Mutex<Vec<Record>>,
}

impl Inventory {
    pub(super) fn change(&self, change: impl FnOnce(&mut Vec<Record>)) {
        let mut records = self.records.lock();
        change(&mut records);
        if let Err(error) = inventory::write(&self.dir, &records) {
            tracing::error!(dir = %self.dir.display(), %error, "can't write down which Envoys run");
        }
    }

    /// A process has ended. What its base id has left behind goes with the last one of it.
    pub(super) fn ended(&self, record: &Record) {
        let mut last = true;
        self.change(|records| {
            records.retain(|other| (other.pid, other.started) != (record.pid, record.started));
            last = !records.iter().any(|other| other.base_id == record.base_id);
        });
        if last && record.hot_restart.is_some() {
            clean_base(&self.dir, record.base_id);
        }
    }
}

/// One instance.
pub(super) struct Actor {
    pub(super) shared: Arc<Shared>,
    pub(super) name: String,
    pub(super) identity: Instance,
    pub(super) cache: Cache,
    xds_socket: PathBuf,
    dir: PathBuf,
    pub(super) wanted: watch::Receiver<EngineName>,
    pub(super) stop: watch::Receiver<Stop>,
    engines: Option<Watch>,
    /// Ends the xDS server, and the source of its configuration.
    serving: CancellationToken,
    pub(super) current: Current,
    pub(super) inventory: Arc<Inventory>,
    /// Processes that drain.
    pub(super) retiring: JoinSet<()>,
    /// The built-in engine's instance that drains: there can't be another one before it is done.
    pub(super) builtin_ending: Option<JoinHandle<()>>,
    restarts: u32,
    backoff: Backoff,
    /// Not before then is anything started.
    retry_at: Option<Instant>,
    /// Nothing to do before the engines of this node change.
    missing: bool,
    said: Option<EngineStatus>,
}

impl Actor {
    pub(super) fn new(
        shared: Arc<Shared>,
        instance: &GatewayInstance,
        wanted: watch::Receiver<EngineName>,
        stop: watch::Receiver<Stop>,
    ) -> Self {
        let short = short_name(instance);
        let serving = CancellationToken::new();
        let dir = shared.options.sockets.join(&short);
        Self {
            name: instance.name_any(),
            identity: identity(instance),
            cache: shared.xds.open(instance, serving.clone()),
            xds_socket: shared.options.sockets.join(format!("{short}.sock")),
            engines: shared.engines.clone(),
            inventory: Arc::new(Inventory { dir: dir.clone(), records: Mutex::default() }),
            dir,
            wanted,
            stop,
            serving,
            current: Current::Nothing,
            retiring: JoinSet::new(),
            builtin_ending: None,
            restarts: 0,
            backoff: Backoff::default(),
            retry_at: None,
            missing: false,
            said: None,
            shared,
        }
    }

    /// Runs until the instance is removed or the agent drains, and its engine has ended.
    pub(super) async fn run(mut self) {
        // Bound before the engine hears of it, so that it connects at once.
        self.serve_xds().await;
        self.find();
        while *self.stop.borrow() == Stop::No {
            self.turn().await;
        }
        self.end().await;
    }

    async fn serve_xds(&self) {
        let (cache, identity, stop) = (self.cache.clone(), self.identity.clone(), self.serving.clone());
        match UnixSocket::bind(&self.xds_socket).await {
            Ok(socket) => {
                tokio::spawn(async move {
                    let name = identity.group.clone();
                    if let Err(error) = foregate_xds::serve(cache, socket, identity, stop).await {
                        tracing::error!(gateway = %name, %error, "it gets no configuration until the next start");
                    }
                });
            }
            Err(error) => {
                tracing::error!(instance = %self.name, %error, "it gets no configuration until the next start");
            }
        }
    }

    /// Finds the processes that an agent before this one has left.
    fn find(&mut self) {
        let all = inventory::read(&self.dir);
        self.inventory.change(|records| records.clone_from(&all));
        let (found, dead): (Vec<Record>, Vec<Record>) =
            all.into_iter().partition(|record| pid::start_time(record.pid) == Some(record.started));
        dead.iter().for_each(|record| self.inventory.ended(record));
        stray::end_all_but(&found, &self.dir);
        let youngest = found.iter().rposition(|record| !record.retiring);
        for (index, record) in found.into_iter().enumerate() {
            let Ok(process) = Process::adopt(record) else { continue };
            if Some(index) == youngest {
                tracing::info!(instance = %self.name, engine = %process.record.engine, pid = process.handle.pid, "it still runs");
                self.current = Current::Envoy(Box::new(process));
            } else {
                self.await_end(process);
            }
        }
    }

    /// One turn: does what is to be done now, then waits for the next thing.
    async fn turn(&mut self) {
        while self.retiring.try_join_next().is_some() {}
        let wanted = self.wanted.borrow_and_update().clone();
        let due = self.retry_at.is_none_or(|at| at <= Instant::now());
        if !self.is_settled(&wanted) && due && !self.missing {
            self.retry_at = None;
            self.change(&wanted).await;
            return;
        }
        let settled = self.is_settled(&wanted);
        if settled {
            // Whatever was to take its place before is over.
            self.say(if self.serves() { EngineState::Running } else { EngineState::Starting }, "");
        }
        let retry = self.retry_at.filter(|_| !settled);
        tokio::select! {
            biased;
            _ = self.stop.changed() => {}
            changed = self.wanted.changed() => match changed {
                Ok(()) => self.begin_anew(),
                // The follower has gone, and says so over `stop`.
                Err(_) => _ = self.stop.changed().await,
            },
            event = self.current.event() => self.happened(event).await,
            () = sleep_until(retry) => {}
            () = engines_changed(&mut self.engines), if self.missing || retry.is_some() => self.begin_anew(),
        }
    }

    /// What was in the way may be gone.
    pub(super) fn begin_anew(&mut self) {
        self.backoff.reset();
        (self.retry_at, self.missing) = (None, false);
    }

    fn is_settled(&self, wanted: &EngineName) -> bool {
        match (&self.current, wanted) {
            (Current::Builtin, EngineName::Builtin) => true,
            (Current::Envoy(process), EngineName::Envoy(_)) => {
                process.record.engine == wanted.to_string() && !process.is_adopted()
            }
            _ => false,
        }
    }

    fn serves(&self) -> bool {
        match &self.current {
            Current::Nothing => false,
            Current::Builtin => true,
            Current::Envoy(process) => process.ready,
        }
    }

    /// Brings about what is wanted.
    async fn change(&mut self, wanted: &EngineName) {
        match wanted {
            EngineName::Builtin => self.run_builtin().await,
            EngineName::Envoy(version) => match self.shared.options.engines.get(version) {
                Ok(Some(engine)) => self.run_envoy(self.launch(&engine)).await,
                Ok(None) => self.lacks(&format!("this node has no {wanted}; `foregate engine add` adds it")),
                Err(error) => self.lacks(&error.to_string()),
            },
        }
    }

    fn launch(&self, engine: &Installed) -> Launch {
        Launch {
            binary: engine.binary.clone(),
            engine: engine.name().to_string(),
            hot_restart: engine.manifest.hot_restart.clone(),
            instance: self.name.clone(),
            gateway: self.identity.group.to_string(),
            dir: self.dir.clone(),
            xds_socket: self.xds_socket.clone(),
            workers: self.shared.options.workers,
            drain: self.shared.options.drain,
        }
    }

    pub(super) fn builtin(&self, shares_addresses: bool) -> BuiltinInstance {
        let xds = Endpoint::new(self.cache.clone(), self.identity.clone(), self.serving.clone());
        BuiltinInstance { name: self.name.clone(), xds, shares_addresses }
    }

    fn lacks(&mut self, why: &str) {
        self.missing = true;
        self.say(EngineState::Missing, why);
    }

    /// Something has happened to the engine that runs.
    async fn happened(&mut self, event: Event) {
        match event {
            // The next turn says so.
            Event::Ready => self.announce(),
            Event::Ended(how) => self.lost(&how).await,
            Event::Hung(how) => self.lost(&how).await,
        }
    }

    /// Its metrics can be asked for from now on.
    pub(super) fn announce(&self) {
        if let Current::Envoy(process) = &self.current {
            self.shared.metrics.set(&self.name, &self.identity.group, &process.admin);
        }
    }

    /// The Envoy that ran has ended, or has to.
    pub(super) async fn lost(&mut self, how: &str) {
        let Current::Envoy(mut process) = std::mem::replace(&mut self.current, Current::Nothing) else { return };
        process.kill().await;
        self.shared.metrics.remove(&self.name);
        self.inventory.ended(&process.record);
        self.failed(&process.record.engine, process.since, how);
    }

    /// An engine that was started at `since` has failed: it is tried again after a pause.
    pub(super) fn failed(&mut self, engine: &str, since: Instant, how: &str) {
        self.restarts = self.restarts.saturating_add(1);
        let now = Instant::now();
        let pause = self.backoff.failed(since, now);
        self.retry_at = Some(now + pause);
        let advice = "if that goes on, choose another engine in the GatewayTemplate";
        let when = if pause.is_zero() { "at once".to_owned() } else { format!("after {} s", pause.as_secs_f64()) };
        let message = format!("{engine} {how}; it is started again {when}; {advice}");
        tracing::warn!(instance = %self.name, "{message}");
        // One that is started again at once isn't away: nobody has to be told that the gateway doesn't run.
        self.say(if pause.is_zero() { EngineState::Starting } else { EngineState::Backoff }, &message);
    }

    /// Writes the status, if it is new.
    pub(super) fn say(&mut self, state: EngineState, message: &str) {
        let pid = match &self.current {
            Current::Envoy(process) => Some(process.handle.pid),
            _ => None,
        };
        let serves_on = match (&self.current, state) {
            (Current::Nothing, _) | (_, EngineState::Running) => String::new(),
            (current, _) if message.is_empty() => current.name().unwrap_or_default(),
            (current, _) => format!("; meanwhile {} serves on", current.name().unwrap_or_default()),
        };
        let name = self.current.name().unwrap_or_else(|| self.wanted.borrow().to_string());
        let since = Time(jiff::Timestamp::now());
        let message = format!("{message}{serves_on}");
        let mut status = EngineStatus { state, name, pid, restarts: self.restarts, message, since };
        if let Some(said) = &self.said {
            if said.state == status.state && said.name == status.name {
                status.since = said.since.clone();
            }
            if *said == status {
                return;
            }
        }
        self.said = Some(status.clone());
        self.shared.statuses.say(&self.name, status);
    }

    /// Ends everything.
    async fn end(&mut self) {
        let removed = *self.stop.borrow() == Stop::Removed;
        if !removed {
            // Engines keep what they have; nothing changes any more.
            self.serving.cancel();
        }
        match std::mem::replace(&mut self.current, Current::Nothing) {
            Current::Nothing => {}
            // At a drain it ends with all others.
            Current::Builtin if !removed => {}
            Current::Builtin => {
                if let Err(error) = self.shared.builtin.remove(&self.name).await {
                    tracing::warn!(instance = %self.name, %error, "not stopped");
                }
            }
            Current::Envoy(process) => {
                let record = process.record.clone();
                process.retire(Duration::ZERO, self.shared.options.drain, Some(Duration::from_millis(500))).await;
                self.inventory.ended(&record);
            }
        }
        self.shared.metrics.remove(&self.name);
        while self.retiring.join_next().await.is_some() {}
        if let Some(ending) = self.builtin_ending.take() {
            let _ = ending.await;
        }
        self.serving.cancel();
        // Nothing is in it any more but files of this instance.
        let _ = std::fs::remove_dir_all(&self.dir);
        tracing::info!(instance = %self.name, "stopped");
    }

    /// Makes the directory for an Envoy's files.
    pub(super) fn make_dir(&self) -> std::io::Result<()> {
        sockets::make(&self.dir)
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn engines_changed(engines: &mut Option<Watch>) {
    match engines {
        Some(engines) => engines.changed().await,
        None => std::future::pending().await,
    }
}
