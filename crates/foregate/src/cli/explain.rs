//! `foregate explain`: which listener, route and rule takes a request, what happens, and why nothing else took it.

mod listed;
mod render;
mod url;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use foregate_api::GatewayBackend;
use foregate_envoy::Resource;
use foregate_translate::explain::{Explanation, Gateway, Outcome, Request};
use kube::ResourceExt as _;
use serde::Serialize;

use super::api::{ApiArgs, ApiServer, block_on};
use super::error::{CliError, Ended};
use super::offline::World;
use super::output::OutputArgs;
use super::{backends, config_api, gateway, manifests, translate};
use crate::EXIT_FAILURE;

/// Flags of `foregate explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// What a client asks for, e.g. `http://shop.example.com/cart?id=1`, `tls://db.example.com`, `tcp://10.0.0.1:5432`
    /// or `udp://10.0.0.1:53`. Where the host is an address, that one is dialled; `-H 'Host: …'` says another host.
    #[arg(value_name = "URL", required_unless_present = "files")]
    url: Option<String>,
    /// A header, e.g. `-H 'x-version: 2'`; may be given several times.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The method.
    #[arg(long, short = 'X', default_value = "GET", value_name = "METHOD")]
    method: String,
    /// Answer from objects in files, without a server: files, directories, or `-` for stdin.
    #[arg(long = "file", short = 'f', num_args = 1.., value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Ask this gateway only: NAMESPACE/NAME of a Gateway or of a GatewayProxy.
    #[arg(long, short = 'g', value_name = "GATEWAY")]
    gateway: Option<String>,
    /// Show so many near misses.
    #[arg(long, default_value_t = 5, value_name = "N")]
    near: usize,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    api: ApiArgs,
}

/// What one gateway does.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The gateway as people name it.
    pub gateway: String,
    /// `NAMESPACE/NAME` of its GatewayProxy.
    pub proxy: String,
    /// What happens.
    #[serde(flatten)]
    pub explanation: Explanation,
    /// Backends by the name that clusters have of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub backends: BTreeMap<String, String>,
    /// Other gateways that would take the connection too, and what they would do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<(String, String)>,
}

/// A gateway that can be asked.
struct Asked {
    name: String,
    proxy: String,
    gateway: Gateway,
}

/// Everybody who can be asked.
struct Everybody {
    gateways: Vec<Asked>,
    backends: BTreeMap<String, String>,
}

