//! `foregate up`: API, reconcilers, xDS server and engine in one process.
//!
//! Wiring only. Every part is started here, in the order in which each can rely on the one before, and stopped in
//! the reverse: the engine drains first, so that the last request is answered before anything else goes.

mod backend;
mod demo;
mod error;
mod guide;
mod node;
mod seed;
mod serving;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foregate_apiserver::{Server, ServerOptions};
use foregate_proxy::{AccessLog, Engine, EngineOptions};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use error::UpError;

use crate::config::Config;

/// Runs until Ctrl-C or SIGTERM.
///
/// # Errors
/// When a part can't start, or stops by itself.
pub fn run(config: Config, demo: bool, started: Instant) -> Result<(), UpError> {
    crate::logging::install(config.log_format, &config.log_filter);
    // One provider by default: with two linked, rustls would panic at the first handshake.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("foregate-control")
        .enable_all()
        .build()
        .map_err(|source| UpError::Runtime { source })?;
    runtime.block_on(up(config, demo, started))
}

async fn up(config: Config, demo: bool, started: Instant) -> Result<(), UpError> {
    let shutdown = CancellationToken::new();
    let server = open(&config)?;
    let listener = TcpListener::bind(config.api_listen)
        .map_err(|source| UpError::Bind { what: "the API", address: config.api_listen, source })?;
    let address = listener.local_addr().map_err(|source| UpError::Runtime { source })?;
    let kubeconfig = write_kubeconfig(&config, &server, address)?;
    let client = server.client();
    seed::seed(&client, &config).await?;

    let engine = Arc::new(start_engine(&config)?);
    let mut parts = Parts { tasks: JoinSet::new(), shutdown: shutdown.clone() };
    parts.start_all(&config, server, listener, &engine)?;
    if demo {
        demo::start_backends(&shutdown).await?;
        demo::apply(&client).await?;
    }
    let ready = serving::wait(&client, &engine, demo);
    tokio::select! {
        gateways = ready => {
            eprintln!("ready in {} ms", started.elapsed().as_millis());
            guide::print(&gateways?, &kubeconfig, demo);
            parts.until_signal().await?;
        }
        ended = parts.until_signal() => ended?,
    }
    tracing::info!("draining");
    engine.shutdown(Duration::from_secs(config.drain_seconds)).await;
    shutdown.cancel();
    parts.join().await;
    Ok(())
}
