//! When `foregate up` may say that it is ready: once everything that is stored serves.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use foregate_api::GatewayInstance;
use foregate_api::gateway::Gateway;
use foregate_xds::{Cache, Event, Instance};
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};

use super::node::NODE;

/// What each instance has applied.
type Applied = HashMap<Instance, u64>;

/// Looks at xDS events on their way to the platform.
pub struct Observer {
    applied: watch::Receiver<Applied>,
}

/// Passes events on, and notes what each instance has applied.
pub fn observe(mut events: mpsc::UnboundedReceiver<Event>) -> (Observer, mpsc::UnboundedReceiver<Event>) {
    let (forward, forwarded) = mpsc::unbounded_channel();
    let (note, applied) = watch::channel(Applied::new());
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            match &event {
                Event::Progress { instance, applied } => {
                    note.send_modify(|noted| _ = noted.insert(instance.clone(), *applied));
                }
                Event::Disconnected(instance) => note.send_modify(|noted| _ = noted.remove(instance)),
                Event::Connected(_) | Event::Nacked { .. } => {}
            }
            if forward.send(event).is_err() {
                return;
            }
        }
    });
    (Observer { applied }, forwarded)
}

impl Observer {
    /// Waits until every instance of this node that the API knows has applied what was published for it.
    pub async fn all_serve(&self, client: &Client, cache: &Cache) -> kube::Result<()> {
        cache.until_started().await;
        let api: Api<GatewayInstance> = Api::all(client.clone());
        let instances = api.list(&ListParams::default()).await?;
        let ours = instances.items.iter().filter(|instance| instance.spec.node == NODE);
        let wanted: Vec<Instance> = ours
            .map(|instance| {
                let proxy = &instance.spec.proxy;
                Instance { group: format!("{}/{}", proxy.namespace, proxy.name).into(), node: NODE.into() }
            })
            .collect();
        let serve = |applied: &Applied| wanted.iter().all(|instance| applied.get(instance).is_some_and(|seen| *seen > 0));
        // The sender lives as long as the process's event task; if that ended, whoever watches the parts says so.
        let _ = self.applied.clone().wait_for(serve).await;
        Ok(())
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
    let programmed = status.conditions.iter().any(|condition| condition.type_ == "Programmed" && condition.status == "True");
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
