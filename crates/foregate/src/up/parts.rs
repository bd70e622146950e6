//! The long-running parts of the process: if one ends by itself, the process does.

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::UpError;

/// How a part ended.
type Ended = (&'static str, Result<(), Box<dyn std::error::Error + Send + Sync>>);

/// All parts.
pub struct Parts {
    tasks: JoinSet<Ended>,
    drain: CancellationToken,
    shutdown: CancellationToken,
}

/// The part that carries traffic: it ends first, when it has drained.
pub const NODE: &str = "node";

impl Parts {
    /// None yet.
    pub fn new(drain: CancellationToken, shutdown: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), drain, shutdown }
    }

    /// Starts one.
    pub fn start<E>(&mut self, part: &'static str, run: impl Future<Output = Result<(), E>> + Send + 'static)
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        self.tasks.spawn(async move { (part, run.await.map_err(Into::into)) });
    }

    /// Waits for Ctrl-C or SIGTERM.
    ///
    /// # Errors
    /// When a part ends by itself first.
    pub async fn until_signal(&mut self) -> Result<(), UpError> {
        let runtime = |source| UpError::Runtime { source };
        let mut terminate = signal(SignalKind::terminate()).map_err(runtime)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(runtime)?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            Some(ended) = self.tasks.join_next() => Err(why(ended)),
        }
    }

    /// Drains, then stops everything else, and waits for it.
    pub async fn stop(mut self) {
        self.drain.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok((part, Err(error))) => tracing::warn!(part, %error, "stopped with an error"),
                Ok((NODE, Ok(()))) => {}
                _ => continue,
            }
            self.shutdown.cancel();
        }
    }
}

fn why(ended: Result<Ended, tokio::task::JoinError>) -> UpError {
    match ended {
        Ok((part, Ok(()))) => UpError::Part { part, source: "it had nothing left to do".into() },
        Ok((part, Err(source))) => UpError::Part { part, source },
        Err(error) => UpError::Part { part: "task", source: error.into() },
    }
}
