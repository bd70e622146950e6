//! The long-running parts of the process: if one ends by itself, the process does.

use tokio::signal::unix::{Signal, SignalKind, signal};
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
    /// Listened to from the start, so that a signal that comes while nobody waits for it isn't lost.
    terminate: Signal,
    interrupt: Signal,
}

/// The part that carries traffic: it ends first, when it has drained.
pub const NODE: &str = "node";

impl Parts {
    /// None yet.
    ///
    /// # Errors
    /// When signals can't be listened to.
    pub fn new(drain: CancellationToken, shutdown: CancellationToken) -> Result<Self, UpError> {
        let listen = |kind| signal(kind).map_err(|source| UpError::Runtime { source });
        let (terminate, interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        Ok(Self { tasks: JoinSet::new(), drain, shutdown, terminate, interrupt })
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
        tokio::select! {
            _ = self.terminate.recv() => Ok(()),
            _ = self.interrupt.recv() => Ok(()),
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
