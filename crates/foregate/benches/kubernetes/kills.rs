//! Processes killed: controllers in turn while requests flow, then the gateway side, engine included.

use std::time::Instant;

use rustix::process::Signal;

use crate::Args;
use crate::measure::Probe;
use crate::scene::{Load, NAMESPACE, Scene, none_failed, route_object};

/// Controllers are killed in turn under load, whichever leads, and a route written afterwards serves. The gateway side
/// is killed without load, as it is the only one, and comes back with everything.
pub async fn run(mut scene: Scene, args: &Args) {
    let rounds = args.times(20).max(2);
    let load = Load::start(2, scene.address, "web", "/");
    let (mut slowest, api) = (std::time::Duration::ZERO, scene.routes());
    for round in 0..rounds {
        let index = round % scene.bed.controllers.len();
        scene.bed.controllers[index].take().unwrap().stop(Signal::KILL);
        let host = format!("k{round}.kill.test");
        let route = route_object(NAMESPACE, &format!("k{round}"), &host, "two");
        api.create(&Default::default(), &route).await.unwrap();
        let written = Instant::now();
        Probe::connect(scene.address).await.until_200(&host).await;
        slowest = slowest.max(written.elapsed());
        let again = scene.bed.controller(index);
        scene.bed.controllers[index] = Some(again);
    }
    let (sent, failures) = load.finish().await;
    none_failed(
        &format!("{rounds} controllers killed; a new route served after {slowest:.1?} at most"),
        sent,
        &failures,
    );

    scene.bed.kill_up();
    let dead = Instant::now();
    let route = route_object(NAMESPACE, "meanwhile", "meanwhile.kill.test", "two");
    api.create(&Default::default(), &route).await.unwrap();
    scene.bed.start_up();
    Probe::connect(scene.address).await.until_200("meanwhile.kill.test").await;
    println!("  gateway side killed: all that was written meanwhile serves {:.1?} after", dead.elapsed());
}
