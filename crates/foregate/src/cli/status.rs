//! `foregate status`: what serves, what doesn't, why, and what to do.

mod build;
mod read;
mod routes;
mod tree;

use std::process::ExitCode;

use clap::Args;

use super::api::{ApiArgs, block_on};
use super::error::Ended;
use super::gateway;
use super::output::OutputArgs;
use crate::EXIT_FAILURE;

/// Flags of `foregate status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Only this gateway: NAMESPACE/NAME of a Gateway or of a GatewayProxy.
    #[arg(value_name = "GATEWAY")]
    gateway: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    api: ApiArgs,
}

/// Runs it. Exit code 1: something doesn't serve.
///
/// # Errors
/// When there is no such gateway, or the API can't be read.
pub fn run(args: &StatusArgs) -> Ended {
    block_on(async {
        let api = args.api.connect().await?;
        let world = read::world(&api).await?;
        let only = match &args.gateway {
            // A Gateway that nobody runs has a status too.
            Some(asked) if !world.has_gateway(asked) => Some(gateway::choose(world.names(), asked)?.display()),
            other => other.clone(),
        };
        let nodes = build::all(&world, only.as_deref());
        args.output.output.print(&nodes, || tree::render(&nodes))?;
        let serves = nodes.iter().all(tree::Node::is_well);
        Ok(if serves { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
    })
}
