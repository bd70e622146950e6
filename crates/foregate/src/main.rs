//! `foregate`: every role of the platform in one binary.
//!
//! `foregate up` runs everything in one process; see `up`. Each verb is a module of its own.

#![allow(missing_docs, reason = "a binary has no API; modules say what they are for")]

mod certificates;
mod cli;
mod cluster;
mod config;
mod controller;
mod engine;
mod logging;
mod node;
mod platform;
mod probes;
mod up;

use std::process::ExitCode;

use clap::FromArgMatches as _;
use cli::{Cli, Command, ConfigVerb};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Usage or configuration is wrong.
const EXIT_USAGE: u8 = 2;
/// Anything else went wrong.
const EXIT_FAILURE: u8 = 1;

fn main() -> ExitCode {
    let started = std::time::Instant::now();
    // Most objects here are small and short-lived: huge pages would hold several times what is in use. Where the
    // kernel can't do without them, only memory is lost.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    match parse().command {
        Command::Up(args) => with_config(&args, |config| up::run(config, args.demo, started)),
        Command::Platform(args) => match args.config() {
            Ok(config) => done(platform::run(config, started)),
            Err(error) => fail(&error, EXIT_USAGE),
        },
        Command::Node(args) => match args.config() {
            Ok(config) => done(node::run(args, config, started)),
            Err(error) => fail(&error, EXIT_USAGE),
        },
        Command::Controller(controller::ControllerArgs {
            verb: Some(controller::ControllerVerb::Install(args)),
            ..
        }) => ended(controller::install::run(&args)),
        Command::Controller(args) => match args.config() {
            Ok(config) => done(controller::run(&args, config, started)),
            Err(error) => fail(&error, EXIT_USAGE),
        },
        Command::Cluster(args) => ended(cluster::run(&args)),
        Command::Engine(args) => {
            engine::run(&args).map_or_else(|error| fail(&error, EXIT_FAILURE), |()| ExitCode::SUCCESS)
        }
        Command::Config { verb: ConfigVerb::Print(args) } => with_config(&args, print_config),
        Command::Config { verb: ConfigVerb::Dump(args) } => ended(cli::dump::run(&args)),
        Command::Status(args) => ended(cli::status::run(&args)),
        Command::Explain(args) => ended(cli::explain::run(&args)),
        Command::Top(args) => ended(cli::top::run(&args)),
        Command::Get(args) => ended(cli::get::run(&args)),
        Command::History(args) => ended(cli::revisions::history(&args)),
        Command::Diff(args) => ended(cli::revisions::diff(&args)),
        Command::Rollback(args) => ended(cli::revisions::rollback(&args)),
        Command::Pin(args) => ended(cli::revisions::pin(&args)),
        Command::Unpin(args) => ended(cli::revisions::unpin(&args)),
        Command::Renew(args) => ended(cli::renew::run(&args)),
        Command::Translate(args) => ended(cli::translate::run(&args)),
        Command::Validate(args) => ended(cli::validate::run(&args)),
        Command::Completions(args) => ended(cli::shell::completions(&args)),
        Command::Man(args) => ended(cli::shell::man(&args)),
    }
}

/// Reads the command line; ends the process where there is nothing to do.
fn parse() -> Cli {
    let matches = cli::help::command().get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// A verb's end, and what to do where it failed.
fn ended(ended: cli::error::Ended) -> ExitCode {
    ended.unwrap_or_else(|error| {
        let code = fail(&error, error.code);
        if let Some(next) = &error.next {
            let style = anstyle::Style::new().bold();
            anstream::eprintln!("{style}next:{style:#}  {next}");
        }
        code
    })
}

fn done<E: std::error::Error>(result: Result<(), E>) -> ExitCode {
    result.map_or_else(|error| fail(&error, EXIT_FAILURE), |()| ExitCode::SUCCESS)
}

/// Loads the configuration and runs a verb with it.
fn with_config<E: std::error::Error>(
    args: &cli::UpArgs,
    verb: impl FnOnce(config::Config) -> Result<(), E>,
) -> ExitCode {
    let config = match config::Config::load(args) {
        Ok(config) => config,
        Err(error) => return fail(&error, EXIT_USAGE),
    };
    match verb(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, EXIT_FAILURE),
    }
}

fn print_config(config: config::Config) -> Result<(), serde_saphyr::ser::Error> {
    let text = serde_saphyr::to_string(&config)?;
    anstream::print!("{text}");
    Ok(())
}

/// Says what went wrong, with its causes, on stderr.
fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    let style = anstyle::AnsiColor::Red.on_default().bold();
    anstream::eprintln!("{style}error:{style:#} {error}");
    for cause in causes(error) {
        anstream::eprintln!("  because: {cause}");
    }
    ExitCode::from(code)
}

/// The causes of an error, without those that what is above them has said already.
fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut said = error.to_string();
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !said.ends_with(&text) {
            causes.push(text.clone());
            said = text;
        }
        cause = inner.source();
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let deepest = || std::io::Error::other("no such file");
        let path = std::path::PathBuf::from("c");
        let error = config::ConfigError::Read { path: path.clone(), source: deepest() };
        assert_eq!(causes(&error), Vec::<String>::new(), "its message ends with the cause's");
        let error = up::UpError::Write { path, source: deepest() };
        assert_eq!(causes(&error), ["no such file"]);
    }
}
