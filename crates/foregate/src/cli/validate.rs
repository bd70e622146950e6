//! `foregate validate`: whether Envoy would take a configuration, and everything that it wouldn't.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::error::{CliError, Ended};
use super::manifests::{self, Document, Mistake};
use super::output::{OutputArgs, count};
use super::table::{BAD, DIM, GOOD, styled};
use crate::EXIT_FAILURE;

/// What a file holds unless it says otherwise.
const BOOTSTRAP: &str = "envoy.config.bootstrap.v3.Bootstrap";
/// A message that names its own type.
const ANY: &str = "google.protobuf.Any";

/// Flags of `foregate validate`.
#[derive(Args, Debug)]
pub struct ValidateArgs {
    /// Files with Envoy configuration, YAML or JSON; directories; or `-` for stdin.
    #[arg(long = "file", short = 'f', required = true, num_args = 1.., value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The message's type, e.g. `envoy.config.route.v3.RouteConfiguration` [default: what `@type` says, else Bootstrap].
    #[arg(long = "type", value_name = "MESSAGE")]
    message: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// What is wrong with all files.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    /// Messages that were read.
    messages: usize,
    /// Whether Envoy would take all of them.
    valid: bool,
    /// What it wouldn't take.
    problems: Vec<Mistake>,
}

/// Runs it. Exit code 1: something is wrong.
///
/// # Errors
/// When a file can't be read, or no such message exists.
pub fn run(args: &ValidateArgs) -> Ended {
    if let Some(name) = &args.message
        && foregate_envoy::descriptors::message(name).is_none()
    {
        let next = "write its full name, such as envoy.config.cluster.v3.Cluster";
        return Err(CliError::usage(format!("Envoy's API has no message {name:?}"), next));
    }
    let documents = manifests::read(&args.files)?;
    if documents.is_empty() {
        return Err(CliError::usage("there is nothing in the files", "name files with Envoy configuration"));
    }
    let mut problems: Vec<Mistake> =
        documents.iter().flat_map(|document| check(document, args.message.as_deref())).collect();
    problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    let verdict = Verdict { messages: documents.len(), valid: problems.is_empty(), problems };
    args.output.output.print(&verdict, || render(&verdict))?;
    Ok(if verdict.valid { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

fn render(verdict: &Verdict) -> String {
    let mut text = String::new();
    for problem in &verdict.problems {
        let place = match problem.column {
            0 => format!("{}:{}:", problem.file, problem.line),
            column => format!("{}:{}:{column}:", problem.file, problem.line),
        };
        let path = if problem.path.is_empty() { String::new() } else { format!("{}: ", problem.path) };
        text.push_str(&format!("{} {path}{}\n", styled(DIM, place), problem.message));
    }
    let messages = count(verdict.messages, "message");
    if verdict.valid {
        text.push_str(&format!("{}: Envoy takes {messages}\n", styled(GOOD, "valid")));
    } else {
        let problems = count(verdict.problems.len(), "problem");
        text.push_str(&format!("{}: {problems} in {messages}\n", styled(BAD, "invalid")));
    }
    text
}

/// Unknown fields, wrong types, and Envoy's own rules, through every Any.
fn check(document: &Document, message: Option<&str>) -> Vec<Mistake> {
    let value = document.value().ok();
    let text = |field: &str| match value.as_ref()?.get(field) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    if let (None, Some(_), Some(kind)) = (message, text("apiVersion"), text("kind")) {
        let why =
            format!("a Kubernetes object ({kind}), not Envoy's configuration; `foregate translate` makes that of it");
        return vec![document.mistake(1, 0, "", why)];
    }
    let has_type = || text("@type").is_some();
    let name = message.unwrap_or_else(|| if has_type() { ANY } else { BOOTSTRAP });
    let message = match foregate_envoy::from_yaml(name, &document.text) {
        Ok(message) => message,
        Err(diagnostics) => {
            let told = |it: foregate_envoy::Diagnostic| document.mistake(it.line, it.column, &it.path, it.message);
            return diagnostics.into_iter().map(told).collect();
        }
    };
    let broken = foregate_envoy::validate(name, &foregate_envoy::canonical::encode(&message));
    let told = |it: foregate_envoy::Violation| {
        let (line, column) = foregate_envoy::locate(&document.text, &it.path).unwrap_or((1, 0));
        document.mistake(line, column, &it.path, format!("{} ({})", it.message, it.rule))
    };
    broken.into_iter().map(told).collect()
}
