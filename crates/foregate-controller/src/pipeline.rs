//! Watches in, decisions, writes out.

use std::sync::Arc;

use foregate_attach::{Attach, Input, Need, NeedChange, Output, Settings, TargetId};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Client;
use tokio::sync::{SetOnce, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::dispatch::{Batch, Gate};
use crate::named::Named;
use crate::served::{self, Served};
use crate::source::Fed;
use crate::target::{Given, Targets};
use crate::voice::Voice;
use crate::workload::{GLIMPSED, Wants};
use crate::{ControllerError, dispatch, workload, write};

/// Inputs that are decided on together at most; more wait their turn, so that a flood doesn't starve the writes.
const BATCH: usize = 512;
/// Inputs that may wait before the watches are made to.
const BACKLOG: usize = 4096;
/// Statuses that are written at once.
const WRITES: usize = 32;

/// What a controller runs with.
pub struct Controller {
    /// The API that users write to.
    pub workload: Client,
    /// The API that takes derived objects of classes without parameters; in `foregate up` it is the same. It is there
    /// if the settings have a default target.
    pub platform: Option<Client>,
    /// What decides.
    pub settings: Settings,
    /// Whether it writes, or only keeps up with one that does.
    pub gate: Gate,
    /// Set once every kind was listed and decided on. Where the default target shares the workload's API: once that has
    /// all that follows, too. What can't be written doesn't hold it up: one attempt counts.
    pub caught_up: Arc<SetOnce<()>>,
}

/// Runs a controller until shutdown.
///
/// # Errors
/// When a watch ends for good.
pub async fn run(controller: Controller, shutdown: CancellationToken) -> Result<(), ControllerError> {
    // Ends what was started here whichever way this ends.
    let shutdown = shutdown.child_token();
    let _ended = shutdown.clone().drop_guard();
    let Controller { workload, platform, settings, gate, caught_up } = controller;
    let voice = Voice::default();
    let served = tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        served = Served::ask(&workload, &voice) => served,
    };
    let (told, served) = watch::channel(served);
    let (feed, inputs) = mpsc::channel(BACKLOG);
    let wants = Wants::default();
    let mut watches = workload::follow(&workload, &served, &feed, &voice, &wants);
    let mut unlisted = watches.len() - GLIMPSED;
    watches.spawn(keep_served(workload.clone(), told, served, feed.clone(), voice.clone()));

    let mut named = Named::new(workload.clone(), feed.clone(), voice.clone(), shutdown.clone());
    let mut targets = Targets::new(workload.clone(), feed, gate.clone(), shutdown.clone());
    let default = settings.default_target.as_ref().zip(platform);
    let shares_api = default.as_ref().is_some_and(|(target, _)| target.shares_api);
    if let Some((target, client)) = default {
        let (namespace, cluster, template) =
            (target.tenant_namespace.clone(), target.cluster.clone(), target.template.clone());
        unlisted += targets.give(Given { client, namespace, cluster, template, shares_api });
    }
    let writers = Writers::start(workload, voice, gate.clone(), &shutdown);
    let mut caught_up = Some(caught_up);
    let mut attach = Attach::standby(settings);
    attach.ask_for_needs();
    let follow = |needs| named.change(needs);
    let unlisted = Unlisted { others: unlisted, glimpses: GLIMPSED, go: wants.glimpses.clone(), needs: Vec::new() };
    let decide = decide(attach, unlisted, inputs, gate, follow, |attach: &Attach, output: Output| {
        if attach.wants_pods() {
            // It may be set already.
            let _ = wants.pods.set(());
        }
        for change in output.targets {
            targets.change(change);
        }
        let mut derived = output.derived;
        let tried = caught_up.take().and_then(|caught_up| {
            if shares_api {
                derived.entry(TargetId::DEFAULT).or_default();
                return Some(caught_up);
            }
            // Nobody else sets it.
            let _ = caught_up.set(());
            None
        });
        for (id, changes) in derived {
            targets.write(id, changes, tried.clone().filter(|_| id == TargetId::DEFAULT));
        }
        writers.write(output.statuses, output.finalizers, output.services);
    });
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = decide => Ok(()),
        Some(ended) = watches.join_next() => ended.unwrap_or(Ok(())),
    }
}

async fn keep_served(
    client: Client,
    told: watch::Sender<Served>,
    _listener: watch::Receiver<Served>,
    feed: mpsc::Sender<Fed>,
    voice: Voice,
) -> Result<(), ControllerError> {
    served::keep(client, told, feed, voice).await;
    Err(ControllerError::WatchEnded { kind: "CustomResourceDefinition" })
}

