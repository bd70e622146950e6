//! Processes killed while two instances of a gateway carry requests: controllers, the platform, agents, engines.

use std::time::{Duration, Instant};

use kube::api::DeleteParams;
use rustix::process::Signal;

use crate::Args;
use crate::harness::envoy;
use crate::scene::{NAMESPACE, route_object};
use crate::split::Split;
use crate::ways::{BOTH, Load, Tally, Way};

/// Requests that are answered between two kills.
const BETWEEN: u64 = 100;

/// Each kind of process is killed again and again, on each engine. After every kill a route that was written before or
/// meanwhile must serve on both instances. Nothing may fail that isn't answered by the other instance.
pub async fn run(args: &Args) {
    println!(
        "  {:<14} {:<12} {:>5} {:>9} {:>6} {:>8} {:>7} {:>22}",
        "engine", "killed", "times", "requests", "cut", "refused", "failed", "back after ms max"
    );
    for engine in ["builtin", envoy::NEW] {
        let mut split = Split::set(2, engine).await;
        let load = Load::start(2, &split.ways, "web");
        let (times, mut serial) = (args.times(20).max(2), 0);
        let kinds: &[&str] = match engine {
            "builtin" => &["controller", "platform", "node"],
            // What doesn't depend on the engine has been tried.
            _ if args.check => &["node", "engine"],
            _ => &["controller", "platform", "node", "engine"],
        };
        let mut all = Vec::new();
        for &kind in kinds {
            load.take();
            // An engine that dies again and again is started after growing pauses: more would measure these.
            let times = if kind == "engine" { times.min(8) } else { times };
            let mut slowest = Duration::ZERO;
            for round in 0..times {
                serial += 1;
                slowest = slowest.max(kill(&mut split, kind, round, serial).await);
                load.go_on(BETWEEN).await;
            }
            all.extend(show(engine, kind, times, load.take(), slowest));
        }
        all.extend(load.finish().await.failed);
        assert!(all.is_empty(), "{}: {:#?}", all.len(), &all[..all.len().min(20)]);
    }
}

fn show(engine: &str, kind: &str, times: usize, tally: Tally, slowest: Duration) -> Vec<String> {
    let Tally { answered, cut, refused, failed } = tally;
    println!(
        "  {engine:<14} {kind:<12} {times:>5} {:>9} {cut:>6} {refused:>8} {:>7} {:>22.1}",
        answered + failed.len() as u64,
        failed.len(),
        slowest.as_secs_f64() * 1000.0
    );
    failed
}

/// Kills one, and starts it again unless Foregate does; how long it took until all was well again: for controllers and
/// the platform until a change that was written while they were dead serves, for nodes and engines until that instance
/// serves.
async fn kill(split: &mut Split, kind: &str, round: usize, serial: usize) -> Duration {
    let way = BOTH[round % 2];
    let killed = Instant::now();
    match kind {
        "controller" => {
            let index = round % split.scene.bed.controllers.len();
            split.scene.bed.controllers[index].take().unwrap().stop(Signal::KILL);
            let host = change(split, serial).await;
            split.ways.until_both_serve(&host).await;
            let took = killed.elapsed();
            let again = split.scene.bed.controller(index);
            split.scene.bed.controllers[index] = Some(again);
            took
        }
        "platform" => {
            split.scene.bed.kill_up();
            let host = change(split, serial).await;
            split.scene.bed.start_up();
            split.ways.until_both_serve(&host).await;
            killed.elapsed()
        }
        "node" => {
            split.kill_node(way);
            let host = change(split, serial).await;
            split.start_node(way);
            split.ways.until(way, "web", |answer| answer.status == 200).await;
            let took = killed.elapsed();
            split.ways.until_both_serve(&host).await;
            settle(split, way).await;
            took
        }
        _ => {
            split.kill_engines(way);
            split.ways.until(way, "web", |answer| answer.status == 200).await;
            let took = killed.elapsed();
            let host = change(split, serial).await;
            split.ways.until_both_serve(&host).await;
            took
        }
    }
}

/// Writes a route, and deletes the one before.
async fn change(split: &Split, serial: usize) -> String {
    let api = split.scene.routes();
    let host = format!("k{serial}.kill.test");
    let route = route_object(NAMESPACE, &format!("k{serial}"), &host, "two");
    api.create(&Default::default(), &route).await.unwrap();
    let before = format!("k{}", serial - 1);
    let _ = api.delete(&before, &DeleteParams::default()).await;
    host
}

/// A node has written down what it has about a second after a change.
async fn settle(split: &Split, way: Way) {
    split.ways.until(way, "web", |answer| answer.status == 200).await;
    tokio::time::sleep(crate::scene::SETTLED).await;
}
