//! Engines and the agent that runs them: what `foregate up` and `foregate node` have in common.

use std::path::PathBuf;
use std::sync::Arc;

use foregate_node::XdsSource;
use foregate_proxy::{AccessLog, Engine, EngineOptions, LogFormat};
use tokio_util::sync::CancellationToken;

use super::control::bind;
use super::parts::{self, Parts};
use super::{UpError, metrics, node};
use crate::config::Config;

/// Starts the built-in engine and the agent of a node, which configures its engines from `xds`. `memory` is where it
/// writes down its instances, for a start without the API. `drain` ends it.
///
/// # Errors
/// When one of them can't start.
pub fn start(
    config: &Config,
    agent: (kube::Client, Arc<dyn XdsSource>),
    name: &str,
    memory: Option<PathBuf>,
    parts: &mut Parts,
    (drain, shutdown): (&CancellationToken, &CancellationToken),
) -> Result<metrics::Source, UpError> {
    let engine = start_engine(config)?;
    let builtin = engine.metrics_source();
    let sockets = foregate_node::agent::socket_dir(&config.data_dir)
        .map_err(|source| UpError::Part { part: parts::NODE, source: Box::new(source) })?;
    let options = foregate_node::Options {
        node: name.to_owned(),
        sockets,
        drain: config.drain(),
        workers: config.worker_count(),
        engines: foregate_node::engines::Store::new(&config.data_dir),
        // Who remembers instances has a platform elsewhere, which sees whether this agent is there.
        says_ready: memory.is_none(),
        memory,
    };
    let engine = Arc::new(node::BuiltinEngine::new(engine));
    let agent = foregate_node::Agent::new(agent.0, agent.1, engine, options);
    let source = metrics::Source::new(builtin, agent.metrics());
    if let Some(address) = config.metrics_listen {
        let listener = bind("metrics", address, "choose another with --metrics-listen")?;
        parts.start("metrics", metrics::serve(listener, source.clone(), shutdown.clone()));
    }
    parts.start(parts::NODE, agent.run(drain.clone()));
    Ok(source)
}

fn start_engine(config: &Config) -> Result<Engine, UpError> {
    let access_log = match config.access_log.as_str() {
        "off" => AccessLog::Off,
        "stdout" => AccessLog::Stdout(LogFormat::Json),
        file => AccessLog::File(file.into(), LogFormat::Json),
    };
    let options =
        EngineOptions { workers: config.worker_count(), drain: config.drain(), access_log, ..EngineOptions::default() };
    Engine::start(options).map_err(|source| UpError::Engine { source: Box::new(source) })
}
