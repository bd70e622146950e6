//! Leader election by a Lease (coordination.k8s.io): of several replicas one writes, the others keep up.
//!
//! Only this machine's own monotonic clock counts: who waits takes over once the lease hasn't changed for as long as it
//! lasts. Who leads stops writing before that, if it can't renew. Who ends gives the lease back, and a watch tells the
//! others.

use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;

/// How long a lease lasts that nobody renews. Who waits is caught up, so a change of leaders costs little, and a short
/// lease is worth its writes.
const LASTS: Duration = Duration::from_millis(3_500);
/// After so long without renewal its holder writes no more: well before another one may.
const STOPS: Duration = Duration::from_millis(2_500);
/// Between renewals.
const RENEWS: Duration = Duration::from_millis(1_500);
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// What the Lease says, in whole seconds, to whoever reads it.
const TOLD_SECONDS: i32 = 4;

/// Tells the time of day, which a Lease shows and nothing here depends on.
pub type Clock = fn() -> jiff::Timestamp;

/// A replica that wants to lead.
pub struct Candidate {
    api: Api<Lease>,
    namespace: String,
    name: String,
    identity: String,
    clock: Clock,
}

/// Why an election is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// This process ends.
    Shutdown,
    /// It led, and another one took over.
    Overtaken,
}

/// What keeps a replica from having the lease; said once, however often it is tried.
#[derive(Default)]
struct Trouble(Option<String>);

impl Trouble {
    /// Says it, if it is new.
    fn tell(&mut self, why: String) {
        if self.is_new(&why) {
            tracing::warn!("can't lead, and goes on trying: {why}");
            self.0 = Some(why);
        }
    }

    fn is_new(&self, why: &str) -> bool {
        self.0.as_deref() != Some(why)
    }

    fn over(&mut self) {
        if self.0.take().is_some() {
            tracing::info!("the lease can be had again");
        }
    }
}

/// A lease as it was seen last.
struct Seen {
    lease: Lease,
    /// When it was first seen like that.
    since: Instant,
}

