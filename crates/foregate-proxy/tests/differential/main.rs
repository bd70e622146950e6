//! The same configuration to a real Envoy and to the engine; the same requests to both; the same backends. What is
//! different must be in `docs/engine-differences.md`, and what is there must be different.
//!
//! And `explain` must say of every request what the engine does with it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod backend;
mod case;
mod compare;
#[path = "../../../foregate-envoy/tests/support/envoys.rs"]
mod envoys;
mod explained;
mod frames;
mod generated;
mod http2;
mod layer4;
mod listed;
mod objects;
mod side;
#[path = "../../../foregate-translate/tests/support/mod.rs"]
mod support;
mod tables;
mod wire;

use std::time::Duration;

use case::Case;
use compare::{Difference, differences, observe, observe_frames, observe_http2};
use serde_json::Value;
use side::{Side, addresses};

/// Both sides, and what has been seen of them.
struct Suite {
    envoy: Side,
    engine: Side,
    requests: usize,
    /// Requests that `explain` was asked about.
    explained: usize,
    differences: Vec<Difference>,
    /// Where `explain` is wrong.
    unexplained: Vec<String>,
}

impl Suite {
    async fn start(objects: Vec<Value>) -> Self {
        let [envoy_address, engine_address] = addresses();
        let binary = envoys::envoys().pop().unwrap();
        let (envoy, engine) =
            tokio::join!(Side::envoy(&binary, envoy_address, objects.clone()), Side::engine(engine_address, objects));
        Self { envoy, engine, requests: 0, explained: 0, differences: Vec::new(), unexplained: Vec::new() }
    }

    async fn run(&mut self, cases: &[Case]) {
        let gateway = self.engine.gateway();
        for case in cases {
            let (envoy, engine) = tokio::join!(observe(&self.envoy, case), observe(&self.engine, case));
            self.differences.extend(differences(case, &envoy, &engine));
            self.explained += usize::from(explained::question(case).is_some());
            self.unexplained.extend(explained::check(&gateway, self.engine.address.port(), case, &engine));
        }
        self.requests += cases.len();
    }

    /// The same in HTTP/2, as far as it can be said there.
    async fn run_http2(&mut self, cases: &[Case]) {
        let gateway = self.engine.gateway();
        for case in cases {
            let (envoy, engine) = tokio::join!(observe_http2(&self.envoy, case), observe_http2(&self.engine, case));
            let (Some(envoy), Some(engine)) = (envoy, engine) else { continue };
            self.requests += 1;
            self.explained += usize::from(explained::question(case).is_some());
            self.differences.extend(differences(case, &envoy, &engine));
            self.unexplained.extend(explained::check(&gateway, self.engine.address.port(), case, &engine));
        }
    }

    /// Frames; where one side seems to answer and the other doesn't, the answer may only have been late.
    async fn run_frames(&mut self, cases: &[Case]) {
        for case in cases {
            let mut found = Vec::new();
            for patience in [frames::PATIENCE, frames::LONG_PATIENCE] {
                let envoy = observe_frames(&self.envoy, case, patience);
                let (envoy, engine) = tokio::join!(envoy, observe_frames(&self.engine, case, patience));
                found = differences(case, &envoy, &engine);
                if found.is_empty() {
                    break;
                }
            }
            self.requests += 1;
            self.differences.extend(found);
        }
    }

    /// Other routes, on both sides; returns when both serve by them.
    async fn apply(&mut self, objects: Vec<Value>, says: &str) {
        tokio::join!(self.envoy.apply(objects.clone()), self.engine.apply(objects));
        let ready = case::get("ready.test", "/");
        for side in [&self.envoy, &self.engine] {
            let serving = async {
                while !observe(side, &ready).await.replies[0].header("location").is_some_and(|it| it.ends_with(says)) {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            let done = tokio::time::timeout(wire::LIMIT, serving).await;
            assert!(done.is_ok(), "{} never serves {says}", side.name);
        }
    }

    fn finish(&self, list: &[listed::Listed], at_least: usize) {
        let (requests, explained) = (self.requests, self.explained);
        println!(
            "{requests} requests, {explained} explained, {} differences, all listed or said below",
            self.differences.len()
        );
        let unexpected = listed::unexpected(&self.differences, list);
        assert!(unexpected.is_empty(), "{} unexpected:\n{}", unexpected.len(), unexpected.join("\n"));
        assert!(self.unexplained.is_empty(), "explain is wrong:\n{}", self.unexplained.join("\n"));
        assert!(
            requests >= at_least && explained >= at_least * 4 / 5,
            "only {requests} requests, {explained} explained"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hand_written_requests() {
    let mut suite = Suite::start(tables::routes()).await;
    suite.run(&tables::cases()).await;
    suite.finish(listed::LIST, 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_requests() {
    let mut tables = generated::all().into_iter();
    let first = tables.next().unwrap();
    let mut suite = Suite::start(first.routes).await;
    suite.run(&first.cases).await;
    suite.run_http2(&first.cases).await;
    for (at, table) in tables.enumerate() {
        suite.apply(table.routes, &format!("/{}", at + 1)).await;
        suite.run(&table.cases).await;
        suite.run_http2(&table.cases).await;
    }
    suite.finish(listed::GENERATED, 1_900);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_http2() {
    let mut suite = Suite::start(tables::routes()).await;
    suite.run_http2(&tables::cases()).await;
    suite.run_http2(&tables::calls()).await;
    suite.run_frames(&frames::cases()).await;
    suite.finish(listed::HTTP2, 1_100);
}

#[test]
fn the_list_is_documented() {
    let wrong = listed::undocumented(&[listed::LIST, listed::GENERATED, listed::HTTP2]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
