//! An instance's xDS stream: subscriptions, responses, reconnects. What was published serves on while it is down.

use std::time::Duration;

use foregate_envoy::ResourceKind;
use foregate_xds::client::{ClientError, Known};
use tokio_util::sync::CancellationToken;

use super::source::{Connector, Source};
use super::store::Store;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Runs until it is stopped.
pub(super) async fn run<C: Connector>(mut store: Store, mut connector: C, stop: CancellationToken) {
    let mut known = Known::new();
    let mut pause = FIRST_PAUSE;
    loop {
        let connected = tokio::select! {
            () = stop.cancelled() => return,
            connected = meanwhile(&mut store, connector.connect(std::mem::take(&mut known))) => connected,
        };
        let error = match connected {
            Ok(mut source) => {
                store.connected(true);
                let ended = tokio::select! {
                    () = stop.cancelled() => return,
                    ended = serve(&mut store, &mut source, &mut pause) => ended,
                };
                store.connected(false);
                known = source.into_known();
                ended
            }
            Err(error) => error,
        };
        tracing::warn!(instance = store.name(), %error, "no xDS stream; what was published serves on");
        // Spread, so that many instances don't return at the same moment.
        let wait = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        tokio::select! {
            () = stop.cancelled() => return,
            () = meanwhile(&mut store, tokio::time::sleep(wait)) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Waits for something, and applies what lookups of names find in the meantime.
async fn meanwhile<F: Future>(store: &mut Store, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    loop {
        tokio::select! {
            output = &mut future => return output,
            found = store.lookups.next() => store.found(found),
        }
    }
}

async fn serve<S: Source>(store: &mut Store, source: &mut S, pause: &mut Duration) -> ClientError {
    let result: Result<(), ClientError> = async {
        source.subscribe(ResourceKind::Cluster, vec!["*".to_owned()])?;
        source.subscribe(ResourceKind::Listener, vec!["*".to_owned()])?;
        for (kind, names) in store.subscriptions() {
            source.subscribe(kind, names)?;
        }
        loop {
            let warm = store.next_warm();
            let response = tokio::select! {
                response = source.next() => response?,
                () = tokio::time::sleep_until(warm.unwrap_or_else(tokio::time::Instant::now)), if warm.is_some() => {
                    store.warmed();
                    continue;
                }
                found = store.lookups.next() => {
                    store.found(found);
                    continue;
                }
            };
            *pause = FIRST_PAUSE;
            let refusals = store.apply(&response);
            // Subscriptions first: the server knows what an accepted resource names when it reads the ACK.
            for (kind, names, wanted) in store.changed_subscriptions() {
                if wanted {
                    source.subscribe(kind, names)?;
                } else {
                    source.unsubscribe(kind, names)?;
                }
            }
            if refusals.is_empty() {
                source.ack(&response)?;
            } else {
                source.nack(&response, &refusals.join("; "))?;
            }
        }
    }
    .await;
    result.err().unwrap_or(ClientError::Closed)
}
