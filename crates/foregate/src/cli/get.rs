//! `foregate get`: objects of any kind, as the API's own table, JSON or YAML.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::api::{ApiArgs, ApiServer, block_on};
use super::error::{CliError, Ended};
use super::kinds::{self, Kind};
use super::output::{self, Form, OutputArgs};
use super::table::{Cell, DIM, HEADING, Table, styled, width};

/// The API's own table.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// Flags of `foregate get`.
#[derive(Args, Debug)]
pub struct GetArgs {
    /// Kinds by name, short name or category, e.g. `gateways`, `gtw`, `httproutes,services`, `foregate`; none: what
    /// kinds there are.
    #[arg(value_name = "KIND[,KIND]")]
    kinds: Option<String>,
    /// One object, as NAME or NAMESPACE/NAME.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Only of this namespace [default: all].
    #[arg(long, short, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Only with these labels, e.g. `app=web,tier!=db`.
    #[arg(long = "selector", short = 'l', value_name = "LABELS")]
    selector: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    api: ApiArgs,
}

/// Runs it.
///
/// # Errors
/// When there is no such kind or object, or the API can't be read.
pub fn run(args: &GetArgs) -> Ended {
    block_on(async {
        let api = args.api.connect().await?;
        let known = kinds::all(&api).await?;
        let Some(asked) = &args.kinds else {
            list_kinds(&known, args.output.output)?;
            return Ok(ExitCode::SUCCESS);
        };
        let wanted = kinds::choose(&known, asked)?;
        match args.output.output {
            Form::Table => tables(&api, args, &wanted).await,
            form => objects(&api, args, &wanted, form).await,
        }
    })
}

fn list_kinds(known: &[Kind], form: Form) -> Result<(), CliError> {
    form.print(&known, || {
        let mut table = Table::new(["name", "short", "group", "kind", "in"]);
        for kind in known {
            let place = if kind.namespaced { "namespace" } else { "cluster" };
            let short = kind.short_names.join(",");
            table.row([
                kind.plural.as_str().into(),
                short.into(),
                Cell::new(kind.group.as_str(), DIM),
                kind.kind.as_str().into(),
                Cell::new(place, DIM),
            ]);
        }
        table.render(width())
    })
}

/// The path of what is asked of a kind.
fn path(kind: &Kind, args: &GetArgs) -> Result<String, CliError> {
    let (namespace, name) = named(args)?;
    let mut path = kind.path(if kind.namespaced { namespace.as_deref() } else { None });
    let mut query = Vec::new();
    match (&name, kind.namespaced && namespace.is_none()) {
        // Without a namespace it is looked for in all.
        (Some(name), true) => query.push(format!("fieldSelector=metadata.name%3D{}", encoded(name))),
        (Some(name), false) => path = format!("{path}/{}", encoded(name)),
        (None, _) => {}
    }
    query.extend(args.selector.as_ref().map(|selector| format!("labelSelector={}", encoded(selector))));
    Ok(if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) })
}

/// Namespace and name.
fn named(args: &GetArgs) -> Result<(Option<String>, Option<String>), CliError> {
    match args.name.as_deref().map(|name| name.split_once('/')) {
        Some(Some((namespace, name))) => match &args.namespace {
            Some(other) if other != namespace => {
                let message = format!("--namespace {other} isn't the namespace of {namespace}/{name}");
                Err(CliError::usage(message, "leave one of them out"))
            }
            _ => Ok((Some(namespace.to_owned()), Some(name.to_owned()))),
        },
        _ => Ok((args.namespace.clone(), args.name.clone())),
    }
}

fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|b| if plain(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

async fn tables(api: &ApiServer, args: &GetArgs, wanted: &[&Kind]) -> Ended {
    let mut sections = Vec::new();
    for kind in wanted {
        let answer = api.get_json(&path(kind, args)?, TABLE).await?;
        let table = table(&answer, kind.namespaced && args.namespace.is_none());
        if !table.is_empty() {
            sections.push((kind.kind.clone(), table.render(width())));
        }
    }
    if sections.is_empty() {
        return nothing(args, wanted);
    }
    let titled = sections.len() > 1;
    for (at, (title, text)) in sections.iter().enumerate() {
        if titled {
            let gap = if at > 0 { "\n" } else { "" };
            anstream::println!("{gap}{}", styled(HEADING, title));
        }
        anstream::print!("{text}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The API's table; columns of lower priority are left out.
fn table(answer: &Value, with_namespace: bool) -> Table {
    let items = |field: &str| answer[field].as_array().cloned().unwrap_or_default();
    let shown: Vec<(usize, String)> = items("columnDefinitions")
        .iter()
        .enumerate()
        .filter(|(_, column)| column["priority"].as_i64().unwrap_or(0) == 0)
        .map(|(at, column)| (at, column["name"].as_str().unwrap_or_default().to_owned()))
        .collect();
    let namespace = with_namespace.then(|| "namespace".to_owned());
    let mut table = Table::new(namespace.into_iter().chain(shown.iter().map(|(_, name)| name.clone())));
    for row in items("rows") {
        let text = |at: usize| match &row["cells"][at] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let namespace = row["object"]["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let first = with_namespace.then(|| Cell::new(namespace, DIM));
        table.row(first.into_iter().chain(shown.iter().map(|(at, _)| Cell::from(text(*at)))));
    }
    table
}

fn nothing(args: &GetArgs, wanted: &[&Kind]) -> Ended {
    let kinds: Vec<&str> = wanted.iter().map(|kind| kind.plural.as_str()).collect();
    let place = args.namespace.as_ref().map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
    if let Some(name) = &args.name {
        let singular: Vec<&str> = wanted.iter().map(|kind| kind.kind.as_str()).collect();
        let message = format!("there is no {} {name}{place}", singular.join(" or "));
        return Err(CliError::failed(
            message,
            format!("`foregate get {}` lists those that there are", kinds.join(",")),
        ));
    }
    anstream::eprintln!("there are no {}{place}", kinds.join(" and no "));
    Ok(ExitCode::SUCCESS)
}

async fn objects(api: &ApiServer, args: &GetArgs, wanted: &[&Kind], form: Form) -> Ended {
    let mut all = Vec::new();
    for kind in wanted {
        let answer = api.get_json(&path(kind, args)?, "application/json").await?;
        let api_version = kind.api_version();
        match answer["items"].as_array() {
            Some(items) => all.extend(items.iter().map(|item| clean(item.clone(), &api_version, &kind.kind))),
            None => all.push(clean(answer, &api_version, &kind.kind)),
        }
    }
    if all.is_empty() && args.name.is_some() {
        return nothing(args, wanted);
    }
    let answer = match (args.name.is_some(), all.len()) {
        (true, 1) => all.remove(0),
        _ => json!({ "apiVersion": "v1", "kind": "List", "items": all }),
    };
    let text = if form == Form::Json { output::json(&answer)? } else { output::yaml(&answer)? };
    anstream::print!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// Without who wrote which field; with what it is, which items of lists leave out.
fn clean(mut object: Value, api_version: &str, kind: &str) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    let mut ordered = serde_json::Map::new();
    ordered.insert("apiVersion".to_owned(), api_version.into());
    ordered.insert("kind".to_owned(), kind.into());
    if let Value::Object(fields) = object {
        ordered.extend(fields.into_iter().filter(|(name, _)| name != "apiVersion" && name != "kind"));
    }
    Value::Object(ordered)
}
