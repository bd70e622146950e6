//! Following one instance: a task that owns its link, and one that holds its stream to the platform.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use foregate_envoy::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use foregate_envoy::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use foregate_envoy::{Delta, Resource, ResourceId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::disk::{self, Stored};
use super::link::Link;
use super::wire::{Part, hello};
use crate::cache::Cache;
use crate::event::{Event, Instance};

/// The largest response that is accepted, in bytes.
const MAX_RESPONSE_BYTES: usize = 64 << 20;
/// How long the platform may take to open a stream.
const OPEN: Duration = Duration::from_secs(15);
/// The first pause before the platform is tried again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// How long the platform may take until what was on disk serves.
const PATIENCE: Duration = Duration::from_secs(2);
/// A change waits so long for others before it is written to disk.
const GATHER: Duration = Duration::from_millis(200);
/// Between two writes there is so much time at least, and so many times what the last one took.
const BETWEEN_WRITES: Duration = Duration::from_secs(1);
const WRITE_SHARE: u32 = 20;

/// What a follower is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Its engine does something.
    Engine(Event),
    /// This is to be kept with it.
    Note(Bytes),
    /// It is no more.
    Forget,
}

/// What the stream says.
enum Up {
    /// It is about to open: which versions are there?
    Opening(oneshot::Sender<HashMap<ResourceId, Arc<str>>>),
    /// It is open.
    Opened(mpsc::UnboundedSender<DeltaDiscoveryRequest>),
    /// A part of a change.
    Part(Part),
    /// It is gone.
    Lost,
}

/// Whom a follower follows.
pub(super) struct Subject {
    pub(super) id: Arc<str>,
    pub(super) instance: Instance,
    pub(super) note: Bytes,
    /// It isn't on disk yet.
    pub(super) dirty: bool,
}

/// The owner of one instance's link.
pub(super) struct Follower {
    subject: Subject,
    cache: Cache,
    channel: Channel,
    path: PathBuf,
    link: Link,
    /// What was on disk, until it is known whether the platform has something newer.
    kept: Option<Vec<Resource>>,
    requests: Option<mpsc::UnboundedSender<DeltaDiscoveryRequest>>,
    saver: Saver,
}

/// When to write, and whether one is being written.
struct Saver {
    /// Since when the file is old; none: it isn't.
    dirty: Option<Instant>,
    not_before: Instant,
    writing: Option<JoinHandle<(std::io::Result<()>, Duration)>>,
}

impl Follower {
    pub(super) fn new(
        subject: Subject,
        kept: Option<Vec<Resource>>,
        cache: Cache,
        channel: Channel,
        path: PathBuf,
    ) -> Self {
        let now = Instant::now();
        let saver = Saver { dirty: subject.dirty.then_some(now), not_before: now, writing: None };
        Self { subject, cache, channel, path, link: Link::new(), kept, requests: None, saver }
    }

