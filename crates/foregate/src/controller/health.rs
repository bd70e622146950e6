//! `GET /livez` (and `/healthz`), `/readyz` and `/metrics` of a controller.

use std::fmt::Write as _;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use hyper::StatusCode;
use tokio::sync::{SetOnce, watch};
use tokio_util::sync::CancellationToken;

use crate::probes;

/// What is told.
#[derive(Clone)]
pub struct State {
    /// Set once everything was listed and decided on.
    pub caught_up: Arc<SetOnce<()>>,
    /// Whether this replica writes.
    pub leads: watch::Receiver<bool>,
}

/// Serves until shutdown.
///
/// # Errors
/// When the listener can't be used.
pub async fn serve(listener: TcpListener, state: State, shutdown: CancellationToken) -> io::Result<()> {
    probes::serve(listener, move |path| std::future::ready(tell(&path, &state)), shutdown).await
}

fn tell(path: &str, state: &State) -> (StatusCode, String) {
    let is_ready = state.caught_up.initialized();
    match path {
        "/livez" | "/healthz" => (StatusCode::OK, "ok\n".to_owned()),
        // A replica that waits is ready: it has caught up, and takes over at once.
        "/readyz" if is_ready => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "not everything in the cluster is known yet\n".to_owned()),
        "/metrics" => {
            let mut text = String::new();
            for (name, help, value) in [
                ("foregate_controller_leads", "Whether this replica writes.", *state.leads.borrow()),
                ("foregate_controller_ready", "Whether everything was listed and decided on.", is_ready),
            ] {
                // Writing to a string can't fail.
                let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {}\n", u8::from(value));
            }
            (StatusCode::OK, text)
        }
        _ => (StatusCode::NOT_FOUND, "not found; try /livez, /readyz or /metrics\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_replica_is_ready_once_it_has_caught_up() {
        let (leads, told) = watch::channel(false);
        let state = State { caught_up: Arc::default(), leads: told };
        assert_eq!(tell("/livez", &state).0, StatusCode::OK);
        assert_eq!(tell("/readyz", &state).0, StatusCode::SERVICE_UNAVAILABLE);
        state.caught_up.set(()).unwrap();
        assert_eq!(tell("/readyz", &state).0, StatusCode::OK);
        assert!(tell("/metrics", &state).1.contains("foregate_controller_leads 0"));
        leads.send(true).unwrap();
        assert!(tell("/metrics", &state).1.contains("foregate_controller_leads 1"));
        assert_eq!(tell("/", &state).0, StatusCode::NOT_FOUND);
    }
}
