//! What measurements of changes have in common: a client that asks until a route serves, and a process' costs.

#![allow(dead_code, reason = "each bench uses a part")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;

/// A keep-alive connection that asks again and again.
pub struct Probe {
    sender: hyper::client::conn::http1::SendRequest<Empty<Bytes>>,
}

impl Probe {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender }
    }

    /// Asks until the answer is 200. A route that isn't there yet is a 404; anything else is a fault.
    pub async fn until_200(&mut self, host: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.serves(host).await {
            assert!(Instant::now() < deadline, "{host} never serves");
            // Leaves the processor to what is measured.
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }

    /// Asks once: whether the answer is 200, and not 404.
    pub async fn serves(&mut self, host: &str) -> bool {
        self.sender.ready().await.unwrap();
        let request = Request::get("/").header("host", host).body(Empty::<Bytes>::new()).unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        let status = response.status();
        response.into_body().collect().await.unwrap();
        match status.as_u16() {
            200 => true,
            404 => false,
            other => panic!("{host}: {other}"),
        }
    }
}

/// Processor time of all threads of a process.
pub fn cpu(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let nanos = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Resident memory of a process, in MiB.
pub fn rss(pid: u32) -> u64 {
    Memory::of(pid).rss
}

/// Memory of a process, in MiB.
#[derive(Clone, Copy)]
pub struct Memory {
    /// All that is resident.
    pub rss: u64,
    /// What of it is the process' own, and nobody else's.
    pub anon: u64,
    /// What of it is a file's: pages of the program, which the kernel may drop, and shares among processes.
    pub file: u64,
    /// As `rss`, but a page that several processes have counts for each in part.
    pub pss: u64,
}

impl Memory {
    /// As it is now.
    pub fn of(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let of = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default() / 1024
        };
        let (rss, anon) = (of(&status, "VmRSS"), of(&status, "RssAnon"));
        Self { rss, anon, file: of(&status, "RssFile"), pss: of(&rollup, "Pss") }
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{} = {}+{} ({})", self.rss, self.anon, self.file, self.pss))
    }
}

/// Waits until processes have had nothing to do for a while, so that what was before isn't measured.
pub async fn until_quiet(pids: &[u32]) {
    let all = || pids.iter().map(|&pid| cpu(pid)).sum::<Duration>();
    for _ in 0..200 {
        let before = all();
        tokio::time::sleep(Duration::from_millis(100)).await;
        if all() - before < Duration::from_millis(2) {
            return;
        }
    }
}

/// Median, 99th percentile and maximum, in milliseconds.
pub fn spread(times: &mut [Duration]) -> String {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    format!("{:.1} / {:.1} / {:.1}", at(0.5), at(0.99), at(1.0))
}
