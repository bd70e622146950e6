//! When `foregate up` may say that it is ready: once everything that is stored serves.
//!
//! Each stage says when it is through with what it found at the start, and the next one begins then: the controller has
//! derived what a crash may have lost; so the platform's first lists are complete, and nothing half-made is ever
//! published; and the platform says when the engine has applied what it published. See
//! [`foregate_controller::run`] and [`foregate_platform::PlatformOptions::serving`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use foregate_api::gateway::Gateway;
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use kube::{Api, Client};
use tokio::sync::SetOnce;

/// When a start that isn't over says so.
const LONG: Duration = Duration::from_secs(10);

/// How far the start has come.
#[derive(Debug, Default)]
pub struct Start {
    /// The API has all that the controller derives.
    pub derived: Arc<SetOnce<()>>,
    /// The engine has all that the platform publishes.
    pub serving: Arc<SetOnce<()>>,
}

impl Start {
    /// Waits until everything that was stored serves.
    pub async fn over(&self) {
        while tokio::time::timeout(LONG, self.serving.wait()).await.is_err() {
            let derived = self.derived.initialized();
            tracing::warn!(
                derived,
                "not everything that is stored serves yet; `kubectl get gatewayinstances` shows what does"
            );
        }
    }
}

/// Waits until the demo's Gateway is programmed and its routes answer. Returns the gateway's address.
pub async fn demo_serves(client: &Client, port: u16) -> IpAddr {
    loop {
        if let Some(address) = demo_address(client).await
            && answers(SocketAddr::new(address, port), "/").await
            && answers(SocketAddr::new(address, port), "/green/").await
            && answers(SocketAddr::new(address, port), "/canary").await
        {
            return address;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn demo_address(client: &Client) -> Option<IpAddr> {
    let api: Api<Gateway> = Api::namespaced(client.clone(), "default");
    let status = api.get_opt("demo").await.ok()??.status?;
    let programmed =
        status.conditions.iter().any(|condition| condition.type_ == "Programmed" && condition.status == "True");
    let address = status.addresses.first()?.value.parse().ok()?;
    programmed.then_some(address)
}

/// Whether a GET is answered with 200.
async fn answers(address: SocketAddr, path: &str) -> bool {
    let ask = async {
        let stream = tokio::net::TcpStream::connect(address).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let request = Request::get(path).header("host", address.to_string()).body(Empty::<Bytes>::new()).ok()?;
        let response = sender.send_request(request).await.ok()?;
        Some(response.status() == 200)
    };
    tokio::time::timeout(Duration::from_secs(2), ask).await.ok().flatten().unwrap_or(false)
}