/// The one task that owns the decision. Nothing is decided before every kind has been listed, so that nothing is
/// taken for missing that just hasn't been read. The first decision is emitted even if nothing follows from it.
async fn decide(
    mut attach: Attach,
    mut unlisted: Unlisted,
    mut inputs: mpsc::Receiver<Fed>,
    mut gate: Gate,
    mut follow: impl FnMut(Vec<NeedChange>),
    mut emit: impl FnMut(&Attach, Output),
) {
    let (mut first, mut leads) = (true, false);
    let (mut waiting, mut batch) = (Vec::new(), Vec::with_capacity(BATCH));
    loop {
        tokio::select! {
            received = inputs.recv_many(&mut batch, BATCH) => if received == 0 { return },
            () = gate.changed(), if !leads => {}
        }
        for fed in batch.drain(..) {
            match fed {
                Fed::Input(input) => waiting.push(input),
                Fed::Glimpsed(glimpse, rest) => {
                    if attach.glimpse(&glimpse) {
                        waiting.extend(rest.read(&glimpse));
                    }
                }
                Fed::Listed => unlisted.others -= 1,
                Fed::GlimpsesListed => unlisted.glimpses -= 1,
            }
        }
        if unlisted.others > 0 {
            continue;
        }
        if first {
            // What is named must be known before the first decision: nothing may be taken for missing.
            let needs = attach.prepare(waiting.drain(..).chain(unlisted.known()));
            let needs = unlisted.sort(needs);
            if !needs.is_empty() {
                follow(needs);
            }
            if unlisted.glimpses > 0 || !attach.knows_its_needs() {
                continue;
            }
        }
        if !leads && gate.is_open() {
            attach.lead();
            leads = true;
        }
        let mut output = attach.apply(waiting.drain(..), &Time(jiff::Timestamp::now()));
        follow(std::mem::take(&mut output.needs));
        if std::mem::take(&mut first) || !output.is_empty() {
            tracing::debug!(targets = output.derived.len(), statuses = output.statuses.len(), "decided");
            emit(&attach, output);
        }
    }
}

/// What hasn't been listed yet.
struct Unlisted {
    /// Kinds that are read whole.
    others: usize,
    /// Kinds that are read as far as something is named. They are listed after the others, when that is known: so what
    /// is named at the start is read with the list, and not one by one.
    glimpses: usize,
    go: Arc<SetOnce<()>>,
    /// Services that are read with the list.
    needs: Vec<(Need, u64)>,
}

impl Unlisted {
    /// The needs that aren't met by the list, once it is known what that has to meet.
    fn sort(&mut self, needs: Vec<NeedChange>) -> Vec<NeedChange> {
        if self.go.initialized() {
            return needs;
        }
        // Nobody else sets it.
        let _ = self.go.set(());
        let (services, others) =
            needs.into_iter().partition(|need| matches!(need, NeedChange::Follow(Need::Service(_), _)));
        let services: Vec<NeedChange> = services;
        self.needs = services
            .into_iter()
            .filter_map(|need| match need {
                NeedChange::Follow(need, number) => Some((need, number)),
                NeedChange::Forget(_) => None,
            })
            .collect();
        others
    }

    /// What the list has met.
    fn known(&mut self) -> impl Iterator<Item = Input> + use<> {
        let met = if self.glimpses == 0 { std::mem::take(&mut self.needs) } else { Vec::new() };
        met.into_iter().map(|(need, number)| Input::Known(need, number))
    }
}

/// The queues of what is written to the workload's API.
struct Writers {
    statuses: mpsc::UnboundedSender<Batch<write::StatusKey, foregate_attach::StatusChange>>,
    finalizers: mpsc::UnboundedSender<Batch<Arc<str>, foregate_attach::FinalizerChange>>,
    services: mpsc::UnboundedSender<Batch<foregate_attach::Key, foregate_attach::ServiceChange>>,
    _tasks: JoinSet<()>,
}

impl Writers {
    fn start(workload: Client, voice: Voice, gate: Gate, shutdown: &CancellationToken) -> Self {
        let (statuses, status_jobs) = mpsc::unbounded_channel();
        let (finalizers, finalizer_jobs) = mpsc::unbounded_channel();
        let (services, service_jobs) = mpsc::unbounded_channel();
        let target = write::Workload::new(workload, voice);
        let mut tasks = JoinSet::new();
        let to = target.clone();
        let write = move |_, change| to.write(change);
        tasks.spawn(dispatch::run(status_jobs, WRITES, gate.clone(), shutdown.clone(), write));
        let to = target.clone();
        let write = move |_, change| to.write_finalizers(change);
        tasks.spawn(dispatch::run(finalizer_jobs, WRITES, gate.clone(), shutdown.clone(), write));
        let write = move |_, change| target.write_service(change);
        tasks.spawn(dispatch::run(service_jobs, WRITES, gate, shutdown.clone(), write));
        Self { statuses, finalizers, services, _tasks: tasks }
    }

    /// The writers end at shutdown only; what would have been written is derived again by the next start.
    fn write(
        &self,
        statuses: Vec<foregate_attach::StatusChange>,
        finalizers: Vec<foregate_attach::FinalizerChange>,
        services: Vec<foregate_attach::ServiceChange>,
    ) {
        hand(&self.statuses, statuses, write::status_job);
        hand(&self.finalizers, finalizers, write::finalizer_job);
        hand(&self.services, services, write::service_job);
    }
}

/// Nobody is woken for nothing.
fn hand<K, J>(to: &mpsc::UnboundedSender<Batch<K, J>>, changes: Vec<J>, job: fn(J) -> dispatch::Job<K, J>) {
    if !changes.is_empty() {
        let _ = to.send(changes.into_iter().map(job).collect::<Vec<_>>().into());
    }
}