/// Runs it. Exit code 1: nobody takes the request, or it is answered with an error.
///
/// # Errors
/// When the URL isn't one, or gateways can't be read.
pub fn run(args: &ExplainArgs) -> Ended {
    let (asked, files) = what(args)?;
    let request = url::request(asked, &args.method, &args.headers)?;
    let everybody = if args.files.is_empty() {
        block_on(online(&args.api, args.gateway.as_deref()))?
    } else {
        offline(files, args.gateway.as_deref())?
    };
    if everybody.gateways.is_empty() {
        let next = "create a Gateway; `foregate status` says why those that there are don't run";
        return Err(CliError::failed("no gateway runs that could take the request", next));
    }
    let answer = ask(&everybody, &request);
    args.output.output.print(&answer, || render::answer(&answer, args.near))?;
    Ok(if is_served(&answer.explanation) { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

/// URL and files. `-f FILE… URL` takes the URL for the last file.
fn what(args: &ExplainArgs) -> Result<(&str, &[PathBuf]), CliError> {
    if let Some(url) = &args.url {
        return Ok((url, &args.files));
    }
    let last = args.files.split_last().and_then(|(last, files)| Some((last.to_str()?, files)));
    last.filter(|(last, files)| last.contains("://") && !files.is_empty()).ok_or_else(|| {
        CliError::usage("no URL is given", "write it like `foregate explain http://shop.example.com/cart -f FILE`")
    })
}

/// Whether the request gets what somebody wrote a route for.
fn is_served(answer: &Explanation) -> bool {
    let somebody_is_there = match &answer.outcome {
        Outcome::Carry { backends, .. } => backends.iter().any(|share| !share.endpoints.is_empty()),
        _ => answer.status().is_none_or(|status| status < 500 && status != 421),
    };
    answer.route.is_some() && somebody_is_there
}

fn ask(everybody: &Everybody, request: &Request) -> Answer {
    let mut answers: Vec<(&Asked, Explanation)> =
        everybody.gateways.iter().map(|asked| (asked, asked.gateway.explain(request))).collect();
    // Who listens goes before who doesn't, and who has a route before who hasn't.
    answers.sort_by_key(|(_, answer)| rank(answer));
    let listening = |answer: &Explanation| answer.listener.is_some();
    let others = answers.iter().skip(1).filter(|(_, answer)| listening(answer));
    let others = others.map(|(asked, answer)| (asked.name.clone(), render::in_short(answer))).collect();
    let mut reasons: Vec<String> = Vec::new();
    if answers.iter().all(|(_, answer)| matches!(answer.outcome, Outcome::NoListener { .. })) {
        reasons = everybody.gateways.iter().flat_map(listeners).collect();
    }
    let mut answers = answers.into_iter();
    let (asked, mut explanation) = match answers.next() {
        Some(best) => best,
        // The caller has seen to it that somebody is asked.
        None => (&everybody.gateways[0], everybody.gateways[0].gateway.explain(request)),
    };
    if let Outcome::NoListener { reason } = &mut explanation.outcome
        && !reasons.is_empty()
    {
        let place = reason.split("; ").next().unwrap_or_default().to_owned();
        *reason = format!("{place}; there are: {}", reasons.join("; "));
    }
    Answer {
        gateway: asked.name.clone(),
        proxy: asked.proxy.clone(),
        explanation,
        backends: everybody.backends.clone(),
        others,
    }
}

fn listeners(asked: &Asked) -> Vec<String> {
    asked.gateway.listeners().into_iter().map(|listener| format!("{} {listener}", asked.name)).collect()
}

fn rank(answer: &Explanation) -> u8 {
    match &answer.outcome {
        Outcome::NoListener { .. } => 4,
        Outcome::NoFilterChain { .. } => 3,
        Outcome::Refused { .. } | Outcome::NotFound { .. } => 2,
        _ if answer.route.is_none() => 1,
        _ => 0,
    }
}

fn read<'a>(name: String, proxy: String, resources: impl IntoIterator<Item = &'a Resource>) -> Result<Asked, CliError> {
    let gateway = Gateway::read(resources).map_err(|error| {
        CliError::failed(format!("the configuration of {name} can't be read"), "please report this").because(error)
    })?;
    Ok(Asked { name, proxy, gateway })
}

/// What engines really have, held revisions and refusals included; where the API doesn't tell it, what follows from the
/// platform's objects.
async fn online(args: &ApiArgs, only: Option<&str>) -> Result<Everybody, CliError> {
    let api: ApiServer = args.connect().await?;
    let all = match only {
        Some(asked) => vec![gateway::find(&api, asked).await?],
        None => gateway::all(&api).await?,
    };
    let mut gateways = Vec::new();
    let mut translator = None;
    for name in all {
        let asked = match config_api::read_if_told(&api, &name.proxy).await? {
            Some(published) => read(name.display(), name.proxy_name(), &published.encoded())?,
            None => {
                let translator = match &mut translator {
                    Some(translator) => translator,
                    none => none.insert(listed::translate(&api).await?),
                };
                read(name.display(), name.proxy_name(), translator.resources(&name.proxy))?
            }
        };
        gateways.push(asked);
    }
    let known: Vec<GatewayBackend> = api.list().await?;
    let backends = known.iter().map(|backend| (backend.name_any(), backends::display(backend))).collect();
    Ok(Everybody { gateways, backends })
}

fn offline(files: &[PathBuf], only: Option<&str>) -> Result<Everybody, CliError> {
    let world = World::of(&manifests::read(files)?)?;
    // What is wrong is said; what is right answers.
    let _ = translate::tell(&world.notes, &world.mistakes);
    let mut gateways = Vec::new();
    for (name, proxy) in &world.gateways {
        if only.is_none_or(|only| only == name || name.rsplit('/').next() == Some(only)) {
            let full = format!("{}/{}", proxy.namespace, proxy.name);
            gateways.push(read(name.clone(), full, world.translator.resources(proxy))?);
        }
    }
    Ok(Everybody { gateways, backends: world.backends() })
}
