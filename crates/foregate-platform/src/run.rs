//! The shell around the pipeline: channels in, tasks out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use foregate_xds::{Cache, Event};
use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use tokio::sync::{SetOnce, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::keeper::{Rebuilt, Recorder, Texts, channel, keep};
use crate::outbox::{Kind, Target, Write};
use crate::pipeline::{Input, Observation, Outcome, Pipeline};
use crate::watch::watch;
use crate::write::perform;
use crate::{PlatformError, PlatformOptions};

/// At most so many inputs are taken in before consequences are drawn, so that a flood delays nobody for long.
const BATCH: usize = 512;
/// How long the last revisions may take at the end.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// At most so many writes are under way.
const WRITES: usize = 64;

/// How the platform reaches the API.
pub struct Clients {
    /// For everything that would be derived again after a crash: it needn't wait for the disk.
    pub client: Client,
    /// For what couldn't be derived again: which gateway has which address, what a pinned revision was.
    pub durable: Client,
}

impl From<Client> for Clients {
    fn from(client: Client) -> Self {
        Self { durable: client.clone(), client }
    }
}

/// Runs the platform until the shutdown.
///
/// Needs the foregate.dev kinds to be installed in the API that `clients` reach. Publishes to `cache`; a cache made
/// with `started: false` begins to answer once everything is published. `events` is what the cache was made with.
///
/// # Errors
/// When the xDS server goes away. Errors of the API are never fatal: what
/// failed is tried again.
pub async fn run(
    clients: impl Into<Clients>,
    options: PlatformOptions,
    cache: Cache,
    events: mpsc::UnboundedReceiver<Event>,
    shutdown: CancellationToken,
) -> Result<(), PlatformError> {
    // Dropped at the end of this function, which ends the keeper with it.
    let stop = shutdown.child_token();
    let _stopped = stop.clone().drop_guard();
    let Clients { client, durable } = clients.into();
    let observations = watch_all(&client, &options);
    let (records, taken) = channel();
    let serving = Arc::clone(&options.serving);
    let texts = Texts {
        to_text: options.revision_text.unwrap_or(|_, _| None),
        to_body: options.revision_body.unwrap_or(|_, _| None),
    };
    let (answers, rebuilt) = mpsc::unbounded_channel();
    let clients = Clients { client: client.clone(), durable: durable.clone() };
    let keeper = tokio::spawn(keep(clients, options.namespace.clone(), texts, taken, answers, stop));
    let mut resync = tokio::time::interval(options.resync);
    resync.reset();
    let pipeline = Pipeline::new(options, cache, Instant::now());
    let (writes, waiting) = (JoinSet::new(), Vec::new());
    let shell = Shell { client, durable, pipeline, observations, events, records, rebuilt, writes, waiting, serving };
    let ended = shell.run(resync, shutdown).await;
    // The shell's end of the channel is closed now: what was published is written down, if the API is still there.
    let _ = tokio::time::timeout(LAST_WORDS, keeper).await;
    ended
}

struct Shell {
    client: Client,
    durable: Client,
    pipeline: Pipeline,
    observations: SelectAll<BoxStream<'static, Observation>>,
    events: mpsc::UnboundedReceiver<Event>,
    records: Recorder,
    /// What revisions were.
    rebuilt: mpsc::UnboundedReceiver<Rebuilt>,
    writes: JoinSet<(Target, Write, Outcome)>,
    /// Writes beyond what may be under way; the next is the last.
    waiting: Vec<(Target, Write)>,
    /// [`PlatformOptions::serving`].
    serving: Arc<SetOnce<()>>,
}

impl Shell {
    async fn run(
        mut self,
        mut resync: tokio::time::Interval,
        shutdown: CancellationToken,
    ) -> Result<(), PlatformError> {
        loop {
            let deadline = self.pipeline.next_deadline();
            let alarm = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let input = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                observed = self.observations.next() => Some(Input::Observed(observed.ok_or(PlatformError::WatchesEnded)?)),
                event = self.events.recv() => Some(Input::Xds(event.ok_or(PlatformError::EventsEnded)?)),
                Some(answer) = self.rebuilt.recv() => Some(Input::Rebuilt(answer)),
                Some(done) = self.writes.join_next() => ended(done),
                () = alarm => None,
                _ = resync.tick() => Some(Input::Resync),
            };
            self.turn(input);
        }
    }

    /// Takes in an input and all that is ready with it, then acts.
    fn turn(&mut self, input: Option<Input>) {
        let (now, clock) = (Instant::now(), Timestamp::now());
        if let Some(input) = input {
            self.pipeline.take(input, now, clock);
        }
        for _ in 0..BATCH {
            let Some(input) = self.ready() else { break };
            self.pipeline.take(input, now, clock);
        }
        let effects = self.pipeline.step(now, clock);
        for record in effects.records {
            self.records.send(record);
        }
        if effects.serving {
            // Set by us alone, unless the options are used twice.
            let _ = self.serving.set(());
        }
        self.waiting.extend(effects.writes.into_iter().rev());
        while self.writes.len() < WRITES
            && let Some((target, write)) = self.waiting.pop()
        {
            // An instance that was made again would be another one to its node, which serves with the old one meanwhile.
            let lasts = target.kind == Kind::Address || matches!(write, Write::CreateInstance(_));
            let client = if lasts { self.durable.clone() } else { self.client.clone() };
            self.writes.spawn(async move {
                let outcome = perform(client, &target, &write).await;
                (target, write, outcome)
            });
        }
    }

    fn ready(&mut self) -> Option<Input> {
        if let Some(Some(observed)) = self.observations.next().now_or_never() {
            return Some(Input::Observed(observed));
        }
        if let Ok(event) = self.events.try_recv() {
            return Some(Input::Xds(event));
        }
        self.writes.try_join_next().and_then(ended)
    }
}

/// A write's task never panics and is never aborted before the end.
fn ended(done: Result<(Target, Write, Outcome), tokio::task::JoinError>) -> Option<Input> {
    match done {
        Ok((target, write, outcome)) => Some(Input::Done(target, write, outcome)),
        Err(error) => {
            tracing::error!(%error, "a write has died");
            None
        }
    }
}

fn watch_all(client: &Client, options: &PlatformOptions) -> SelectAll<BoxStream<'static, Observation>> {
    let mut all = SelectAll::new();
    let streaming = options.streaming_lists;
    macro_rules! start {
        ($api:expr, $wrap:path) => {
            all.push(watch($api, streaming, $wrap).boxed())
        };
    }
    let namespace = options.namespace.as_deref();
    start!(spaced(client, namespace), Observation::Claim);
    start!(spaced(client, namespace), Observation::Proxy);
    start!(Api::all(client.clone()), Observation::Address);
    start!(Api::all(client.clone()), Observation::Pool);
    start!(spaced(client, namespace), Observation::Template);
    start!(Api::all(client.clone()), Observation::Instance);
    start!(Api::all(client.clone()), Observation::Node);
    start!(spaced(client, namespace), Observation::Route);
    start!(spaced(client, namespace), Observation::Backend);
    start!(spaced(client, namespace), Observation::Slice);
    start!(spaced(client, namespace), Observation::Secret);
    all
}

fn spaced<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(
    client: &Client,
    namespace: Option<&str>,
) -> Api<K> {
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}
