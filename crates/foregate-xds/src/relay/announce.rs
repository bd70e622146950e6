//! That a node's agent is there: one stream to the platform that says nothing, and is open for as long as it runs. So
//! a node without instances is known to live, and nobody polls.

use std::time::Duration;

use foregate_envoy::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// A stream with this header asks for nothing: while it is open, the agent of the certificate's node runs.
pub(crate) const HEADER: &str = "foregate-agent-runs";

/// The first pause before the platform is tried again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// A stream that was open for so long has worked.
const WORKED: Duration = Duration::from_secs(5);

/// Keeps the stream open until it is told to stop.
pub(super) async fn run(channel: Channel, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    let mut said: Option<Code> = None;
    loop {
        let begun = tokio::time::Instant::now();
        let ended = tokio::select! {
            ended = hold(channel.clone()) => ended,
            () = stop.cancelled() => return,
        };
        if begun.elapsed() >= WORKED {
            (pause, said) = (FIRST_PAUSE, None);
        }
        // Once for each reason. That the platform is away, the instances' streams say.
        if said.replace(ended.code()) != Some(ended.code()) {
            tracing::debug!(reason = super::reason(&ended), "the platform doesn't hear from this agent; trying again");
        }
        tokio::select! {
            () = tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))) => {}
            () = stop.cancelled() => return,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Opens it, and says why it has ended.
async fn hold(channel: Channel) -> Status {
    let mut request = Request::new(futures::stream::pending());
    request.metadata_mut().insert(HEADER, MetadataValue::from_static("1"));
    let opened = AggregatedDiscoveryServiceClient::new(channel).delta_aggregated_resources(request).await;
    let mut responses = match opened {
        Ok(opened) => opened.into_inner(),
        Err(status) => return status,
    };
    loop {
        match responses.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Status::unavailable("the stream has ended"),
            Err(status) => return status,
        }
    }
}
