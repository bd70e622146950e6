//! `GET /metrics`: the engines' metrics for Prometheus.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use foregate_node::envoy::Metrics;
use hyper::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::probes;

/// The metrics of all engines of this process. Clones are the same.
#[derive(Clone)]
pub struct Source {
    builtin: Arc<dyn Fn() -> String + Send + Sync>,
    envoys: Metrics,
}

impl Source {
    /// Those of the built-in engine, and of the agent's Envoys.
    pub fn new(builtin: impl Fn() -> String + Send + Sync + 'static, envoys: Metrics) -> Self {
        Self { builtin: Arc::new(builtin), envoys }
    }

    /// All of them in the Prometheus text format.
    pub async fn render(&self) -> String {
        self.envoys.render((self.builtin)()).await
    }
}

/// Serves until shutdown.
///
/// # Errors
/// When the listener can't be used.
pub async fn serve(listener: TcpListener, source: Source, shutdown: CancellationToken) -> io::Result<()> {
    let answer = move |path: String| {
        let source = source.clone();
        async move {
            match path.as_str() {
                "/metrics" => (StatusCode::OK, source.render().await),
                _ => (StatusCode::NOT_FOUND, "not found; try /metrics\n".to_owned()),
            }
        }
    };
    probes::serve(listener, answer, shutdown).await
}
