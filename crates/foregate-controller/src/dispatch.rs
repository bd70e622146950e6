//! Writes, one at a time per object: a newer one replaces one that waits, a failed one is tried again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or no longer needed.
    Done,
    /// Try again later, unless something newer has come.
    Retry,
}

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// Takes jobs until shutdown. `execute` makes one attempt; at most `limit` run at once.
pub async fn run<K, J, F>(
    mut jobs: mpsc::UnboundedReceiver<(K, J)>,
    limit: usize,
    shutdown: CancellationToken,
    execute: F,
) where
    K: Clone + Eq + Hash + Send + 'static,
    J: Clone + Send + 'static,
    F: Fn(K, J) -> BoxFuture<'static, Outcome>,
{
    let mut queue = Queue { waiting: HashMap::new(), order: VecDeque::new(), busy: HashSet::new() };
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < limit {
            let Some((key, job, backoff)) = queue.next() else { break };
            running.push(attempt(key.clone(), job.clone(), backoff, execute(key, job)));
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some((key, again)) = running.next() => queue.finished(key, again),
            received = jobs.recv() => match received {
                Some((key, job)) => queue.push(key, job),
                None => return,
            },
        }
    }
}

/// One attempt, with the pause that a failure costs. Gives the job back if it must be tried again.
fn attempt<K: Send + 'static, J: Send + 'static>(
    key: K,
    job: J,
    backoff: Duration,
    attempt: BoxFuture<'static, Outcome>,
) -> BoxFuture<'static, (K, Option<(J, Duration)>)> {
    async move {
        if attempt.await == Outcome::Done {
            return (key, None);
        }
        tokio::time::sleep(backoff).await;
        (key, Some((job, (backoff * 2).min(LONGEST_BACKOFF))))
    }
    .boxed()
}

/// What waits, and what runs.
struct Queue<K, J> {
    waiting: HashMap<K, (J, Duration)>,
    order: VecDeque<K>,
    busy: HashSet<K>,
}

impl<K: Clone + Eq + Hash, J> Queue<K, J> {
    fn push(&mut self, key: K, job: J) {
        let is_new = self.waiting.insert(key.clone(), (job, FIRST_BACKOFF)).is_none();
        if is_new && !self.busy.contains(&key) {
            self.order.push_back(key);
        }
    }

    fn next(&mut self) -> Option<(K, J, Duration)> {
        let key = self.order.pop_front()?;
        let (job, backoff) = self.waiting.remove(&key)?;
        self.busy.insert(key.clone());
        Some((key, job, backoff))
    }

    fn finished(&mut self, key: K, again: Option<(J, Duration)>) {
        self.busy.remove(&key);
        if let Some(again) = again {
            // What came meanwhile is newer.
            self.waiting.entry(key.clone()).or_insert(again);
        }
        if self.waiting.contains_key(&key) {
            self.order.push_back(key);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Runs jobs whose execution is noted, and fails while `fail` says so.
    async fn executed(jobs: Vec<(u8, u32)>, fail: fn(u32, usize) -> bool, until: usize) -> Vec<u32> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let noted = Arc::new(Mutex::new(Vec::new()));
        let shutdown = CancellationToken::new();
        for job in jobs {
            sender.send(job).unwrap();
        }
        let (log, stop) = (noted.clone(), shutdown.clone());
        run(receiver, 4, shutdown, move |_, job| {
            let mut log = log.lock().unwrap();
            log.push(job);
            let failed = fail(job, log.len());
            if log.len() == until {
                stop.cancel();
            }
            async move { if failed { Outcome::Retry } else { Outcome::Done } }.boxed()
        })
        .await;
        let noted = noted.lock().unwrap().clone();
        noted
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_job_is_tried_again() {
        assert_eq!(executed(vec![(1, 10)], |_, attempts| attempts < 3, 3).await, [10, 10, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn other_objects_do_not_wait_for_a_failing_one() {
        let order = executed(vec![(1, 10), (2, 20), (3, 30)], |job, _| job == 10, 4).await;
        assert_eq!(order, [10, 20, 30, 10]);
    }

    #[test]
    fn the_newest_of_what_waits_wins() {
        let mut queue = Queue { waiting: HashMap::new(), order: VecDeque::new(), busy: HashSet::new() };
        queue.push(1, "old");
        queue.push(1, "new");
        assert_eq!(queue.next().map(|(key, job, _)| (key, job)), Some((1, "new")));
        assert!(queue.next().is_none());
        queue.push(1, "newer");
        assert!(queue.next().is_none(), "one at a time per object");
        queue.finished(1, Some(("new", FIRST_BACKOFF)));
        assert_eq!(queue.next().map(|(_, job, _)| job), Some("newer"));
    }
}
