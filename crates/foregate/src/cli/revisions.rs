//! `foregate history`, `diff`, `rollback`, `pin`, `unpin`: a gateway's configuration over time.

mod changes;
mod gone;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use foregate_api::revision::ConfigRevision;
use foregate_api::{GatewayBackend, GatewayProxy, Origin};
use foregate_platform::revisions::{self, Kept, Named, RevisionError, Summary};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde::Serialize;
use serde_json::json;

use super::api::{ApiArgs, ApiServer, block_on};
use super::backends::Backends;
use super::config_api::{self, Published};
use super::error::{CliError, Ended};
use super::gateway::{self, GatewayName};
use super::output::{OutputArgs, age, count};
use super::table::{BAD, Cell, DIM, STRONG, Table, WARN, styled, width};

/// Which gateway.
#[derive(Args, Debug)]
pub struct GatewayArgs {
    /// NAMESPACE/NAME of a Gateway or of a GatewayProxy.
    #[arg(value_name = "GATEWAY")]
    gateway: String,
    #[command(flatten)]
    api: ApiArgs,
}

/// Flags of `foregate history`.
#[derive(Args, Debug)]
pub struct HistoryArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Flags of `foregate diff`.
#[derive(Args, Debug)]
pub struct DiffArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// The revision to start from: its name, or its number.
    #[arg(value_name = "REV")]
    from: String,
    /// The revision to compare with [default: what is served now].
    #[arg(value_name = "REV")]
    to: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Flags of `foregate rollback` and `foregate pin`.
#[derive(Args, Debug)]
pub struct HoldArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// The revision: its name, or its number [default for rollback: the one before the newest; for pin: the newest].
    #[arg(value_name = "REV")]
    revision: Option<String>,
    /// Even if Services that the revision sends to are gone: requests to them are answered with 503.
    #[arg(long)]
    force: bool,
}

/// A gateway with its revisions.
struct Chain {
    api: ApiServer,
    name: GatewayName,
    object: GatewayProxy,
    revisions: Vec<ConfigRevision>,
    backends: Backends,
}

impl Chain {
    async fn read(args: &GatewayArgs) -> Result<Self, CliError> {
        let api = args.api.connect().await?;
        let name = gateway::find(&api, &args.gateway).await?;
        let proxies: Api<GatewayProxy> = Api::namespaced(api.client.clone(), &name.proxy.namespace);
        let object = proxies.get(&name.proxy.name).await.map_err(|error| api.explain(error, "reading the gateway"))?;
        let revisions = Self::kept(&api, &name).await?;
        let backends = Backends::of(&api.list::<GatewayBackend>().await?);
        Ok(Self { api, name, object, revisions, backends })
    }

    /// The revisions of its namespace.
    async fn kept(api: &ApiServer, name: &GatewayName) -> Result<Vec<ConfigRevision>, CliError> {
        let kept: Api<ConfigRevision> = Api::namespaced(api.client.clone(), &name.proxy.namespace);
        let list = kept.list(&kube::api::ListParams::default()).await;
        Ok(list.map_err(|error| api.explain(error, "listing revisions"))?.items)
    }

    fn list(&self) -> Vec<Summary> {
        revisions::list(&self.revisions, &self.name.proxy.name)
    }

    fn pinned(&self) -> Option<&str> {
        self.object.spec.pinned_revision.as_deref().filter(|name| !name.is_empty())
    }

    /// A revision's name, by name or number.
    fn revision(&self, asked: &str) -> Result<String, CliError> {
        let list = self.list();
        let number = asked.parse::<u64>().ok();
        let found = list.iter().find(|it| it.name == asked || Some(it.number) == number);
        found.map(|it| it.name.clone()).ok_or_else(|| {
            let kept = match (list.first(), list.last()) {
                (Some(first), Some(last)) => format!("kept are {} to {}", first.number, last.number),
                _ => "none is kept yet".to_owned(),
            };
            let next = format!("{kept}; `foregate history {}` lists them", self.name.display());
            CliError::failed(format!("gateway {} has no revision {asked} (any more)", self.name.display()), next)
        })
    }

    async fn hold(&self, revision: Option<&str>) -> Result<(), CliError> {
        let proxies: Api<GatewayProxy> = Api::namespaced(self.api.client.clone(), &self.name.proxy.namespace);
        let patch = Patch::Merge(json!({ "spec": { "pinnedRevision": revision } }));
        let params = PatchParams { field_manager: Some("foregate-cli".to_owned()), ..PatchParams::default() };
        let patched = proxies.patch(&self.name.proxy.name, &params, &patch).await;
        patched.map(drop).map_err(|error| self.api.explain(error, "changing the gateway"))
    }
}

