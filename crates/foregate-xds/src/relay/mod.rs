//! The relay: a node's own copy of what its instances serve, kept on disk.
//!
//! ```text
//! platform's Cache ── one mTLS connection, one ADS stream per instance ──▶ Relay ──▶ its Cache ── unix sockets ──▶ engines
//! ```
//!
//! [`Relay::follow`] opens a stream to the platform for an instance. The platform sends all that the instance's group
//! has, in no engine's order, each change whole (`wire`, `upstream`); the relay applies it to a [`Cache`] of its own,
//! which orders it for its engines as the platform's would. What the engines say goes back (`link`): there and gone,
//! applied up to a change, refused a resource. So the platform's cache emits the same [`Event`](crate::Event)s as if
//! the engine were connected to it.
//!
//! Soon after a change the instance's file is written anew (`disk`). A node that starts reads its files. It asks the
//! platform first: an engine that has lived on may know more than the disk. If the platform is away or slow, what was
//! on disk serves at once. When it is back, the stream goes on from the versions that the node has; nothing changes
//! before the difference has come whole.

pub(crate) mod announce;
mod disk;
mod follow;
mod link;
pub(crate) mod upstream;
pub(crate) mod wire;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;

use crate::cache::Cache;
use crate::event::{Event, Instance};
use crate::options::Options;
use crate::tls::{self, TlsError};

pub use disk::{Damage, Stored, parse};
pub use link::{Link, LinkError};
pub use wire::{Malformed, Part, Report};

/// What a relay needs to know.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// The platform's xDS port: `HOST:PORT`. The host must be in the server's certificate.
    pub address: String,
    /// How to be known there: see [`crate::tls::client_config`].
    pub tls: Arc<ClientConfig>,
    /// Where the instances' files are kept. Made, mode 0700, if it isn't there.
    pub directory: PathBuf,
    /// Options of the relay's cache.
    pub cache: Options,
}

/// Why a relay can't start.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The platform can't be reached like that.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The directory can't be used.
    #[error("the directory of the node's configuration {path}: {source}", path = path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A running relay. Clones are the same; it stops, without a last write, when all are gone: [`Relay::close`] writes.
#[derive(Clone, Debug)]
pub struct Relay {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cache: Cache,
    channel: Channel,
    directory: PathBuf,
    stored: Vec<Stored>,
    /// What was on disk of instances that nobody has followed yet.
    kept: Mutex<HashMap<String, Stored>>,
    followers: Arc<Mutex<Followers>>,
    stop: CancellationToken,
    _stop: DropGuard,
}

#[derive(Debug, Default)]
struct Followers {
    running: HashMap<Arc<str>, Running>,
    by_instance: HashMap<Instance, mpsc::UnboundedSender<follow::Command>>,
    /// Who was told to forget and may still be busy with it.
    ending: HashMap<Arc<str>, JoinHandle<()>>,
}

