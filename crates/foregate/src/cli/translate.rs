//! `foregate translate`: what becomes of objects in files, without a server.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use foregate_attach::Derived;
use serde_json::{Value, json};

use super::error::{CliError, Ended};
use super::manifests::{self, Mistake};
use super::offline::World;
use super::output;
use crate::EXIT_FAILURE;

/// Flags of `foregate translate`.
#[derive(Args, Debug)]
pub struct TranslateArgs {
    /// Files with Gateways, routes, Services, EndpointSlices, Secrets; directories; or `-` for stdin.
    #[arg(long = "file", short = 'f', required = true, num_args = 1.., value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How far to go.
    #[arg(long, value_enum, default_value_t, value_name = "STAGE")]
    stage: Stage,
    /// In which form.
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    output: Text,
}

/// Where to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// Objects for the platform, every reference resolved, and statuses of the users' objects.
    Attach,
    /// The intermediate representation: what each gateway is.
    Ir,
    /// Envoy's configuration.
    #[default]
    Xds,
}

/// Forms without a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Text {
    /// YAML, one document per item.
    #[default]
    Yaml,
    /// JSON, one list.
    Json,
}

/// Runs it. Exit code 1: something is wrong with the objects; what is right is printed all the same.
///
/// # Errors
/// When a file can't be read.
pub fn run(args: &TranslateArgs) -> Ended {
    let documents = manifests::read(&args.files)?;
    let world = World::of(&documents)?;
    let items = match args.stage {
        Stage::Attach => attached(&world)?,
        Stage::Ir => represented(&world)?,
        Stage::Xds => configured(&world),
    };
    anstream::print!("{}", print(&items, args.output)?);
    Ok(tell(&world.notes, &world.mistakes))
}

/// Prints notes and mistakes on stderr.
pub fn tell(notes: &[Mistake], mistakes: &[Mistake]) -> ExitCode {
    let dim = super::table::DIM;
    for note in notes {
        anstream::eprintln!("{dim}note: {note}{dim:#}");
    }
    let bad = super::table::BAD.bold();
    for mistake in mistakes {
        anstream::eprintln!("{bad}problem:{bad:#} {mistake}");
    }
    if mistakes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) }
}

/// Items with what they are.
type Items = Vec<(String, Value)>;

fn print(items: &Items, form: Text) -> Result<String, CliError> {
    if form == Text::Json {
        return output::json(&items.iter().map(|(_, item)| item).collect::<Vec<_>>());
    }
    let mut text = String::new();
    for (at, (title, item)) in items.iter().enumerate() {
        text.push_str(if at > 0 { "---\n# " } else { "# " });
        text.push_str(title);
        text.push('\n');
        text.push_str(&output::yaml(item)?);
    }
    Ok(text)
}

fn value<T: serde::Serialize>(item: &T) -> Result<Value, CliError> {
    serde_json::to_value(item)
        .map_err(|error| CliError::failed("an object can't be printed", "please report this").because(error))
}

fn attached(world: &World) -> Result<Items, CliError> {
    let mut items = Vec::new();
    for derived in &world.derived {
        let item = match derived {
            Derived::Secret(it) => redacted(value(&**it)?),
            Derived::Slice(it) => value(&**it)?,
            Derived::Backend(it) => value(&**it)?,
            Derived::Claim(it) => value(&**it)?,
            Derived::Route(it) => value(&**it)?,
        };
        items.push((format!("for the platform: {}", derived.name()), item));
    }
    for status in &world.statuses {
        let (kind, key) = (status.kind.as_str(), &status.key);
        let metadata = match &*key.namespace {
            "" => json!({ "name": &*key.name }),
            namespace => json!({ "namespace": namespace, "name": &*key.name }),
        };
        let item = json!({ "kind": kind, "metadata": metadata, "status": status.status });
        items.push((format!("for the user: status of {kind} {key}"), item));
    }
    Ok(items)
}

/// A Secret without what is secret.
fn redacted(mut secret: Value) -> Value {
    for value in secret["data"].as_object_mut().into_iter().flat_map(|data| data.values_mut()) {
        *value = foregate_envoy::REDACTED.into();
    }
    secret
}

fn represented(world: &World) -> Result<Items, CliError> {
    let mut items = Vec::new();
    for (name, proxy) in &world.gateways {
        let ir = value(&world.translator.ir(proxy))?;
        items.push((format!("gateway {name}"), json!({ "gateway": name, "infra": ir["infra"], "xds": ir["xds"] })));
    }
    Ok(items)
}

/// What is left out becomes text of a `DataSource`, so that the message is one still.
fn as_source(value: &mut Value) {
    for (name, value) in value.as_object_mut().into_iter().flatten() {
        if *value == foregate_envoy::REDACTED && name == "private_key" {
            *value = json!({ "inline_string": foregate_envoy::REDACTED });
        } else {
            as_source(value);
        }
    }
}

/// Each message as an Any: `foregate validate` reads them.
fn configured(world: &World) -> Items {
    let mut items = Vec::new();
    for (name, proxy) in &world.gateways {
        for resource in world.translator.resources(proxy) {
            let mut body = foregate_envoy::to_json(resource.id.kind, &resource.body).unwrap_or_default();
            as_source(&mut body);
            let mut any = serde_json::Map::new();
            any.insert("@type".to_owned(), resource.id.kind.type_url().into());
            any.extend(body.as_object().cloned().unwrap_or_default());
            items.push((format!("gateway {name}: {:?}", resource.id), Value::Object(any)));
        }
    }
    items
}