/// A revision in a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    revision: String,
    number: u64,
    time: jiff::Timestamp,
    causes: Vec<String>,
    changes: Vec<String>,
    refusals: Vec<(String, String)>,
    /// Whether the gateway is held at it.
    pinned: bool,
    /// Whether what was before it isn't known.
    cut: bool,
}

/// `foregate history`.
///
/// # Errors
/// When there is no such gateway, or the API can't be read.
pub fn history(args: &HistoryArgs) -> Ended {
    block_on(async {
        let chain = Chain::read(&args.gateway).await?;
        let entry = |it: Summary| Entry {
            pinned: chain.pinned() == Some(&it.name),
            revision: it.name,
            number: it.number,
            time: it.time,
            causes: it.causes.iter().map(|origin| cause(&chain.name, origin)).collect(),
            changes: it.changes.iter().map(|id| chain.backends.resource(id.kind(), &id.name)).collect(),
            refusals: it.refusals.iter().map(|(origin, message)| (origin.display(), message.clone())).collect(),
            cut: it.cut,
        };
        // The newest first.
        let entries: Vec<Entry> = chain.list().into_iter().rev().map(entry).collect();
        args.output.output.print(&entries, || list(&chain, &entries))?;
        Ok(ExitCode::SUCCESS)
    })
}

/// An object, or that it was the gateway itself: its template, its addresses, or a revision that it is held at.
fn cause(gateway: &GatewayName, origin: &Origin) -> String {
    let itself = origin.kind == "GatewayProxy" && origin.name == gateway.proxy.name;
    if itself { "the gateway itself".to_owned() } else { origin.display() }
}

fn list(chain: &Chain, entries: &[Entry]) -> String {
    let mut text = format!("{}  {}\n\n", styled(STRONG, chain.name.display()), styled(DIM, chain.name.proxy_name()));
    let mut table = Table::new(["rev", "age", "because of", "changed", ""]);
    for entry in entries {
        let refused = entry.refusals.iter().map(|(origin, message)| format!("refused {origin}: {message}"));
        let held = entry.pinned.then(|| "held here".to_owned());
        let cut = entry.cut.then(|| "what was before isn't known".to_owned());
        let notes: Vec<String> = held.into_iter().chain(refused).chain(cut).collect();
        table.row([
            Cell::new(entry.number.to_string(), if entry.pinned { STRONG } else { anstyle::Style::new() }),
            age(entry.time).into(),
            summary(&entry.causes, "object").into(),
            summary(&entry.changes, "resource").into(),
            Cell::new(notes.join("; "), if entry.refusals.is_empty() { WARN } else { BAD }),
        ]);
    }
    if table.is_empty() {
        return text + "no revision is kept yet: the first is written within a second of the first change\n";
    }
    text.push_str(&table.render(width()));
    text
}

/// A few by name, many by number.
fn summary(items: &[String], what: &str) -> String {
    match items {
        [] => "-".to_owned(),
        [one] => one.clone(),
        [one, two] => format!("{one}, {two}"),
        [first, ..] => format!("{first} and {}", count(items.len() - 1, &format!("more {what}"))),
    }
}

/// `foregate diff`. Exit code 1: they differ.
///
/// # Errors
/// When there is no such gateway or revision, or what lies between isn't known.
pub fn diff(args: &DiffArgs) -> Ended {
    block_on(async {
        let chain = Chain::read(&args.gateway).await?;
        let from = chain.revision(&args.from)?;
        let to = args.to.as_deref().map(|to| chain.revision(to)).transpose()?;
        let published = config_api::read(&chain.api, &chain.name.proxy).await?;
        let now = |id: &Named| present(&published, id);
        let found = revisions::diff(&chain.revisions, &chain.name.proxy.name, now, &from, to.as_deref());
        let changes = changes::of(&found.map_err(|error| lost(error, &chain.name))?, &chain.backends);
        let (from, to) = (in_words(&from), to.as_deref().map_or_else(|| "now".to_owned(), in_words));
        args.output.output.print(&changes, || changes::render(&changes, &from, &to))?;
        Ok(if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(crate::EXIT_FAILURE) })
    })
}

/// `revision 3`: the rest of its name is the gateway's.
pub fn in_words(revision: &str) -> String {
    match revision.rsplit_once('-') {
        Some((_, number)) if number.parse::<u64>().is_ok() => format!("revision {number}"),
        _ => format!("revision {revision}"),
    }
}

/// Version and text of what is served now, as revisions have them.
fn present(published: &Published, id: &Named) -> Option<(String, String)> {
    let found = published.resources.iter().find(|it| it.type_url == id.type_url && it.name == id.name)?;
    Some((found.version.clone(), found.resource.to_string()))
}

