//! A conversation with one stream, without I/O.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foregate_envoy::{Delta, Resource, ResourceId, ResourceKind};
use foregate_xds::Options;
use foregate_xds::store::Store;
use foregate_xds::stream::{Names, Output, Profile, Request, Response, Stream};

pub const DRAIN: Duration = Duration::from_secs(30);
pub const NEED_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Talk {
    pub store: Store,
    pub stream: Stream,
    pub progress: Option<u64>,
    pub nacked: Vec<(ResourceId, String)>,
    pub recovered: Vec<ResourceId>,
    profile: Profile,
    now: Instant,
    responses: Vec<Response>,
}

impl Talk {
    pub fn new(profile: Profile) -> Self {
        let options =
            Options { drain: DRAIN, need_timeout: NEED_TIMEOUT, max_response_bytes: 4096, ..Options::default() };
        let now = Instant::now();
        Self {
            store: Store::new(),
            stream: Stream::new(profile, &options, now),
            progress: None,
            nacked: Vec::new(),
            recovered: Vec::new(),
            profile,
            now,
            responses: Vec::new(),
        }
    }

    pub fn vhds() -> Self {
        Self::new(Profile { delta: true, vhds: true })
    }

    pub fn delta() -> Self {
        Self::new(Profile { delta: true, vhds: false })
    }

    pub fn sotw() -> Self {
        Self::new(Profile { delta: false, vhds: false })
    }

    pub fn apply(&mut self, set: impl IntoIterator<Item = Resource>, remove: &[(ResourceKind, &str)]) {
        let remove = remove.iter().map(|(kind, name)| ResourceId::new(*kind, *name)).collect();
        let changed = self.store.apply(Delta { set: set.into_iter().collect(), remove });
        let sequence = self.store.sequence();
        self.stream.changed(&self.store, changed.into_iter().map(|id| (id, sequence)).collect());
        self.advance();
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.advance();
    }

    fn advance(&mut self) {
        self.stream.advance(&self.store, self.now);
        for output in self.stream.take() {
            match output {
                Output::Response(response) => self.responses.push(response),
                Output::Progress(applied) => self.progress = Some(applied),
                Output::Nacked { id, message, .. } => self.nacked.push((id, message)),
                Output::Recovered { id, .. } => self.recovered.push(id),
            }
        }
    }

    pub fn request(&mut self, request: Request) {
        self.stream.request(&self.store, request);
        self.advance();
    }

    pub fn subscribe(&mut self, kind: ResourceKind, names: &[&str]) {
        self.resume(kind, names, &[]);
    }

    pub fn resume(&mut self, kind: ResourceKind, names: &[&str], initial: &[(&str, &str)]) {
        let names: Vec<Arc<str>> = names.iter().map(|name| (*name).into()).collect();
        let initial: HashMap<Arc<str>, Arc<str>> =
            initial.iter().map(|(name, version)| ((*name).into(), (*version).into())).collect();
        let names = match self.profile.delta {
            true => Names::Change { subscribe: names, unsubscribe: vec![], initial },
            false => Names::All(names),
        };
        self.request(Request { kind, names, nonce: String::new(), error: None });
    }

    pub fn unsubscribe(&mut self, kind: ResourceKind, names: &[&str]) {
        let unsubscribe = names.iter().map(|name| (*name).into()).collect();
        let names = Names::Change { subscribe: vec![], unsubscribe, initial: HashMap::new() };
        self.request(Request { kind, names, nonce: String::new(), error: None });
    }

    /// Answers a response; in state of the world with the names that stay subscribed.
    pub fn answer(&mut self, response: &Response, names: &[&str], error: Option<&str>) {
        let names = match self.profile.delta {
            true => Names::Change { subscribe: vec![], unsubscribe: vec![], initial: HashMap::new() },
            false => Names::All(names.iter().map(|name| (*name).into()).collect()),
        };
        let (kind, nonce, error) = (response.kind, response.nonce.clone(), error.map(str::to_owned));
        self.request(Request { kind, names, nonce, error });
    }

    pub fn ack(&mut self, response: &Response) {
        self.answer(response, &[], None);
    }

    pub fn nack(&mut self, response: &Response) {
        self.answer(response, &[], Some("no"));
    }

    /// The only response that has come since the last look.
    #[track_caller]
    pub fn one(&mut self) -> Response {
        let mut all = std::mem::take(&mut self.responses);
        assert_eq!(all.len(), 1, "one response: {all:?}");
        all.pop().unwrap()
    }

    /// All responses that have come since the last look.
    pub fn stream_responses(&mut self) -> Vec<Response> {
        std::mem::take(&mut self.responses)
    }

    /// The oldest response, acknowledged; as text.
    pub fn stream_response(&mut self) -> String {
        let response = self.responses.remove(0);
        self.ack(&response);
        show(&response)
    }

    #[track_caller]
    pub fn nothing(&mut self) {
        assert_eq!(self.responses, [], "no response");
    }

    /// As [`Talk::one`], acknowledged; as text.
    #[track_caller]
    pub fn take(&mut self) -> String {
        let response = self.one();
        let text = show(&response);
        let names: Vec<Arc<str>> = response.resources.iter().map(|sent| sent.name.clone()).collect();
        let names: Vec<&str> = match response.kind {
            ResourceKind::Cluster | ResourceKind::Listener => vec![],
            _ => names.iter().map(|name| &**name).collect(),
        };
        self.answer(&response, &names, None);
        text
    }
}

/// `Kind +set -removed`.
pub fn show(response: &Response) -> String {
    let mut set: Vec<_> = response.resources.iter().map(|sent| format!(" +{}", sent.name)).collect();
    set.sort();
    let removed: String = response.removed.iter().map(|name| format!(" -{name}")).collect();
    format!("{:?}{}{removed}", response.kind, set.concat())
}
