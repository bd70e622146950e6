//! Connections and datagrams: the same resources to a real Envoy and to the engine, the same endpoints, and the same
//! things done by clients. What comes of each is a word, and both must have the same.

mod datagrams;
mod people;
mod resources;
mod servers;
mod tcp;
mod tls;

use std::net::SocketAddr;

use super::envoys;
use super::side::Side;

/// Both sides, and what has been seen.
struct Pair {
    sides: [Side; 2],
    different: Vec<String>,
    cases: usize,
}

impl Pair {
    async fn start() -> Self {
        let binary = envoys::envoys().pop().unwrap();
        Self { sides: Side::both(&binary).await, different: Vec::new(), cases: 0 }
    }

    /// Resources in YAML, with `ADDRESS` for the side's own; returns when both have them.
    async fn set(&mut self, resources: &[String]) {
        for side in &mut self.sides {
            let address = side.address.ip().to_string();
            let all = resources.iter().map(|yaml| resources::resource(&yaml.replace("ADDRESS", &address)));
            let all = all.collect();
            side.set(all).await;
        }
    }

    /// Where a listener is that has this port added to the sides' own.
    fn port(&self, offset: u16) -> u16 {
        self.sides[0].address.port() + offset
    }

    /// The same, on each side.
    fn addresses(&self, offset: u16) -> [SocketAddr; 2] {
        let port = self.port(offset);
        self.sides.each_ref().map(|side| SocketAddr::new(side.address.ip(), port))
    }

    /// Does something to both; `known` says what comes of it if that differs: Envoy's word, and the engine's.
    async fn compare<F: AsyncFn(SocketAddr) -> String>(
        &mut self,
        case: &str,
        offset: u16,
        known: Option<(&str, &str)>,
        act: F,
    ) {
        let [envoy, engine] = self.addresses(offset);
        let (envoy, engine) = tokio::join!(act(envoy), act(engine));
        self.cases += 1;
        let fine = match known {
            None => envoy == engine,
            Some(known) => known == (&*envoy, &*engine) && envoy != engine,
        };
        if !fine {
            self.different.push(format!("{case} | Envoy: {envoy:?} | engine: {engine:?}"));
        }
    }

    fn finish(&self, at_least: usize) {
        println!("{} cases", self.cases);
        assert!(self.different.is_empty(), "{}", self.different.join("\n"));
        assert!(self.cases >= at_least, "only {} cases", self.cases);
    }
}
