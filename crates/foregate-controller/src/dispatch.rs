//! Writes, one at a time per object: a newer one replaces one that waits, a failed one is tried again.
//!
//! Writes of one batch have ranks: one of a higher rank starts when those of lower ranks, of its own and of earlier
//! batches, have been tried. So what an object names is written before it. A failing write holds up only its own
//! object.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{SetOnce, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or no longer needed.
    Done,
    /// Done; what comes next for the object waits for so long, so that the newest of it is written once.
    Rest(Duration),
    /// Try again later, unless something newer has come.
    Retry,
}

/// Something to write.
#[derive(Clone, Debug)]
pub struct Job<K, J> {
    /// The object.
    pub key: K,
    /// The lower first; below 16.
    pub rank: u8,
    /// What.
    pub job: J,
}

/// What is to be written at one time.
#[derive(Clone, Debug)]
pub struct Batch<K, J> {
    /// In any order; see [`Job::rank`].
    pub jobs: Vec<Job<K, J>>,
    /// Set once every job of this batch and of those before has been tried, whatever came of it.
    pub tried: Option<Arc<SetOnce<()>>>,
}

impl<K, J> From<Vec<Job<K, J>>> for Batch<K, J> {
    fn from(jobs: Vec<Job<K, J>>) -> Self {
        Self { jobs, tried: None }
    }
}

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// Whether writes may start: all that have a say must agree. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Gate(Vec<watch::Receiver<bool>>);

impl Gate {
    /// One that is always open.
    pub const fn open() -> Self {
        Self(Vec::new())
    }

    /// One that somebody else opens and closes.
    pub fn of(told: watch::Receiver<bool>) -> Self {
        Self(vec![told])
    }

    /// This one, where somebody else has a say, too.
    pub fn and(&self, told: watch::Receiver<bool>) -> Self {
        Self(self.0.iter().cloned().chain([told]).collect())
    }

    /// Whether it is.
    pub fn is_open(&self) -> bool {
        self.0.iter().all(|told| *told.borrow())
    }

    /// Itself, once it may have opened or closed.
    fn moved(mut self) -> BoxFuture<'static, Self> {
        async move {
            self.changed().await;
            self
        }
        .boxed()
    }

    /// Waits until it may have opened or closed.
    pub async fn changed(&mut self) {
        // Who is gone changes nothing any more.
        let changes = self.0.iter_mut().map(|told| {
            async move {
                match told.changed().await {
                    Ok(()) => {}
                    Err(_) => std::future::pending().await,
                }
            }
            .boxed()
        });
        let mut changes: FuturesUnordered<_> = changes.collect();
        if changes.next().await.is_none() {
            std::future::pending().await
        }
    }
}

/// Takes batches until shutdown. `execute` makes one attempt; at most `limit` run at once, and none starts while the gate
/// is closed.
pub async fn run<K, J, F>(
    mut batches: mpsc::UnboundedReceiver<Batch<K, J>>,
    limit: usize,
    gate: Gate,
    shutdown: CancellationToken,
    execute: F,
) where
    K: Clone + Eq + Hash + Send + 'static,
    J: Clone + Send + 'static,
    F: Fn(K, J) -> BoxFuture<'static, Outcome>,
{
    let mut queue = Queue::<K, J>::default();
    let mut running = FuturesUnordered::new();
    // Made once, as there is much else to wake for.
    let mut shutdown = std::pin::pin!(shutdown.cancelled_owned());
    let mut moved = gate.clone().moved();
    loop {
        while running.len() < limit && gate.is_open() {
            let Some((key, waiting)) = queue.next() else { break };
            let made = execute(key.clone(), waiting.job.clone());
            running.push(made.map(move |outcome| (key, waiting, outcome)).boxed());
        }
        tokio::select! {
            () = &mut shutdown => return,
            watched = &mut moved => moved = watched.moved(),
            Some((key, waiting, outcome)) = running.next() => queue.tried(key, waiting, outcome),
            Some((key, waiting)) = queue.pauses.next(), if !queue.pauses.is_empty() => queue.again(key, waiting),
            received = batches.recv() => match received {
                Some(batch) => queue.push(batch),
                None => return,
            },
        }
    }
}

/// A job and what its order depends on.
struct Waiting<J> {
    job: J,
    turn: Option<Turn>,
    backoff: Duration,
}

/// The place of a first attempt among others; later attempts have none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    batch: u64,
    rank: u8,
}

