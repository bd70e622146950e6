//! ConfigRevisions: what was published, written down after the fact, never in a change's path.
//!
//! The pipeline sends a [`Record`] per published step. One task gathers them per gateway (`chain`) and writes at most
//! one revision a second for each: steps in between become one. If the API is away, steps wait and grow together. Nobody
//! is woken for a step while another one waits to be written: it is taken in with that one ([`Records`]).

mod chain;
mod pinned;
mod records;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use foregate_api::Origin;
use foregate_api::address::ProxyRef;
use foregate_api::revision::{ConfigRevision, Refusal};
use jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Client, ResourceExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Clients;
use chain::Chain;
pub(crate) use pinned::{Ask, Content, Rebuilt};
use records::Next;
pub(crate) use records::{Recorder, Records, channel};

/// One step in a gateway's configuration.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The gateway.
    pub proxy: ProxyRef,
    /// UID of its GatewayProxy.
    pub uid: Option<String>,
    /// Published when the platform started: nothing has happened, unless something did while it was away.
    pub baseline: bool,
    /// The users' objects that caused it.
    pub causes: Vec<Origin>,
    /// What changed, with what was before.
    pub changes: Vec<foregate_translate::ResourceChange>,
    /// What was refused.
    pub refusals: Vec<Refusal>,
}

/// What the pipeline says.
#[derive(Debug)]
pub(crate) enum Record {
    Step(Box<Step>),
    /// A gateway is to be held at a revision, which is kept.
    Ask(Box<Ask>),
    /// A gateway isn't held at a revision any more.
    Unpinned(ProxyRef),
    /// A gateway is no more.
    Gone(ProxyRef),
}

/// An encoded resource (type URL, message) as JSON; none if it can't be read.
pub type TextOf = fn(type_url: &str, body: &[u8]) -> Option<String>;

/// The inverse of a [`TextOf`]: JSON as an encoded message; none if it can't be read, or if something secret was left
/// out of it.
pub type BodyOf = fn(type_url: &str, text: &str) -> Option<Vec<u8>>;

/// How resources become texts, and texts resources again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Texts {
    pub to_text: TextOf,
    pub to_body: BodyOf,
}

/// Writes revisions until the pipeline ends, and then what is left; answers what revisions were.
pub(crate) async fn keep(
    clients: Clients,
    namespace: Option<String>,
    texts: Texts,
    mut records: Records,
    answers: mpsc::UnboundedSender<Rebuilt>,
    shutdown: CancellationToken,
) {
    let Clients { client, durable } = clients;
    let text = texts.to_text;
    let Some(mut chains) = read_all(&client, namespace.as_deref(), &shutdown).await else { return };
    loop {
        let due = chains.values().filter_map(Chain::due).min();
        match records.next(due, &shutdown).await {
            Next::Record(record) => {
                // What a pinned revision was can't be derived again.
                let client = if matches!(record, Record::Ask(_)) { &durable } else { &client };
                take(client, &mut chains, record, texts, &answers).await;
            }
            // The pipeline has ended and all that it said is taken in.
            Next::End => return write_due(&client, &mut chains, text, |_| true).await,
            Next::Due => {
                let now = Instant::now();
                write_due(&client, &mut chains, text, |at| at <= now).await;
            }
        }
    }
}

async fn take(
    client: &Client,
    chains: &mut HashMap<ProxyRef, Chain>,
    record: Record,
    texts: Texts,
    answers: &mpsc::UnboundedSender<Rebuilt>,
) {
    match record {
        Record::Step(step) => {
            let chain = chains.entry(step.proxy.clone()).or_default();
            let (proxy, baseline) = (step.proxy.clone(), step.baseline);
            chain.absorb(*step, Instant::now());
            if baseline {
                // Unpinned while the platform was away.
                remove(client, &proxy, chain.take_surplus()).await;
            }
        }
        Record::Ask(ask) => {
            let chain = chains.entry(ask.proxy.clone()).or_default();
            // The pipeline ends only with us.
            let _ = answers.send(pinned::answer(client, chain, *ask, texts).await);
        }
        Record::Unpinned(proxy) => {
            if let Some(chain) = chains.get_mut(&proxy) {
                pinned::unpin(client, chain, &proxy).await;
            }
        }
        Record::Gone(proxy) => {
            if let Some(chain) = chains.remove(&proxy) {
                remove(client, &proxy, chain.names()).await;
            }
        }
    }
}

