//! kill -9 under writes, again and again: nothing acknowledged is lost, no revision is given twice.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use foregate_apiserver::{Durability, Server, ServerOptions};
use http::Method;
use serde_json::{Value, json};

use crate::bench::{MAPS, config_map, send};

/// Set in the child: the data directory.
const DIR: &str = "FOREGATE_TEST_KILL_DIR";
/// Set in the child: where its values start, so that they rise from round to round.
const BASE: &str = "FOREGATE_TEST_KILL_BASE";
/// How often the child is killed.
const ROUNDS: &str = "FOREGATE_TEST_KILLS";
const WRITERS: usize = 6;

/// Not a test by itself: what the killed process runs. Says every acknowledged write on its standard output.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Arc::new(Server::open(ServerOptions::new(dir)).unwrap());
        let writers = (0..WRITERS).map(|n| tokio::spawn(write_on(server.clone(), n)));
        futures::future::join_all(writers).await;
    });
}

/// Writes without end: one object is changed, others come and go. Even writers are users, odd ones reconcilers.
async fn write_on(server: Arc<Server>, n: usize) {
    let durability = if n.is_multiple_of(2) { Durability::Immediate } else { Durability::Derived };
    let client = server.client_for(durability);
    let headers = [("content-type", "application/json")];
    let base: u64 = std::env::var(BASE).ok().and_then(|b| b.parse().ok()).unwrap_or(0);
    for i in base.. {
        let name = format!("w{n}-{}", i % 3);
        let path = format!("{MAPS}/{name}");
        let (code, answer) = match i % 7 {
            6 => send(&client, Method::DELETE, &path, &[], Vec::new()).await,
            _ => {
                let object = config_map(&name, json!({"value": i.to_string(), "fill": "x".repeat(i as usize % 2000)}));
                let body = object.to_string().into_bytes();
                let put = send(&client, Method::PUT, &path, &headers, body.clone()).await;
                if put.0 == 404 { send(&client, Method::POST, MAPS, &headers, body).await } else { put }
            }
        };
        assert!(matches!(code, 200 | 201 | 404), "{answer}");
        let value = answer["data"]["value"].as_str().unwrap_or("-");
        let revision = answer["metadata"]["resourceVersion"].as_str().unwrap_or("0");
        let mut out = std::io::stdout().lock();
        writeln!(out, "ack {n} {name} {value} {revision}").unwrap();
        out.flush().unwrap();
    }
}

/// What the child acknowledged last, by name: its value, or none after a deletion.
type Acknowledged = BTreeMap<String, Option<u64>>;

#[derive(Default)]
struct Known {
    users: Acknowledged,
    revisions: std::collections::HashMap<u64, String>,
    highest: u64,
    writes: usize,
}

impl Known {
    fn take(&mut self, line: &str) {
        let Some(at) = line.find("ack ") else { return };
        let parts: Vec<&str> = line[at..].split_whitespace().collect();
        let [_, writer, name, value, revision] = parts.as_slice() else { return };
        let (writer, revision): (usize, u64) = (writer.parse().unwrap(), revision.parse().unwrap());
        if writer % 2 == 0 {
            self.users.insert((*name).to_owned(), value.parse().ok());
        }
        if revision > 0 {
            let before = self.revisions.insert(revision, format!("{name} {value}"));
            // A write that changes nothing answers with the old revision.
            assert!(before.is_none_or(|b| b == format!("{name} {value}")), "revision {revision} was given twice");
            self.highest = self.highest.max(revision);
        }
        self.writes += 1;
    }
}

fn run_and_kill(dir: &Path, known: &mut Known, round: usize, lines: usize) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kill::child", "--exact", "--nocapture"])
        .env(DIR, dir)
        // A multiple of both periods of the child's work.
        .env(BASE, (round * 21_000).to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    let mut seen = 0;
    while seen < lines && output.read_line(&mut line).unwrap() > 0 {
        seen += usize::from(line.contains("ack "));
        known.take(&line);
        line.clear();
    }
    assert_eq!(seen, lines, "the child ended by itself");
    child.kill().unwrap();
    // What it said before it died counts as well; a cut line doesn't.
    while output.read_line(&mut line).is_ok_and(|n| n > 0) {
        if line.ends_with('\n') {
            known.take(&line);
        }
        line.clear();
    }
    child.wait().unwrap();
}

/// Opens what the child left, and holds it against what it said.
async fn check(dir: &Path, known: &mut Known) {
    let server = Server::open(ServerOptions::new(dir)).unwrap();
    let client = server.client();
    let (_, list) = send(&client, Method::GET, MAPS, &[], Vec::new()).await;
    let items = list["items"].as_array().unwrap();
    let there: BTreeMap<&str, &Value> = items.iter().map(|o| (o["metadata"]["name"].as_str().unwrap(), o)).collect();
    for (name, expected) in &known.users {
        let found = there.get(name.as_str()).map(|o| o["data"]["value"].as_str().unwrap().parse::<u64>().unwrap());
        // One more write may have reached the disk before its acknowledgement reached us.
        let fine = match (expected, found) {
            (Some(expected), Some(found)) => found >= *expected,
            (Some(expected), None) => next_deletes(*expected),
            (None, _) => true,
        };
        assert!(fine, "{name}: acknowledged {expected:?}, found {found:?}");
    }
    for object in items {
        let revision: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        let named =
            format!("{} {}", object["metadata"]["name"].as_str().unwrap(), object["data"]["value"].as_str().unwrap());
        if let Some(before) = known.revisions.get(&revision) {
            assert_eq!(*before, named, "revision {revision} was given twice");
        }
    }
    let (_, now) = send(&client, Method::GET, "/api/v1/namespaces", &[], Vec::new()).await;
    let start: u64 = now["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(start > known.highest, "revisions start at {start}, {} was given before", known.highest);
    // A watch from before the crash lists anew rather than miss anything.
    let watch = format!("{MAPS}?watch=true&resourceVersion={}", known.highest);
    let (code, answer) = send(&client, Method::GET, &watch, &[], Vec::new()).await;
    let status = if code == 200 { &answer["object"] } else { &answer };
    assert_eq!(status["code"], 410, "{answer}");
    known.highest = start;
    server.shutdown().await;
}

/// Whether a user's writer may have deleted an object right after it wrote `value`: each name comes round every
/// third write, each deletion every seventh.
fn next_deletes(value: u64) -> bool {
    (value + 3) % 7 == 6
}

#[test]
fn nothing_acknowledged_is_lost() {
    let rounds: usize = std::env::var(ROUNDS).ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let dir = tempfile::tempdir().unwrap();
    let mut known = Known::default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for round in 0..rounds {
        // From right after the start to deep in the work.
        run_and_kill(dir.path(), &mut known, round, 1 + (round * 37) % 300);
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(60), check(dir.path(), &mut known)).await.unwrap();
        });
    }
    assert!(known.writes > rounds, "the child wrote");
}