/// What waits, what runs, and what pauses: a job after a failure, or an object after a write.
struct Queue<K, J> {
    waiting: HashMap<K, Waiting<J>>,
    order: VecDeque<K>,
    busy: HashSet<K>,
    untried: BTreeMap<Turn, usize>,
    batches: u64,
    /// Who wants to know that everything up to a batch was tried, by batch.
    marks: VecDeque<(u64, Arc<SetOnce<()>>)>,
    pauses: FuturesUnordered<BoxFuture<'static, (K, Option<Waiting<J>>)>>,
}

impl<K, J> Default for Queue<K, J> {
    fn default() -> Self {
        Self {
            waiting: HashMap::new(),
            order: VecDeque::new(),
            busy: HashSet::new(),
            untried: BTreeMap::new(),
            batches: 0,
            marks: VecDeque::new(),
            pauses: FuturesUnordered::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Send + 'static, J: Send + 'static> Queue<K, J> {
    fn push(&mut self, batch: Batch<K, J>) {
        self.batches += 1;
        self.marks.extend(batch.tried.map(|tried| (self.batches, tried)));
        for Job { key, rank, job } in batch.jobs {
            let turn = Turn { batch: self.batches, rank };
            *self.untried.entry(turn).or_default() += 1;
            let waiting = Waiting { job, turn: Some(turn), backoff: FIRST_BACKOFF };
            if let Some(replaced) = self.waiting.insert(key.clone(), waiting) {
                self.had_its_turn(replaced.turn);
            } else if !self.busy.contains(&key) {
                self.order.push_back(key);
            }
        }
        self.say_tried();
    }

    /// The first in order that nothing of a lower rank holds up.
    fn next(&mut self) -> Option<(K, Waiting<J>)> {
        for _ in 0..self.order.len() {
            let key = self.order.pop_front()?;
            let held_up =
                self.waiting.get(&key).and_then(|waiting| waiting.turn).is_some_and(|turn| self.is_held_up(turn));
            if held_up {
                self.order.push_back(key);
            } else if let Some(waiting) = self.waiting.remove(&key) {
                self.busy.insert(key.clone());
                return Some((key, waiting));
            }
        }
        None
    }

    fn is_held_up(&self, turn: Turn) -> bool {
        self.untried.range(..turn).any(|(earlier, _)| earlier.rank < turn.rank)
    }

    fn tried(&mut self, key: K, mut waiting: Waiting<J>, outcome: Outcome) {
        self.had_its_turn(waiting.turn.take());
        let (pause, again) = match outcome {
            Outcome::Done => return self.free(key),
            Outcome::Rest(pause) => (pause, None),
            Outcome::Retry => {
                let pause = waiting.backoff;
                waiting.backoff = (pause * 2).min(LONGEST_BACKOFF);
                (pause, Some(waiting))
            }
        };
        self.pauses.push(tokio::time::sleep(pause).map(move |()| (key, again)).boxed());
    }

    /// After the pause. What came meanwhile is newer.
    fn again(&mut self, key: K, waiting: Option<Waiting<J>>) {
        if let Some(waiting) = waiting {
            self.waiting.entry(key.clone()).or_insert(waiting);
        }
        self.free(key);
    }

    fn free(&mut self, key: K) {
        self.busy.remove(&key);
        if self.waiting.contains_key(&key) {
            self.order.push_back(key);
        }
    }

    fn had_its_turn(&mut self, turn: Option<Turn>) {
        let Some(turn) = turn else { return };
        if let Some(count) = self.untried.get_mut(&turn) {
            *count -= 1;
            if *count == 0 {
                self.untried.remove(&turn);
                self.say_tried();
            }
        }
    }

    fn say_tried(&mut self) {
        let first_untried = self.untried.first_key_value().map_or(u64::MAX, |(turn, _)| turn.batch);
        while let Some((_, tried)) = self.marks.pop_front_if(|(batch, _)| *batch < first_untried) {
            // Somebody else may have set it: nothing else can be said by it.
            let _ = tried.set(());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::{Arc, Mutex};

    use super::*;

    fn job(key: u8, rank: u8, job: u32) -> Job<u8, u32> {
        Job { key, rank, job }
    }

    /// Runs one batch whose execution is noted, and fails while `fail` says so.
    async fn executed(batch: Vec<Job<u8, u32>>, fail: fn(u32, usize) -> bool, until: usize) -> Vec<u32> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let noted = Arc::new(Mutex::new(Vec::new()));
        let shutdown = CancellationToken::new();
        sender.send(batch.into()).unwrap();
        let (log, stop) = (noted.clone(), shutdown.clone());
        run(receiver, 4, Gate::open(), shutdown, move |_, job| {
            let mut log = log.lock().unwrap();
            log.push(job);
            let failed = fail(job, log.len());
            if log.len() == until {
                stop.cancel();
            }
            async move { if failed { Outcome::Retry } else { Outcome::Done } }.boxed()
        })
        .await;
        noted.lock().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_job_is_tried_again() {
        assert_eq!(executed(vec![job(1, 0, 10)], |_, attempts| attempts < 3, 3).await, [10, 10, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_starts_behind_a_closed_gate() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (open, told) = watch::channel(false);
        let (shutdown, (done, mut noted)) = (CancellationToken::new(), mpsc::unbounded_channel());
        sender.send(vec![job(1, 0, 10)].into()).unwrap();
        let running = tokio::spawn(run(receiver, 4, Gate::of(told), shutdown.clone(), move |_, job| {
            done.send(job).unwrap();
            async { Outcome::Done }.boxed()
        }));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(noted.try_recv().is_err());
        open.send(true).unwrap();
        assert_eq!(noted.recv().await, Some(10));
        shutdown.cancel();
        running.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn other_objects_do_not_wait_for_a_failing_one() {
        let batch = vec![job(1, 0, 10), job(2, 0, 20), job(3, 1, 30)];
        assert_eq!(executed(batch, |job, _| job == 10, 4).await, [10, 20, 30, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn lower_ranks_go_first_whatever_their_order() {
        let batch = vec![job(1, 2, 10), job(2, 1, 20), job(3, 0, 30)];
        assert_eq!(executed(batch, |_, _| false, 3).await, [30, 20, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_tried_once_each_of_its_jobs_was() {
        let (mut queue, first, second, empty) = (Queue::default(), Arc::default(), Arc::default(), Arc::default());
        let batch = |jobs, tried: &Arc<SetOnce<()>>| Batch { jobs, tried: Some(tried.clone()) };
        queue.push(batch(vec![job(1, 0, 10), job(2, 1, 20)], &first));
        queue.push(batch(vec![job(2, 0, 21)], &second));
        queue.push(batch(vec![], &empty));
        let said = |queue: &mut Queue<u8, u32>, outcome| {
            let (key, waiting) = queue.next().unwrap();
            queue.tried(key, waiting, outcome);
            [&first, &second, &empty].map(|tried| tried.initialized())
        };
        // The second batch's job took the place of one of the first's, so that one had its turn.
        assert_eq!(said(&mut queue, Outcome::Retry), [true, false, false], "a failure counts as well");
        assert_eq!(said(&mut queue, Outcome::Done), [true, true, true]);
        queue.push(batch(vec![], &Arc::default()));
        assert!(queue.marks.is_empty(), "nothing is waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_write_that_rests_only_the_newest_is_written() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let shutdown = CancellationToken::new();
        let (log, stop) = (Arc::new(Mutex::new(Vec::new())), shutdown.clone());
        let (noted, start) = (log.clone(), tokio::time::Instant::now());
        for value in [10, 11, 12] {
            sender.send(vec![job(1, 0, value)].into()).unwrap();
        }
        sender.send(vec![job(2, 0, 20)].into()).unwrap();
        let later = Mutex::new(Some(vec![job(1, 0, 13), job(1, 0, 14)]));
        run(receiver, 4, Gate::open(), shutdown, move |_, job| {
            let mut log = log.lock().unwrap();
            log.push((job, start.elapsed()));
            if job == 20 {
                sender.send(later.lock().unwrap().take().unwrap().into()).unwrap();
            }
            if job == 14 {
                stop.cancel();
            }
            async move { Outcome::Rest(Duration::from_secs(1)) }.boxed()
        })
        .await;
        let noted = noted.lock().unwrap();
        assert_eq!(noted.first().unwrap().1, Duration::ZERO, "the first is written at once");
        assert!(noted.iter().any(|(job, at)| *job == 20 && at.is_zero()), "others don't wait: {noted:?}");
        assert_eq!(noted.last().unwrap(), &(14, Duration::from_secs(1)), "{noted:?}");
        assert_eq!(noted.len(), 3, "what is older is left out: {noted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_of_what_waits_wins() {
        let mut queue = Queue::default();
        queue.push(vec![job(1, 0, 10)].into());
        queue.push(vec![job(1, 0, 11)].into());
        let (key, waiting) = queue.next().unwrap();
        assert_eq!((key, waiting.job), (1, 11));
        assert!(queue.next().is_none());
        queue.push(vec![job(1, 0, 12)].into());
        assert!(queue.next().is_none(), "one at a time per object");
        queue.tried(key, waiting, Outcome::Done);
        assert_eq!(queue.next().map(|(_, waiting)| waiting.job), Some(12));
        assert_eq!(queue.untried.len(), 1, "every turn is accounted for");
    }
}
