//! One Envoy process: its start, what happens to it, and its end.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;

use super::admin::{Admin, AdminError};
use super::bootstrap::Bootstrap;
use super::inventory::Record;
use super::logs::{self, LastWords};
use super::pid::Handle;
use super::stray::BOOTSTRAP;

/// How long the admin interface may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many answers in a row that don't come make a process count as hung. One may be this machine's own pause.
const MISSES: u32 = 2;
/// How long a process may take until its admin interface is there.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// Between two questions whether it lives.
const PACE: Duration = Duration::from_secs(1);
/// The same while it starts.
const START_PACE: Duration = Duration::from_millis(25);
/// So long the start's pace is kept: Envoy takes some 100 ms.
const QUICK: Duration = Duration::from_secs(5);
/// After SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// After the end of a process, for what it said last.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// While a process drains, between two looks at it.
const DRAIN_PACE: Duration = Duration::from_millis(100);
/// An Envoy that can be restarted hot has itself ended when its parent dies (PR_SET_PDEATHSIG), which would make it go
/// with the agent. So its parent is a shell, which does nothing but wait: it says the Envoy's process id, and ends as
/// Envoy did.
const KEEPER: &str = r#""$@" >&2 & echo "$!"; exec >&-; wait "$!""#;
/// Descriptors that aren't for clients: endpoints' connections take as many as clients'.
const RESERVED_FILES: u64 = 256;

/// How to start an Envoy.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// The binary.
    pub(crate) binary: PathBuf,
    /// Its name, e.g. `envoy@1.40.0`.
    pub(crate) engine: String,
    /// Its hot restart version.
    pub(crate) hot_restart: Option<String>,
    /// The instance's name.
    pub(crate) instance: String,
    /// The gateway.
    pub(crate) gateway: String,
    /// The instance's directory for sockets and files.
    pub(crate) dir: PathBuf,
    /// Where its xDS server is.
    pub(crate) xds_socket: PathBuf,
    /// Threads that serve requests.
    pub(crate) workers: usize,
    /// How long requests under way get.
    pub(crate) drain: Duration,
}

/// What happens to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It serves.
    Ready,
    /// It has ended, in words: how, and what it said last.
    Ended(String),
    /// It doesn't answer any more.
    Hung(String),
}

/// A running Envoy. Dropping it doesn't end it.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) record: Record,
    pub(crate) handle: Handle,
    pub(crate) admin: Admin,
    /// When this agent started it, or found it.
    pub(crate) since: Instant,
    pub(crate) ready: bool,
    /// Its keeper. None: an agent before this one has started it.
    child: Option<Child>,
    words: LastWords,
    /// Those who read what it prints.
    logs: JoinSet<()>,
    /// Since when the admin interface can't be connected to.
    unreachable: Option<Instant>,
    /// Answers in a row that didn't come.
    missed: u32,
    /// A child has told it to close its admin interface: only its end can be noticed.
    pub(crate) unwatched: bool,
    /// A child that failed may have left the memory that they share in a state in which no other can begin.
    pub(crate) spent: bool,
}

/// Envoy names its sockets by ten times the base id, plus the epoch, as an `int`: beyond it the name has another number,
/// and is longer than the room that there is for it.
const MAX_BASE_ID: u32 = i32::MAX.unsigned_abs() / 10;

impl Process {
    /// Starts one; as the next epoch of `parent`, or as a first one.
    ///
    /// # Errors
    /// When its files can't be written, or the binary can't be run or ends at once.
    pub(crate) async fn start(launch: &Launch, parent: Option<&Record>) -> io::Result<Self> {
        let (base_id, epoch) = match parent {
            Some(parent) => (parent.base_id, parent.epoch + 1),
            None => (rand::random_range(1..MAX_BASE_ID), 0),
        };
        // Short, and never that of a process that may still be there.
        let admin = launch.dir.join(format!("a{base_id:x}-{epoch}"));
        let config = write_bootstrap(launch, &admin, epoch)?;
        let mut child = launch.command(&config, base_id, epoch).spawn()?;
        let words = LastWords::default();
        let mut logs = JoinSet::new();
        if let Some(stderr) = child.stderr.take() {
            logs.spawn(logs::take_in(launch.instance.clone(), stderr, words.clone()));
        }
        let pid = tokio::time::timeout(START_PATIENCE, told_pid(child.stdout.take())).await.ok().flatten();
        let handle = pid.and_then(|pid| Handle::open(pid, None).ok());
        let Some(handle) = handle else {
            let how = child.wait().await.map_or_else(|error| error.to_string(), how);
            return Err(io::Error::other(last_words(&mut logs, &words, how).await));
        };
        let record = Record {
            pid: handle.pid,
            started: handle.started,
            engine: launch.engine.clone(),
            hot_restart: launch.hot_restart.clone(),
            base_id,
            epoch,
            admin,
            retiring: false,
        };
        Ok(Self { child: Some(child), words, logs, ..Self::of(record, handle) })
    }