    /// Works until it is told to forget, or the relay stops.
    pub(super) async fn run(
        mut self,
        before: Option<JoinHandle<()>>,
        mut commands: mpsc::UnboundedReceiver<Command>,
        stop: CancellationToken,
    ) {
        if let Some(before) = before {
            // One of the same name is still putting its things away.
            let _ = before.await;
        }
        let (sender, mut up) = mpsc::channel(4);
        let stream = Stream { id: self.subject.id.clone(), channel: self.channel.clone(), to: sender };
        // Ends with the channel that it sends to.
        tokio::spawn(stream.run());
        let patience = Instant::now() + PATIENCE;
        loop {
            let serve_at = self.kept.is_some().then_some(patience);
            let save_at = self.saver.due();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Engine(event)) => self.link.engine(event),
                    Some(Command::Note(note)) => self.note(note),
                    Some(Command::Forget) | None => return self.forget().await,
                },
                Some(said) = up.recv() => self.heard(said),
                () = sleep_until(save_at) => self.save(),
                () = sleep_until(serve_at) => self.serve_kept(),
                done = self.saver.written() => self.wrote(done),
                () = stop.cancelled() => return self.last_save().await,
            }
            self.report();
        }
    }

    fn note(&mut self, note: Bytes) {
        if self.subject.note != note {
            self.subject.note = note;
            self.saver.touch();
        }
    }

    fn heard(&mut self, said: Up) {
        match said {
            Up::Opening(answer) => {
                // Fails when it has given up meanwhile.
                let _ = answer.send(self.versions());
            }
            Up::Opened(requests) => {
                self.requests = Some(requests);
                self.link.opened();
            }
            // A stream that was given up has nothing to say any more.
            Up::Part(_) if self.requests.is_none() => {}
            Up::Part(part) => self.take_part(part),
            Up::Lost => {
                self.requests = None;
                self.link.lost();
                self.serve_kept();
            }
        }
    }

    fn versions(&self) -> HashMap<ResourceId, Arc<str>> {
        match &self.kept {
            Some(kept) => kept.iter().map(|resource| (resource.id.clone(), resource.version.clone())).collect(),
            None => self.cache.versions(&self.subject.instance.group),
        }
    }

    /// The platform is away, or slow: what was on disk serves.
    fn serve_kept(&mut self) {
        if let Some(set) = self.kept.take() {
            tracing::info!(instance = %self.subject.id, resources = set.len(), "serving what is on disk");
            self.cache.apply(&self.subject.instance.group, Delta { set, remove: Vec::new() });
        }
    }

    fn take_part(&mut self, part: Part) {
        let (delta, platform) = match self.link.part(part) {
            Ok(Some(complete)) => complete,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(instance = %self.subject.id, %error, "the platform's stream makes no sense");
                // The stream ends when nobody can speak on it.
                self.requests = None;
                return self.link.lost();
            }
        };
        let removed: Vec<_> = delta.remove.clone();
        let set: Vec<_> = delta.set.iter().map(|resource| (resource.id.clone(), resource.version.clone())).collect();
        if !delta.is_empty() {
            self.saver.touch();
        }
        // Together with what was on disk, so that no engine sees the past.
        let delta = match self.kept.take() {
            Some(kept) => onto(kept, delta),
            None => delta,
        };
        let local = self.cache.apply(&self.subject.instance.group, delta);
        let changed = removed.iter().map(|id| (id, None)).chain(set.iter().map(|(id, version)| (id, Some(version))));
        self.link.stored(changed, local, platform);
    }

    fn report(&mut self) {
        let reports = self.link.take();
        if let Some(requests) = &self.requests {
            for report in reports {
                // Fails when the stream is gone, which it will say.
                let _ = requests.send(report.encode());
            }
        }
    }

    fn snapshot(&self) -> Stored {
        Stored {
            id: self.subject.id.to_string(),
            instance: self.subject.instance.clone(),
            note: self.subject.note.clone(),
            resources: self.kept.clone().unwrap_or_else(|| self.cache.dump(&self.subject.instance.group)),
        }
    }

    fn save(&mut self) {
        self.saver.dirty = None;
        let (path, stored) = (self.path.clone(), self.snapshot());
        self.saver.writing = Some(tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            (disk::write(&path, &stored), begun.elapsed())
        }));
    }

    fn wrote(&mut self, done: Result<(std::io::Result<()>, Duration), tokio::task::JoinError>) {
        self.saver.writing = None;
        let (result, took) = done.unwrap_or_else(|error| (Err(std::io::Error::other(error)), Duration::ZERO));
        self.saver.not_before = Instant::now() + BETWEEN_WRITES.max(took * WRITE_SHARE);
        if let Err(error) = result {
            tracing::error!(
                path = %self.path.display(), %error,
                "a gateway's configuration isn't kept on disk: it is lost should this node start without the platform"
            );
            self.saver.touch();
        }
    }

    async fn last_save(mut self) {
        if let Some(writing) = self.saver.writing.take() {
            self.wrote(writing.await);
        }
        if self.saver.dirty.is_some() {
            self.save();
            if let Some(writing) = self.saver.writing.take() {
                self.wrote(writing.await);
            }
        }
    }

    async fn forget(mut self) {
        if let Some(writing) = self.saver.writing.take() {
            let _ = writing.await;
        }
        disk::remove(&self.path);
        self.cache.remove_group(&self.subject.instance.group);
    }
}

