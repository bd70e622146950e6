//! A delta client in the process of the cache: what [`crate::Client`] is over a socket, without what a socket costs.
//!
//! The stream's state machine runs where its client does: a change of the cache wakes the client, and nobody else, and
//! its acknowledgement is in the cache's events at once.

use std::collections::VecDeque;
use std::sync::Arc;

use foregate_envoy::ResourceKind;
use tokio_util::sync::CancellationToken;

use crate::cache::{Cache, Inbox};
use crate::client::{ClientError, ClientResource, Response};
use crate::dialogue::{Dialogue, TooMany};
use crate::event::Instance;
use crate::session::sleep_until;
use crate::stream::{Names, Profile, Request, Sent};

/// Where a client of an instance can be opened.
#[derive(Clone, Debug)]
pub struct Endpoint {
    cache: Cache,
    instance: Instance,
    stop: CancellationToken,
}

impl Endpoint {
    /// Of an instance's group in `cache`, until `stop`.
    pub fn new(cache: Cache, instance: Instance, stop: CancellationToken) -> Self {
        Self { cache, instance, stop }
    }

    /// Opens a stream that takes virtual hosts one by one. Once it is over, this waits for good: clients keep what they
    /// have.
    pub async fn connect(&self) -> Local {
        if self.stop.is_cancelled() {
            return std::future::pending().await;
        }
        let dialogue = Dialogue::new(&self.cache, &self.instance, Profile { delta: true, vhds: true });
        let inbox = dialogue.inbox();
        Local { dialogue, inbox, responses: VecDeque::new(), asked: false, stop: self.stop.clone() }
    }
}

/// A delta stream. Its methods mean what [`crate::Client`]'s do; it doesn't end before its endpoint does, so that there
/// is nothing to resume.
#[derive(Debug)]
pub struct Local {
    dialogue: Dialogue,
    inbox: Arc<Inbox>,
    responses: VecDeque<Response>,
    /// Requests are to be looked at.
    asked: bool,
    stop: CancellationToken,
}

impl Local {
    /// Subscribes to names of a kind.
    ///
    /// # Errors
    /// When it is over.
    pub fn subscribe(&mut self, kind: ResourceKind, names: Vec<String>) -> Result<(), ClientError> {
        self.ask(kind, names, Vec::new(), String::new(), None)
    }

    /// Unsubscribes.
    ///
    /// # Errors
    /// When it is over.
    pub fn unsubscribe(&mut self, kind: ResourceKind, names: Vec<String>) -> Result<(), ClientError> {
        self.ask(kind, Vec::new(), names, String::new(), None)
    }

    /// Acknowledges a response: all of it is in place.
    ///
    /// # Errors
    /// When it is over.
    pub fn ack(&mut self, response: &Response) -> Result<(), ClientError> {
        self.ask(response.kind, Vec::new(), Vec::new(), response.nonce.clone(), None)
    }

    /// Refuses a response; what was good of it may be in place.
    ///
    /// # Errors
    /// When it is over.
    pub fn nack(&mut self, response: &Response, message: &str) -> Result<(), ClientError> {
        self.ask(response.kind, Vec::new(), Vec::new(), response.nonce.clone(), Some(message.to_owned()))
    }

    /// The next response. May be cancelled: none is lost.
    ///
    /// # Errors
    /// When it is over.
    pub async fn next(&mut self) -> Result<Response, ClientError> {
        loop {
            if self.stop.is_cancelled() {
                return Err(ClientError::Closed);
            }
            if std::mem::take(&mut self.asked) {
                self.step();
            }
            if let Some(response) = self.responses.pop_front() {
                return Ok(response);
            }
            tokio::select! {
                () = self.inbox.notify.notified() => {}
                () = sleep_until(self.dialogue.deadline()) => {}
                () = self.stop.cancelled() => {}
            }
            self.asked = true;
        }
    }

    fn step(&mut self) {
        let (responses, _) = self.dialogue.step();
        self.responses.extend(responses.into_iter().map(response));
    }

    fn ask(
        &mut self,
        kind: ResourceKind,
        subscribe: Vec<String>,
        unsubscribe: Vec<String>,
        nonce: String,
        error: Option<String>,
    ) -> Result<(), ClientError> {
        let arcs = |names: Vec<String>| names.into_iter().map(Into::into).collect();
        let names =
            Names::Change { subscribe: arcs(subscribe), unsubscribe: arcs(unsubscribe), initial: Default::default() };
        self.asked = true;
        self.dialogue.request(Some(Request { kind, names, nonce, error })).map_err(|TooMany| ClientError::Closed)
    }
}

fn response(response: crate::stream::Response) -> Response {
    let resource =
        |sent: Sent| ClientResource { name: sent.name.to_string(), version: sent.version.to_string(), body: sent.body };
    Response {
        kind: response.kind,
        set: response.resources.into_iter().map(resource).collect(),
        removed: response.removed.iter().map(ToString::to_string).collect(),
        nonce: response.nonce,
    }
}
