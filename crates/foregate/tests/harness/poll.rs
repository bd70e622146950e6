//! A client that asks again and again while the server is killed and started, and accepts right answers only.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{PATIENCE, http};

/// Between two rounds of requests.
const PACE: Duration = Duration::from_millis(2);

/// What a poll is to find, by host: bodies that are right at the moment. Clones are the same.
#[derive(Clone, Default)]
pub struct Expected(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    hosts: BTreeMap<&'static str, Vec<&'static str>>,
    /// Odd while the server is being killed.
    kills: u64,
    done: bool,
}

/// What came of a poll.
#[derive(Debug, Default)]
pub struct Polled {
    /// 200 with a right body.
    pub right: usize,
    /// Nobody listens.
    pub refused: usize,
    /// Cut off by a kill.
    pub cut: usize,
    /// Anything else.
    pub wrong: Vec<String>,
}

impl Expected {
    /// From now on these bodies are right.
    pub fn set(&self, host: &'static str, bodies: &[&'static str]) {
        self.0.lock().unwrap().hosts.insert(host, bodies.to_vec());
    }

    /// These bodies are right now.
    pub fn of(&self, host: &str) -> Vec<&'static str> {
        self.0.lock().unwrap().hosts[host].clone()
    }

    /// To be called before and after a kill: what ends in between may be cut off.
    pub fn kill(&self) {
        self.0.lock().unwrap().kills += 1;
    }

    /// Ends the polls.
    pub fn done(&self) {
        self.0.lock().unwrap().done = true;
    }

    /// Asks for all hosts in turn until it is done.
    pub fn poll(&self, address: SocketAddr) -> JoinHandle<Polled> {
        let expected = self.clone();
        tokio::spawn(async move {
            let (mut polled, mut pace) = (Polled::default(), tokio::time::interval(PACE));
            pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while !expected.0.lock().unwrap().done {
                let hosts: Vec<&'static str> = expected.0.lock().unwrap().hosts.keys().copied().collect();
                for host in hosts {
                    expected.ask(address, host, &mut polled).await;
                }
                pace.tick().await;
            }
            polled
        })
    }

    async fn ask(&self, address: SocketAddr, host: &str, polled: &mut Polled) {
        let (mut right, kills) = (self.of(host), self.0.lock().unwrap().kills);
        let answer = tokio::time::timeout(PATIENCE, http::get(address, host, "/")).await;
        right.extend(self.of(host));
        let killed = kills % 2 == 1 || kills != self.0.lock().unwrap().kills;
        match answer {
            Ok(Ok(response)) => {
                let body = String::from_utf8_lossy(response.body()).into_owned();
                if response.status() == 200 && right.contains(&&*body) {
                    polled.right += 1;
                } else {
                    polled.wrong.push(format!("{host}: {} {body:?}; right: {right:?}", response.status()));
                }
            }
            Ok(Err(error)) if error.contains("Connection refused") => polled.refused += 1,
            Ok(Err(_)) if killed => polled.cut += 1,
            Ok(Err(error)) => polled.wrong.push(format!("{host}: {error}")),
            Err(_) => polled.wrong.push(format!("{host}: no answer")),
        }
    }
}
