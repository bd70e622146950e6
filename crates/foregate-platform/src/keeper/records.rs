//! From the pipeline to the keeper, in order.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::Record;

/// The keeper's end.
#[derive(Debug)]
pub(crate) struct Records {
    records: mpsc::UnboundedReceiver<Record>,
    urgent: Arc<Notify>,
}

/// The pipeline's end.
#[derive(Debug)]
pub(crate) struct Recorder {
    records: mpsc::UnboundedSender<Record>,
    urgent: Arc<Notify>,
}

/// What the keeper has to do next.
#[derive(Debug)]
pub(super) enum Next {
    Record(Record),
    /// Something is to be written.
    Due,
    /// The pipeline has ended.
    End,
}

/// Both ends.
pub(crate) fn channel() -> (Recorder, Records) {
    let (sender, records) = mpsc::unbounded_channel();
    let urgent = Arc::new(Notify::new());
    (Recorder { records: sender, urgent: Arc::clone(&urgent) }, Records { records, urgent })
}

impl Recorder {
    pub(crate) fn send(&self, record: Record) {
        // A step is taken in before the next one is written; all else is waited for.
        let urgent = !matches!(record, Record::Step(_));
        // The other side ends only with us.
        let _ = self.records.send(record);
        if urgent {
            self.urgent.notify_one();
        }
    }
}

impl Records {
    /// What comes next. `due`: when something is to be written; until then steps wait for each other.
    pub(super) async fn next(&mut self, due: Option<Instant>, shutdown: &CancellationToken) -> Next {
        if let Ok(record) = self.records.try_recv() {
            return Next::Record(record);
        }
        if let Some(due) = due.filter(|_| !shutdown.is_cancelled() && !self.records.is_closed()) {
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = self.urgent.notified() => {}
                () = shutdown.cancelled() => {}
            }
            // What has come meanwhile goes first.
            return match self.records.try_recv() {
                Ok(record) => Next::Record(record),
                Err(_) if Instant::now() >= due => Next::Due,
                Err(_) => self.wait(due).await,
            };
        }
        match self.records.recv().await {
            Some(record) => Next::Record(record),
            None => Next::End,
        }
    }

    /// Nothing was there after all, or it ends.
    async fn wait(&mut self, due: Instant) -> Next {
        tokio::select! {
            record = self.records.recv() => record.map_or(Next::End, Next::Record),
            () = tokio::time::sleep_until(due.into()) => Next::Due,
        }
    }
}