impl Candidate {
    /// One for the lease `name` of a namespace. `identity` is distinct from all other replicas'.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        let api = Api::namespaced(client, namespace);
        let text = str::to_owned;
        let clock = jiff::Timestamp::now;
        Self { api, namespace: text(namespace), name: text(name), identity: text(identity), clock }
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Takes part until shutdown, or until another one takes over from this one. `leads` says whether this one leads.
    pub async fn run(self, leads: watch::Sender<bool>, shutdown: CancellationToken) -> Ended {
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        let mut events = std::pin::pin!(watcher(self.api.clone(), config).backoff(Backoff::default()));
        let mut seen: Option<Seen> = None;
        let mut renewed: Option<Instant> = None;
        // What is over was asked for in vain: the next tick is soon enough.
        let mut is_tried = false;
        let mut trouble = Trouble::default();
        let mut tick = tokio::time::interval(RENEWS);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut is_free = false;
            tokio::select! {
                () = shutdown.cancelled() => {
                    self.give_back(seen, &leads).await;
                    return Ended::Shutdown;
                }
                event = events.try_next() => match event {
                    Ok(Some(watcher::Event::Apply(lease) | watcher::Event::InitApply(lease))) => note(&mut seen, lease),
                    Ok(Some(watcher::Event::Delete(_))) => (seen, is_free) = (None, true),
                    _ => continue,
                },
                _ = tick.tick() => is_free = true,
                () = at(self.ends(seen.as_ref())), if !is_tried => {}
                () = at(renewed.map(|renewed| renewed + STOPS)), if *leads.borrow() => {}
            }
            let holder = seen.as_ref().and_then(|seen| holder(&seen.lease));
            let is_ours = holder == Some(self.identity.as_str());
            if *leads.borrow() && holder.is_some() && !is_ours {
                let _ = leads.send(false);
                return Ended::Overtaken;
            }
            if renewed.is_some_and(|renewed| renewed.elapsed() >= STOPS) {
                leads.send_if_modified(|leads| std::mem::replace(leads, false));
            }
            let is_over = self.ends(seen.as_ref()).is_some_and(|end| end <= Instant::now());
            // Without a lease only a tick is reason to make one: at the start it may just not be known yet.
            let may = match &seen {
                None => is_free,
                Some(_) if is_ours => is_free,
                Some(_) => holder.is_none() || is_over,
            };
            is_tried &= is_over;
            if !may {
                continue;
            }
            let asked = Instant::now();
            let stops = renewed.filter(|_| *leads.borrow()).map(|renewed| renewed + STOPS - asked);
            let patience = stops.map_or(PATIENCE, |stops| stops.min(PATIENCE));
            match self.take(seen.as_ref(), patience, &mut trouble).await {
                Some(lease) => {
                    note(&mut seen, lease);
                    // Others count from when it was written, which is later.
                    renewed = Some(asked);
                    leads.send_if_modified(|leads| !std::mem::replace(leads, true));
                }
                None => is_tried = is_over,
            }
        }
    }

    /// When another one's lease is over, unless it is renewed.
    fn ends(&self, seen: Option<&Seen>) -> Option<Instant> {
        let seen = seen.filter(|seen| holder(&seen.lease).is_some_and(|it| it != self.identity))?;
        Some(seen.since + LASTS)
    }

    /// Takes or renews the lease. None: another was faster, or the API doesn't answer.
    async fn take(&self, seen: Option<&Seen>, patience: Duration, trouble: &mut Trouble) -> Option<Lease> {
        let (before, params) = (seen.map(|seen| &seen.lease), PostParams::default());
        let lease = self.lease(before, Some(self.identity.clone()));
        let write = async {
            match before {
                Some(_) => self.api.replace(&self.name, &params, &lease).await,
                None => self.api.create(&params, &lease).await,
            }
        };
        match tokio::time::timeout(patience, write).await {
            Ok(Ok(lease)) => {
                trouble.over();
                return Some(lease);
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => {}
            // It has just been deleted: the watch says so.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 && before.is_some() => {}
            Ok(Err(error)) => trouble.tell(self.why(&error)),
            Err(_) => trouble.tell(format!("Lease {}/{}: no answer in time", self.namespace, self.name)),
        }
        None
    }

    /// Why the lease can't be had, and what to do.
    fn why(&self, error: &kube::Error) -> String {
        let (namespace, name) = (&self.namespace, &self.name);
        match error {
            kube::Error::Api(status) if status.code == 404 => format!(
                "there is no namespace {namespace} for the Lease {name}, so nothing is written yet: create the \
                 namespace, or use --lease-namespace for another, or --leader-elect false where only one replica runs"
            ),
            kube::Error::Api(status) => format!("Lease {namespace}/{name}: {} ({})", status.message, status.code),
            error => format!("Lease {namespace}/{name}: {error}"),
        }
    }

    /// The next version of a lease.
    fn lease(&self, before: Option<&Lease>, holder: Option<String>) -> Lease {
        let now = MicroTime((self.clock)());
        let old = before.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let is_new = holder.is_some() && old.holder_identity != holder;
        let spec = LeaseSpec {
            lease_duration_seconds: Some(TOLD_SECONDS),
            acquire_time: if is_new { Some(now.clone()) } else { old.acquire_time },
            lease_transitions: Some(old.lease_transitions.unwrap_or_default().saturating_add(i32::from(is_new))),
            renew_time: Some(now),
            holder_identity: Some(holder.unwrap_or_default()),
            ..old
        };
        let metadata = match before {
            Some(lease) => ObjectMeta { managed_fields: None, ..lease.metadata.clone() },
            None => ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
        };
        Lease { metadata, spec: Some(spec) }
    }

    /// Lets another take over at once.
    async fn give_back(&self, seen: Option<Seen>, leads: &watch::Sender<bool>) {
        if !leads.send_replace(false) {
            return;
        }
        let Some(seen) = seen else { return };
        let lease = self.lease(Some(&seen.lease), None);
        let params = PostParams::default();
        let write = self.api.replace(&self.name, &params, &lease);
        if !matches!(tokio::time::timeout(PATIENCE, write).await, Ok(Ok(_))) {
            tracing::warn!(lease = self.name, "the lease can't be given back; another takes over once it is over");
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Who has a lease.
fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// Notes a lease, unless an older version of it comes late.
fn note(seen: &mut Option<Seen>, lease: Lease) {
    let version = |lease: &Lease| lease.metadata.resource_version.as_deref().and_then(|v| v.parse::<u64>().ok());
    let is_older = seen
        .as_ref()
        .is_some_and(|seen| seen.lease.metadata.uid == lease.metadata.uid && version(&lease) <= version(&seen.lease));
    if !is_older {
        *seen = Some(Seen { lease, since: Instant::now() });
    }
}

#[cfg(test)]
mod tests;
