//! `foregate completions` and `foregate man`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use super::error::{CliError, Ended};

/// Flags of `foregate completions`.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// Which shell.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Flags of `foregate man`.
#[derive(Args, Debug)]
pub struct ManArgs {
    /// Where to: a directory, which is made.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Prints a script that a shell sources.
///
/// # Errors
/// Never.
pub fn completions(args: &CompletionsArgs) -> Ended {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut super::help::command(), "foregate", &mut text);
    anstream::print!("{}", String::from_utf8_lossy(&text));
    Ok(ExitCode::SUCCESS)
}

/// Writes a page per verb.
///
/// # Errors
/// When the directory can't be written.
pub fn man(args: &ManArgs) -> Ended {
    let dir = args.dir.display();
    let failed = |error: std::io::Error| {
        CliError::failed(format!("cannot write man pages to {dir}"), "name a directory that you may write")
            .because(error)
    };
    std::fs::create_dir_all(&args.dir).map_err(failed)?;
    // Nobody reads a page about the `help` of a verb.
    let plain = |command: clap::Command| command.disable_help_subcommand(true);
    let mut command = plain(super::help::command()).mut_subcommands(plain);
    command.build();
    clap_mangen::generate_to(command, &args.dir).map_err(failed)?;
    anstream::println!("written; try `man -l {dir}/foregate.1`");
    Ok(ExitCode::SUCCESS)
}
