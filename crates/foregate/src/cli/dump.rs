//! `foregate config dump`: what a gateway's engines are configured with, and how far each of them is.

use std::process::ExitCode;

use clap::Args;
use foregate_api::instance::{EngineState, EngineStatus};
use foregate_api::{GatewayBackend, GatewayInstance};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde::Serialize;

use super::api::{ApiArgs, block_on};
use super::backends::Backends;
use super::config_api::{self, PublishedResource};
use super::error::{CliError, Ended};
use super::gateway::{self, GatewayName};
use super::output::{OutputArgs, age, count};
use super::table::{BAD, Cell, DIM, GOOD, STRONG, Table, WARN, styled, width};

/// Flags of `foregate config dump`.
#[derive(Args, Debug)]
pub struct DumpArgs {
    /// NAMESPACE/NAME of a Gateway or of a GatewayProxy.
    #[arg(value_name = "GATEWAY")]
    gateway: String,
    /// Only this GatewayInstance.
    #[arg(long, value_name = "INSTANCE")]
    instance: Option<String>,
    /// Only this kind of resource, e.g. `listener`, `virtualhost`, `cluster`.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    api: ApiArgs,
}

/// What is known of a gateway's configuration.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Dump {
    /// The gateway.
    #[serde(flatten)]
    name: GatewayName,
    /// Its instances.
    instances: Vec<InstanceState>,
    /// What they are configured with.
    resources: Vec<PublishedResource>,
}

/// How far an instance is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceState {
    /// Its name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// What it runs on.
    pub engine: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Whether it serves: it has applied the whole configuration, but for what it refused.
    pub ready: bool,
    /// The Envoy that runs, for how long, and how often it was replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// Why its engine doesn't run.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Resources that it has refused, each as kind and name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<(String, String)>,
    /// What it said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub refusal: String,
    /// When. It may have taken the resource since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_at: Option<Time>,
}

impl InstanceState {
    /// As its GatewayInstance says it.
    pub fn of(instance: &GatewayInstance) -> Self {
        let status = instance.status.clone().unwrap_or_default();
        let kind = |url: &str| url.rsplit('.').next().unwrap_or(url).to_owned();
        let engine = status.engine.as_ref();
        let state = engine.filter(|engine| engine.state != EngineState::Running);
        let refused_at = status.last_nack.as_ref().map(|nack| nack.time.clone());
        let (refused, refusal) = match status.last_nack {
            Some(nack) => {
                let kind = kind(&nack.type_url);
                (nack.resources.into_iter().map(|name| (kind.clone(), name)).collect(), nack.message)
            }
            None => (Vec::new(), String::new()),
        };
        Self {
            name: instance.name_any(),
            node: instance.spec.node.clone(),
            engine: instance.spec.engine.clone(),
            connected: status.connected,
            ready: status.ready,
            process: engine.and_then(process),
            message: state.map(|engine| format!("{:?}: {}", engine.state, engine.message)).unwrap_or_default(),
            refused,
            refusal,
            refused_at,
        }
    }

    fn state(&self) -> Cell {
        match (self.ready, self.connected, self.refused.is_empty()) {
            (true, _, true) => Cell::new("applied all", GOOD),
            (true, _, false) => Cell::new("applied all but what it refused", WARN),
            (false, true, _) => Cell::new("applying", WARN),
            (false, false, _) => Cell::new("not connected", BAD),
        }
    }
}

/// How an engine that has a process of its own runs; none: it doesn't.
fn process(engine: &EngineStatus) -> Option<String> {
    engine.pid.filter(|_| engine.state == EngineState::Running)?;
    let replaced = match engine.restarts {
        0 => String::new(),
        restarts => format!(", was replaced {}", count(restarts as usize, "time")),
    };
    Some(format!("{}, up {}{replaced}", engine.name, age(engine.since.0)))
}

/// Runs it. Without a table everything is printed.
///
/// # Errors
/// When there is no such gateway or instance, or the API can't be read.
pub fn run(args: &DumpArgs) -> Ended {
    block_on(async {
        let api = args.api.connect().await?;
        let name = gateway::find(&api, &args.gateway).await?;
        let instances: Vec<GatewayInstance> = api.list().await?;
        let ours = instances.iter().filter(|instance| instance.spec.proxy == name.proxy).map(InstanceState::of);
        let ours = only(ours.collect(), args.instance.as_deref(), &name)?;
        let mut resources = config_api::read(&api, &name.proxy).await?.resources;
        if let Some(kind) = &args.kind {
            let wanted = kind.to_lowercase().replace(['-', '_'], "");
            resources.retain(|resource| {
                let kind = resource.kind().to_lowercase();
                kind == wanted || format!("{kind}s") == wanted
            });
        }
        let dump = Dump { name, instances: ours, resources };
        let backends = Backends::of(&api.list::<GatewayBackend>().await?);
        args.output.output.print(&dump, || render(&dump, &backends))?;
        Ok(ExitCode::SUCCESS)
    })
}

fn only(
    instances: Vec<InstanceState>,
    wanted: Option<&str>,
    gateway: &GatewayName,
) -> Result<Vec<InstanceState>, CliError> {
    let Some(wanted) = wanted else { return Ok(instances) };
    let known: Vec<String> = instances.iter().map(|instance| instance.name.clone()).collect();
    let found: Vec<InstanceState> = instances.into_iter().filter(|it| it.name == wanted || it.node == wanted).collect();
    if found.is_empty() {
        let message = format!("gateway {} has no instance {wanted}", gateway.display());
        return Err(CliError::failed(message, format!("it has: {}", known.join(", "))));
    }
    Ok(found)
}

fn render(dump: &Dump, backends: &Backends) -> String {
    let mut text = format!("{}  {}\n\n", styled(STRONG, dump.name.display()), styled(DIM, dump.name.proxy_name()));
    let mut table = Table::new(["instance", "node", "engine", "state"]);
    for instance in &dump.instances {
        let (name, node, engine) = (instance.name.as_str(), instance.node.as_str(), instance.engine.as_str());
        table.row([name.into(), node.into(), engine.into(), instance.state()]);
    }
    text.push_str(&table.render(width()));
    for instance in dump.instances.iter().filter(|instance| !instance.message.is_empty()) {
        text.push_str(&format!("{} {}\n", styled(BAD, format!("{}:", instance.name)), instance.message));
    }
    text.push('\n');
    let mut table = Table::new(["kind", "name", "version", ""]);
    for resource in &dump.resources {
        let id = (resource.kind().to_owned(), resource.name.clone());
        let refused = dump.instances.iter().find(|instance| instance.refused.contains(&id));
        let said = refused.map(|it| {
            let when = it.refused_at.as_ref().map(|at| format!(" {} ago", age(at.0))).unwrap_or_default();
            Cell::new(format!("last refused{when} by {}: {}", it.name, it.refusal.trim_end()), WARN)
        });
        table.row([
            Cell::from(resource.kind()),
            // A cluster's own name is made of UIDs: whose it is tells more.
            backends.owner(resource.kind(), &resource.name).unwrap_or(&resource.name).into(),
            Cell::new(resource.version.as_str(), DIM),
            said.unwrap_or_default(),
        ]);
    }
    if table.is_empty() {
        text.push_str("it has no configuration yet\n");
    } else {
        text.push_str(&table.render(width()));
        text.push_str(&format!("\n{}\n", styled(DIM, "-o yaml prints the resources themselves")));
    }
    text
}