#[derive(Debug)]
struct Running {
    instance: Instance,
    commands: mpsc::UnboundedSender<follow::Command>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Reads what is kept on disk. Must be called within a tokio runtime. Doesn't wait for the platform.
    ///
    /// # Errors
    /// When the address makes no sense, or the directory can't be made or read. A damaged file is no error: it is
    /// logged, and replaced once the platform has told what was in it.
    pub fn open(options: RelayOptions) -> Result<Self, RelayError> {
        let channel = tls::channel(&options.address, options.tls)?;
        let directory = options.directory;
        let stored =
            disk::read_all(&directory).map_err(|source| RelayError::Directory { path: directory.clone(), source })?;
        let (cache, events) = Cache::new(options.cache);
        let followers: Arc<Mutex<Followers>> = Arc::default();
        let stop = CancellationToken::new();
        tokio::spawn(route(events, followers.clone(), stop.clone()));
        let inner = Inner {
            cache,
            channel,
            directory,
            stored: stored.iter().map(Stored::without_resources).collect(),
            kept: Mutex::new(stored.into_iter().map(|stored| (stored.id.clone(), stored)).collect()),
            followers,
            _stop: stop.clone().drop_guard(),
            stop,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Lets the platform know, from now on until the relay stops, that this node's agent runs
    /// ([`Directory::present`](crate::Directory::present)). Must be called within a tokio runtime, once.
    pub fn announce(&self) {
        tokio::spawn(announce::run(self.inner.channel.clone(), self.inner.stop.clone()));
    }

    /// What engines are to be served from.
    pub fn cache(&self) -> &Cache {
        &self.inner.cache
    }

    /// The instances that were on disk when it opened, without their resources. Who is there still is to be followed, who
    /// turns out to be gone is to be forgotten.
    pub fn stored(&self) -> &[Stored] {
        &self.inner.stored
    }

    /// Follows an instance under the name that the platform knows it by (`node.id`), from what is on disk of it.
    /// `note` is kept with it, for whoever starts its engine when the platform is away. To say the same again, or with a
    /// new note, interrupts nothing.
    pub fn follow(&self, id: &str, instance: Instance, note: Bytes) {
        let known = self.inner.followers.lock().running.get(id).map(|running| {
            // Fails when it has ended, and then the relay has.
            let _ = running.commands.send(follow::Command::Note(note.clone()));
            running.instance == instance
        });
        match known {
            Some(true) => {}
            Some(false) => {
                self.forget(id);
                self.start(id, instance, note);
            }
            None => self.start(id, instance, note),
        }
    }

    /// Follows it no more, and forgets what it had, on disk as well.
    pub fn forget(&self, id: &str) {
        let mut followers = self.inner.followers.lock();
        let Some(running) = followers.running.remove(id) else {
            drop(followers);
            return self.forget_stored(id);
        };
        followers.by_instance.remove(&running.instance);
        let _ = running.commands.send(follow::Command::Forget);
        followers.ending.retain(|_, task| !task.is_finished());
        followers.ending.insert(id.into(), running.task);
    }

    /// Stops, and writes what hasn't been written yet.
    pub async fn close(self) {
        self.inner.stop.cancel();
        let mut followers = std::mem::take(&mut *self.inner.followers.lock());
        let running = followers.running.drain().map(|(_, running)| running.task);
        for task in running.chain(followers.ending.drain().map(|(_, task)| task)) {
            // Only a panic makes it fail, and that was logged.
            let _ = task.await;
        }
    }

    /// Forgets what is on disk of an instance that isn't followed.
    fn forget_stored(&self, id: &str) {
        if self.inner.kept.lock().remove(id).is_some() {
            disk::remove(&disk::file(&self.inner.directory, id));
        }
    }

    fn start(&self, id: &str, instance: Instance, note: Bytes) {
        let kept = self.inner.kept.lock().remove(id).filter(|kept| kept.instance == instance);
        let dirty = kept.as_ref().is_none_or(|kept| kept.note != note);
        let (commands, receiver) = mpsc::unbounded_channel();
        let follower = follow::Follower::new(
            follow::Subject { id: id.into(), instance: instance.clone(), note, dirty },
            kept.map(|kept| kept.resources),
            self.inner.cache.clone(),
            self.inner.channel.clone(),
            disk::file(&self.inner.directory, id),
        );
        let mut followers = self.inner.followers.lock();
        let before = followers.ending.remove(id);
        let task = tokio::spawn(follower.run(before, receiver, self.inner.stop.clone()));
        followers.by_instance.insert(instance.clone(), commands.clone());
        followers.running.insert(id.into(), Running { instance, commands, task });
    }
}

/// Hands the events of the cache to their instances' followers.
async fn route(mut events: mpsc::UnboundedReceiver<Event>, followers: Arc<Mutex<Followers>>, stop: CancellationToken) {
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = stop.cancelled() => return,
        };
        let Some(event) = event else { return };
        let commands = followers.lock().by_instance.get(event.instance()).cloned();
        if let Some(commands) = commands {
            let _ = commands.send(follow::Command::Engine(event));
        }
    }
}

/// Why a stream failed, with what is behind it.
fn reason(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