impl Saver {
    fn touch(&mut self) {
        self.dirty.get_or_insert_with(Instant::now);
    }

    fn due(&self) -> Option<Instant> {
        let dirty = self.dirty.filter(|_| self.writing.is_none())?;
        Some((dirty + GATHER).max(self.not_before))
    }

    async fn written(&mut self) -> Result<(std::io::Result<()>, Duration), tokio::task::JoinError> {
        match &mut self.writing {
            Some(writing) => writing.await,
            None => std::future::pending().await,
        }
    }
}

/// What there is after a change to what was.
fn onto(kept: Vec<Resource>, delta: Delta) -> Delta {
    let mut all: HashMap<_, _> = kept.into_iter().map(|resource| (resource.id.clone(), resource)).collect();
    for id in &delta.remove {
        all.remove(id);
    }
    all.extend(delta.set.into_iter().map(|resource| (resource.id.clone(), resource)));
    Delta { set: all.into_values().collect(), remove: Vec::new() }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The holder of one instance's stream.
struct Stream {
    id: Arc<str>,
    channel: Channel,
    to: mpsc::Sender<Up>,
}

impl Stream {
    /// Opens it again and again, until nobody listens.
    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        let mut said = None;
        loop {
            let mut worked = false;
            let ended = tokio::select! {
                ended = self.once(&mut worked) => ended,
                () = self.to.closed() => return,
            };
            if worked {
                (pause, said) = (FIRST_PAUSE, None);
            }
            self.complain(&ended, &mut said);
            if self.to.send(Up::Lost).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))) => {}
                () = self.to.closed() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Says why it ended, once for each reason.
    fn complain(&self, status: &Status, said: &mut Option<Code>) {
        if said.replace(status.code()) == Some(status.code()) {
            return;
        }
        let (instance, reason) = (&self.id, super::reason(status));
        tracing::warn!(%instance, reason, "the platform is away: serving what was sent last; trying again");
    }

    async fn once(&self, worked: &mut bool) -> Status {
        match self.open(worked).await {
            Ok(()) => Status::unavailable("the stream has ended"),
            Err(status) => status,
        }
    }

    async fn open(&self, worked: &mut bool) -> Result<(), Status> {
        let gone = || Status::cancelled("nobody follows it any more");
        let (answer, versions) = oneshot::channel();
        self.to.send(Up::Opening(answer)).await.map_err(|_| gone())?;
        let versions = versions.await.map_err(|_| gone())?;
        let (requests, receiver) = mpsc::unbounded_channel();
        let _ = requests.send(hello(&self.id, versions));
        let mut client = AggregatedDiscoveryServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_RESPONSE_BYTES)
            .max_encoding_message_size(MAX_RESPONSE_BYTES);
        let opening = client.delta_aggregated_resources(UnboundedReceiverStream::new(receiver));
        let late = |_| Status::deadline_exceeded("the platform doesn't open a stream");
        let mut responses = tokio::time::timeout(OPEN, opening).await.map_err(late)??.into_inner();
        self.to.send(Up::Opened(requests)).await.map_err(|_| gone())?;
        while let Some(response) = responses.message().await? {
            let part = Part::decode(response).map_err(|error| Status::internal(error.to_string()))?;
            if !std::mem::replace(worked, true) {
                tracing::info!(instance = %self.id, "the platform is there");
            }
            self.to.send(Up::Part(part)).await.map_err(|_| gone())?;
        }
        Ok(())
    }
}