async fn write_due(
    client: &Client,
    chains: &mut HashMap<ProxyRef, Chain>,
    text: TextOf,
    is_due: impl Fn(Instant) -> bool,
) {
    for (proxy, chain) in chains.iter_mut().filter(|(_, chain)| chain.due().is_some_and(&is_due)) {
        write(client, proxy, chain, text).await;
    }
}

async fn write(client: &Client, proxy: &ProxyRef, chain: &mut Chain, text: TextOf) {
    let api: Api<ConfigRevision> = Api::namespaced(client.clone(), &proxy.namespace);
    for draft in chain.drafts(proxy, Timestamp::now(), text) {
        match api.create(&PostParams::default(), &draft.revision).await {
            Ok(_) => chain.written(draft, Instant::now()),
            Err(kube::Error::Api(status)) if status.code == 409 => return chain.skip_number(Instant::now()),
            Err(error) => {
                tracing::warn!(proxy = proxy.name, %error, "a ConfigRevision couldn't be written; it is tried again");
                return chain.failed(Instant::now());
            }
        }
    }
    remove(client, proxy, chain.take_surplus()).await;
}

async fn remove(client: &Client, proxy: &ProxyRef, names: Vec<String>) {
    let api: Api<ConfigRevision> = Api::namespaced(client.clone(), &proxy.namespace);
    for name in names {
        match api.delete(&name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            // Its owner is the GatewayProxy, with which it goes in the end.
            Err(error) => tracing::warn!(name, %error, "an old ConfigRevision couldn't be deleted"),
        }
    }
}

/// Revisions of one gateway without an API, for tests: what [`keep`] would write, and what it would answer.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Book {
    chain: Chain,
    pub(crate) written: Vec<ConfigRevision>,
}

#[cfg(test)]
impl Book {
    /// Takes a record; a step is written at once.
    pub(crate) fn take(&mut self, record: Record, texts: Texts) -> Option<Rebuilt> {
        match record {
            Record::Step(step) => {
                let proxy = step.proxy.clone();
                self.chain.absorb(*step, Instant::now());
                if self.chain.due().is_some() {
                    for draft in self.chain.drafts(&proxy, Timestamp::UNIX_EPOCH, texts.to_text) {
                        self.written.push(draft.revision.clone());
                        self.chain.written(draft, Instant::now());
                    }
                }
            }
            Record::Ask(ask) => {
                let resources = pinned::made(&self.chain, self.written.clone(), &ask, texts);
                let resources = resources.map_err(|error| error.to_string());
                return Some(Rebuilt { proxy: ask.proxy, revision: ask.revision, resources });
            }
            Record::Unpinned(_) | Record::Gone(_) => {}
        }
        None
    }
}

/// The revisions that there are; none: shutdown.
async fn read_all(
    client: &Client,
    namespace: Option<&str>,
    shutdown: &CancellationToken,
) -> Option<HashMap<ProxyRef, Chain>> {
    let api: Api<ConfigRevision> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let mut wait = Duration::from_millis(100);
    loop {
        match api.list(&ListParams::default()).await {
            Ok(list) => return Some(sort(list.items)),
            Err(error) => tracing::warn!(%error, "ConfigRevisions couldn't be read; it is tried again"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return None,
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(30)),
        }
    }
}

fn sort(mut revisions: Vec<ConfigRevision>) -> HashMap<ProxyRef, Chain> {
    revisions.sort_by_key(|revision| revision.spec.number);
    let mut chains: HashMap<ProxyRef, Chain> = HashMap::new();
    for revision in revisions {
        let namespace = revision.namespace().unwrap_or_default();
        chains.entry(ProxyRef { namespace, name: revision.spec.proxy.clone() }).or_default().recall(&revision);
    }
    chains
}