    /// Takes over one that an agent before this one has started.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn adopt(record: Record) -> io::Result<Self> {
        let handle = Handle::open(record.pid, Some(record.started))?;
        Ok(Self::of(record, handle))
    }

    fn of(record: Record, handle: Handle) -> Self {
        Self {
            admin: Admin::new(&record.admin),
            record,
            handle,
            since: Instant::now(),
            ready: false,
            child: None,
            words: LastWords::default(),
            logs: JoinSet::new(),
            unreachable: None,
            missed: 0,
            unwatched: false,
            spent: false,
        }
    }

    /// Its child has failed before it took over.
    pub(crate) async fn has_lost_a_child(&mut self) {
        self.spent = true;
        self.unwatched = self.admin.ready(PATIENCE).await.is_err();
    }

    /// Whether an agent before this one has started it: its log goes nowhere.
    pub(crate) fn is_adopted(&self) -> bool {
        self.child.is_none()
    }

    /// Waits for the next thing that happens to it. Can be dropped and called again at any time.
    pub(crate) async fn event(&mut self) -> Event {
        loop {
            let pace = if self.unwatched {
                Duration::MAX
            } else if self.missed > 0 {
                Duration::ZERO
            } else if self.ready || self.since.elapsed() > QUICK {
                PACE
            } else {
                START_PACE
            };
            tokio::select! {
                biased;
                how = ended(&mut self.child, &self.handle) => return Event::Ended(last_words(&mut self.logs, &self.words, how).await),
                () = tokio::time::sleep(pace) => {}
            }
            // What an answer is worth is decided by the end of the process, if it ends meanwhile.
            let answer = tokio::select! {
                biased;
                how = ended(&mut self.child, &self.handle) => return Event::Ended(last_words(&mut self.logs, &self.words, how).await),
                answer = self.admin.ready(PATIENCE) => answer,
            };
            if let Some(event) = self.judge(answer) {
                return event;
            }
        }
    }

    fn judge(&mut self, answer: Result<bool, AdminError>) -> Option<Event> {
        match answer {
            Ok(ready) => {
                (self.unreachable, self.missed) = (None, 0);
                let became = ready && !self.ready;
                self.ready |= ready;
                became.then_some(Event::Ready)
            }
            Err(AdminError::Timeout(_)) => {
                self.missed += 1;
                let silence = PATIENCE * self.missed;
                (self.missed >= MISSES).then(|| Event::Hung(format!("didn't answer for {} s", silence.as_secs())))
            }
            Err(error) => {
                let since = *self.unreachable.get_or_insert_with(Instant::now);
                let patience = if self.ready { PATIENCE * MISSES } else { START_PATIENCE };
                (since.elapsed() >= patience).then(|| Event::Hung(format!("has lost its admin interface: {error}")))
            }
        }
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) {
        ended(&mut self.child, &self.handle).await;
    }

    /// Lets clients go, for at most `drain`, then ends it. Its listeners close after `settle`. With `idle`, it ends as
    /// soon as no request is under way after that time.
    pub(crate) async fn retire(mut self, settle: Duration, drain: Duration, idle: Option<Duration>) {
        let begun = Instant::now();
        let asked = async {
            self.admin.fail_health_check(PATIENCE).await?;
            tokio::time::sleep(settle).await;
            self.admin.close_listeners(PATIENCE).await
        };
        if let Err(error) = asked.await {
            let pid = self.handle.pid;
            if self.has_no_clients(&error).await {
                tracing::debug!(pid, %error, "an Envoy isn't up, and needn't drain");
            } else {
                tracing::warn!(pid, %error, "an Envoy can't be told to drain");
            }
        }
        while begun.elapsed() < drain {
            let Ok((connections, requests)) = self.admin.load(PATIENCE).await else { break };
            if connections == 0 || requests == 0 && idle.is_some_and(|idle| begun.elapsed() >= idle) {
                break;
            }
            let ended = tokio::time::timeout(DRAIN_PACE, ended(&mut self.child, &self.handle));
            if ended.await.is_ok() {
                break;
            }
        }
        self.terminate().await;
    }

    /// Whether an Envoy that couldn't be asked hasn't served yet, or doesn't any more.
    async fn has_no_clients(&mut self, error: &AdminError) -> bool {
        let is_not_up = !self.ready && matches!(error, AdminError::Connect(_));
        is_not_up || tokio::time::timeout(Duration::ZERO, self.ended()).await.is_ok()
    }

    /// Ends it: SIGTERM, and if that doesn't help, SIGKILL.
    pub(crate) async fn terminate(&mut self) {
        self.handle.signal(Signal::TERM);
        if tokio::time::timeout(GRACE, self.ended()).await.is_err() {
            tracing::warn!(pid = self.handle.pid, "an Envoy doesn't end; it is killed");
            self.kill().await;
        }
        self.clean();
    }

    /// Ends it at once.
    pub(crate) async fn kill(&mut self) {
        self.handle.signal(Signal::KILL);
        self.ended().await;
        self.clean();
    }

    /// Removes its socket, after its end.
    pub(crate) fn clean(&self) {
        let _ = std::fs::remove_file(&self.record.admin);
    }
}

