//! From GatewayInstances to actors.

use std::collections::BTreeMap;
use std::sync::Arc;

use foregate_api::{EngineName, GatewayInstance};
use futures::TryStreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::actor::{Actor, Stop};
use super::pauses::Pauses;
use super::{AgentError, Shared, memory};

/// An instance that runs.
struct Running {
    object: GatewayInstance,
    wanted: watch::Sender<EngineName>,
    stop: watch::Sender<Stop>,
    task: JoinHandle<()>,
}

/// All instances of the node.
struct Follower {
    shared: Arc<Shared>,
    running: BTreeMap<String, Running>,
    /// Actors of instances that are gone; who has the same name begins after them.
    ending: BTreeMap<String, JoinHandle<()>>,
}

/// Follows the GatewayInstances until it is told to drain; then drains all engines.
pub(super) async fn follow(client: Client, shared: Arc<Shared>, drain: &CancellationToken) -> Result<(), AgentError> {
    let mut follower = Follower { shared, running: BTreeMap::new(), ending: BTreeMap::new() };
    if let Some(path) = &follower.shared.options.memory {
        for instance in memory::read(path) {
            follower.apply(instance);
        }
    }
    let watched = follower.watch(Api::all(client), drain).await;
    follower.drain().await;
    watched
}

/// What a watch fails of, without the layers that it passed: that a certificate isn't known is the last cause of all.
fn why(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => match status.code {
            401 | 403 => {
                format!("{}; `foregate node renew`, or `add`, on the platform makes a credential", status.message)
            }
            _ => status.message.clone(),
        },
        other => {
            let mut cause: &dyn std::error::Error = other;
            while let Some(inner) = cause.source() {
                cause = inner;
            }
            cause.to_string()
        }
    }
}

impl Follower {
    async fn watch(&mut self, api: Api<GatewayInstance>, drain: &CancellationToken) -> Result<(), AgentError> {
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).backoff(Pauses::default()));
        let (mut listed, mut told) = (Vec::new(), String::new());
        loop {
            let event = tokio::select! {
                event = events.try_next() => event,
                () = drain.cancelled() => return Ok(()),
            };
            match event {
                Ok(Some(watcher::Event::Init)) => listed.clear(),
                Ok(Some(watcher::Event::InitApply(instance))) => {
                    listed.push(instance.name_any());
                    self.apply(instance);
                }
                Ok(Some(watcher::Event::InitDone)) => {
                    self.keep_only(&listed);
                    self.remember();
                }
                Ok(Some(watcher::Event::Apply(instance))) => {
                    if self.apply(instance) {
                        self.remember();
                    }
                }
                Ok(Some(watcher::Event::Delete(instance))) => {
                    self.remove(&instance.name_any());
                    self.remember();
                }
                Ok(None) => return Err(AgentError::WatchEnded),
                Err(error) => {
                    let why = why(&error);
                    // While the platform is away it fails every second.
                    if told != why {
                        tracing::warn!("watching GatewayInstances failed: {why}; trying again");
                    }
                    told = why;
                    continue;
                }
            }
            told.clear();
        }
    }

    /// Returns whether there is something new to remember.
    fn apply(&mut self, instance: GatewayInstance) -> bool {
        let name = instance.name_any();
        if instance.spec.node != self.shared.options.node {
            return false;
        }
        if instance.metadata.deletion_timestamp.is_some() {
            return self.remove(&name);
        }
        let wanted = match instance.spec.engine.parse::<EngineName>() {
            Ok(wanted) => wanted,
            Err(error) => {
                tracing::warn!(instance = %name, %error, "it stays as it is");
                return false;
            }
        };
        match self.running.get_mut(&name) {
            Some(running) if running.object.uid() == instance.uid() => {
                running.wanted.send_if_modified(|engine| std::mem::replace(engine, wanted.clone()) != wanted);
                let new = running.object.spec != instance.spec;
                running.object = instance;
                return new;
            }
            // Deleted and made again while nobody looked.
            Some(_) => drop(self.remove(&name)),
            None => {}
        }
        let (wanted, receiver) = watch::channel(wanted);
        let (stop, stopped) = watch::channel(Stop::No);
        let actor = Actor::new(self.shared.clone(), &instance, receiver, stopped);
        let before = self.ending.remove(&name);
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            actor.run().await;
        });
        self.running.insert(name, Running { object: instance, wanted, stop, task });
        true
    }

    /// Returns whether there was one.
    fn remove(&mut self, name: &str) -> bool {
        let Some(running) = self.running.remove(name) else { return false };
        running.stop.send_replace(Stop::Removed);
        self.ending.retain(|_, task| !task.is_finished());
        self.ending.insert(name.to_owned(), running.task);
        true
    }

    fn keep_only(&mut self, listed: &[String]) {
        let gone: Vec<String> = self.running.keys().filter(|name| !listed.contains(name)).cloned().collect();
        for name in gone {
            self.remove(&name);
        }
    }

    fn remember(&self) {
        if let Some(path) = &self.shared.options.memory {
            memory::write(path, self.running.values().map(|running| &running.object));
        }
    }

    /// Drains everything side by side.
    async fn drain(self) {
        for running in self.running.values() {
            running.stop.send_replace(Stop::Drain);
        }
        let actors = self.running.into_values().map(|running| running.task).chain(self.ending.into_values());
        let builtin = self.shared.builtin.shutdown(self.shared.options.drain);
        let _ = tokio::join!(futures::future::join_all(actors), builtin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_watch_fails_of_is_said_in_words() {
        let refused = |code| {
            let status = kube::core::Status { code, message: "no".to_owned(), ..Default::default() };
            why(&watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status))))
        };
        assert_eq!(refused(500), "no");
        assert!(refused(403).starts_with("no; `foregate node renew`"));
        assert_eq!(refused(401), refused(403));
        let cause = std::io::Error::other("certificate");
        let error = watcher::Error::WatchStartFailed(kube::Error::Service(Box::new(cause)));
        assert_eq!(why(&error), "certificate");
    }
}
