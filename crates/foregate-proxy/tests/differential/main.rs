//! The same configuration to a real Envoy and to the engine; the same requests to both; the same backends. What is
//! different must be in `docs/engine-differences.md`, and what is there must be different.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod backend;
mod case;
mod compare;
#[path = "../../../foregate-envoy/tests/support/envoys.rs"]
mod envoys;
mod explained;
mod objects;
mod side;
#[path = "../../../foregate-translate/tests/support/mod.rs"]
mod support;
mod tables;
mod wire;

use compare::{differences, observe};
use side::{Side, addresses};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hand_written_requests() {
    let [envoy_address, engine_address] = addresses();
    let binary = envoys::envoys().pop().unwrap();
    let (envoy, engine) = tokio::join!(
        Side::envoy(&binary, envoy_address, tables::routes()),
        Side::engine(engine_address, tables::routes())
    );
    let gateway = engine.gateway();
    let cases = tables::cases();
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    for case in &cases {
        let (one, other) = tokio::join!(observe(&envoy, case), observe(&engine, case));
        all.extend(differences(case, &one, &other));
        wrong.extend(explained::check(&gateway, engine_address.port(), case, &other));
    }
    println!("{} requests, {} differences, {} wrong explanations", cases.len(), all.len(), wrong.len());
    for one in &all {
        println!(
            "DIFF {} | {} | Envoy: {} | engine: {}",
            one.case.escape_debug(),
            one.what,
            one.envoy.escape_debug(),
            one.engine.escape_debug()
        );
    }
    for one in &wrong {
        println!("EXPLAIN {}", one.escape_debug());
    }
}