impl Launch {
    /// Envoy's command line.
    fn command(&self, config: &Path, base_id: u32, epoch: u32) -> Command {
        let drain = self.drain.as_secs().max(1);
        let mut command = Command::new("/bin/sh");
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C in a terminal goes to the whole process group: an Envoy drains when the agent says so.
        command
            .process_group(0)
            .args(["-c", KEEPER, "foregate-envoy"])
            .arg(&self.binary)
            .current_dir(&self.dir)
            .arg("-c")
            .arg(config);
        command.args(["--log-level", "warning", "--log-format", logs::FORMAT, "--log-format-escaped"]);
        command.arg("--concurrency").arg(self.workers.to_string());
        command.arg("--drain-time-s").arg(drain.to_string());
        if self.hot_restart.is_none() {
            command.arg("--disable-hot-restart");
            return command;
        }
        command.arg("--base-id").arg(base_id.to_string()).arg("--restart-epoch").arg(epoch.to_string());
        command.arg("--socket-path").arg(self.dir.join("hr")).args(["--socket-mode", "600"]);
        command.arg("--parent-shutdown-time-s").arg((drain + 1).to_string());
        command
    }
}

/// Removes what hot restart leaves behind once no process of a base id is left.
pub(crate) fn clean_base(dir: &Path, base_id: u32) {
    let base = u64::from(base_id) * 10;
    let _ = std::fs::remove_file(format!("/dev/shm/envoy_shared_memory_{base}"));
    for epoch in 0..3 {
        for end in ["parent", "child", "udp_parent", "udp_child"] {
            let _ = std::fs::remove_file(dir.join(format!("hr_{end}_{}", base + epoch)));
        }
    }
}

fn write_bootstrap(launch: &Launch, admin: &Path, epoch: u32) -> io::Result<PathBuf> {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let bootstrap = Bootstrap {
        node: &launch.instance,
        gateway: &launch.gateway,
        xds_socket: &launch.xds_socket,
        admin_socket: admin,
        max_connections: (files.saturating_sub(RESERVED_FILES) / 2).clamp(64, 1 << 20),
    };
    let path = launch.dir.join(format!("{BOOTSTRAP}{}.json", epoch % 2));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    file.write_all(bootstrap.render().to_string().as_bytes())?;
    Ok(path)
}

/// The first line that a keeper prints.
async fn told_pid(stdout: Option<ChildStdout>) -> Option<u32> {
    let mut line = String::new();
    BufReader::new(stdout?).read_line(&mut line).await.ok()?;
    line.trim().parse().ok()
}

/// Waits for the end, and says how it was.
async fn ended(child: &mut Option<Child>, handle: &Handle) -> String {
    handle.ended().await;
    match child {
        Some(child) => child.wait().await.map_or_else(|error| format!("ended: {error}"), how),
        None => "ended".to_owned(),
    }
}

/// How it ended, and what it said last. What is in the pipe is read; what a child of its own has open is left.
async fn last_words(logs: &mut JoinSet<()>, words: &LastWords, how: String) -> String {
    let read = async { while logs.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_WORDS, read).await;
    match words.get() {
        words if words.is_empty() => how,
        words => format!("{how}: {words}"),
    }
}

/// A shell says "ended by signal N" as 128 + N.
fn how(status: ExitStatus) -> String {
    match status.code() {
        Some(code @ 129..=192) => format!("was ended by signal {}", code - 128),
        Some(code) => format!("exited with status {code}"),
        None => "ended with its keeper".to_owned(),
    }
}