fn lost(error: RevisionError, gateway: &GatewayName) -> CliError {
    let next = format!("`foregate history {}` lists what is kept", gateway.display());
    CliError::failed(error.to_string(), next)
}

/// `foregate rollback`: holds a gateway at an earlier revision.
///
/// # Errors
/// When there is no such gateway or revision.
pub fn rollback(args: &HoldArgs) -> Ended {
    block_on(async {
        let chain = Chain::read(&args.gateway).await?;
        let revision = match &args.revision {
            Some(asked) => chain.revision(asked)?,
            None => before(&chain)?,
        };
        held_at(&chain, &revision, args.force).await
    })
}

/// The revision before the one that is served.
fn before(chain: &Chain) -> Result<String, CliError> {
    let list = chain.list();
    let served = chain.pinned().map(str::to_owned).or_else(|| list.last().map(|it| it.name.clone()));
    let at = list.iter().position(|it| Some(&it.name) == served.as_ref());
    at.and_then(|at| at.checked_sub(1)).and_then(|at| list.get(at)).map(|it| it.name.clone()).ok_or_else(|| {
        let message = format!("gateway {} has no revision before the one that is served", chain.name.display());
        CliError::failed(message, format!("`foregate history {}` lists what is kept", chain.name.display()))
    })
}

/// `foregate pin`: holds a gateway at a revision, the present one by default.
///
/// # Errors
/// When there is no such gateway or revision.
pub fn pin(args: &HoldArgs) -> Ended {
    block_on(async {
        let chain = Chain::read(&args.gateway).await?;
        let newest = || chain.list().last().map(|it| it.name.clone());
        let revision = match &args.revision {
            Some(asked) => chain.revision(asked)?,
            None => newest().ok_or_else(|| {
                let message = format!("gateway {} has no revision yet", chain.name.display());
                CliError::failed(message, "wait a second: the first is written after the first change")
            })?,
        };
        held_at(&chain, &revision, args.force).await
    })
}

/// A revision is written within a second of what it tells: so long the newest may be missing.
const WRITTEN_WITHIN: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(250);

async fn held_at(chain: &Chain, revision: &str, force: bool) -> Ended {
    match rebuilt(chain, revision).await {
        Ok(kept) if !force => gone::check(chain, revision, &kept).await?,
        Ok(_) => {}
        // What a held gateway serves may be in no step: the platform has it whole, or says that it hasn't.
        Err(_) if chain.pinned().is_some() => {}
        Err(error) => return Err(error),
    }
    chain.hold(Some(revision)).await?;
    let gateway = chain.name.display();
    anstream::println!("{gateway} is held at {}", styled(STRONG, in_words(revision)));
    let dim = "Endpoints and certificates still follow; nothing else does.";
    anstream::println!("{}", styled(DIM, dim));
    anstream::println!(
        "{}",
        styled(DIM, format!("`foregate unpin {gateway}` serves the present configuration again."))
    );
    Ok(ExitCode::SUCCESS)
}

/// The whole configuration at a revision, with all texts.
async fn rebuilt(chain: &Chain, revision: &str) -> Result<BTreeMap<Named, Kept>, CliError> {
    let deadline = Instant::now() + WRITTEN_WITHIN;
    loop {
        let published = config_api::read(&chain.api, &chain.name.proxy).await?;
        let versions = published.resources.iter();
        let now = versions
            .map(|it| (Named::new(&it.type_url, &it.name), it.version.clone()))
            .filter(|(id, _)| !matches!(id.kind(), "ClusterLoadAssignment" | "Secret"));
        let kept = Chain::kept(&chain.api, &chain.name).await?;
        match revisions::rebuild(&kept, &chain.name.proxy.name, &now.collect(), revision) {
            Ok(mut kept) => {
                for (id, kept) in kept.iter_mut().filter(|(_, kept)| kept.text.is_none()) {
                    kept.text = present(&published, id).map(|(_, text)| text);
                }
                return Ok(kept);
            }
            Err(RevisionError::Broken { .. }) if Instant::now() < deadline => tokio::time::sleep(LOOK_AGAIN).await,
            Err(error) => return Err(lost(error, &chain.name)),
        }
    }
}

/// `foregate unpin`: a gateway follows its objects again.
///
/// # Errors
/// When there is no such gateway.
pub fn unpin(args: &GatewayArgs) -> Ended {
    block_on(async {
        let chain = Chain::read(args).await?;
        match chain.pinned() {
            None => anstream::println!("{} isn't held; nothing changes", chain.name.display()),
            Some(revision) => {
                chain.hold(None).await?;
                anstream::println!(
                    "{} was held at {} and follows its objects again",
                    chain.name.display(),
                    in_words(revision)
                );
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}
