//! A running Envoy, whose xDS server is the test: one message per response, one answer per message.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use foregate_envoy::ResourceKind;
use foregate_envoy::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use foregate_envoy::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use foregate_envoy::pb::google::protobuf::Any;
use futures::Stream;
use tokio::net::UnixListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{UnboundedReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Responses under way.
const WINDOW: usize = 16;
/// Envoy answers in milliseconds; one that doesn't in this time never will.
const LIMIT: Duration = Duration::from_secs(60);

/// What Envoy says to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    Refused(String),
    /// It ended; nothing is known but that.
    Died,
}

/// One resource to ask about.
#[derive(Clone, Debug)]
pub struct Question {
    pub kind: ResourceKind,
    pub body: Vec<u8>,
}

/// Both ends of a stream.
struct Talk {
    responses: UnboundedSender<Result<DeltaDiscoveryResponse, Status>>,
    requests: Streaming<DeltaDiscoveryRequest>,
}

/// A running Envoy.
pub struct Live {
    binary: PathBuf,
    directory: tempfile::TempDir,
    process: Child,
    streams: UnboundedReceiver<Talk>,
    talk: Talk,
    nonce: u64,
    /// How often it ended.
    pub deaths: usize,
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Live {
    pub async fn start(binary: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("xds")).unwrap();
        let (sender, mut streams) = unbounded_channel();
        let service = AggregatedDiscoveryServiceServer::new(Ads(sender));
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
        std::fs::write(directory.path().join("bootstrap.yaml"), BOOTSTRAP).unwrap();
        let mut process = spawn(binary, directory.path());
        let talk = meet(&mut streams, &mut process).await;
        Self { binary: binary.to_owned(), directory, process, streams, talk, nonce: 0, deaths: 0 }
    }

    /// Asks about all; the answers are in the order of the questions.
    pub async fn ask(&mut self, questions: &[Question]) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(questions.len());
        let mut window = WINDOW;
        while answers.len() < questions.len() {
            // After a death one by one, so that it is known who did it.
            let end = questions.len().min(answers.len() + if window == 1 { WINDOW } else { usize::MAX / 2 });
            let died = self.run(&questions[..end], &mut answers, window).await;
            match (died, window) {
                (false, _) => window = WINDOW,
                (true, 1) => answers.push(Answer::Died),
                (true, _) => window = 1,
            }
            if died {
                self.restart().await;
            }
        }
        answers
    }

    /// Asks what isn't answered yet; whether Envoy ended over it.
    async fn run(&mut self, questions: &[Question], answers: &mut Vec<Answer>, window: usize) -> bool {
        let mut open: VecDeque<String> = VecDeque::new();
        let mut next = answers.len();
        while answers.len() < questions.len() {
            while next < questions.len() && open.len() < window {
                open.push_back(self.send(&questions[next]));
                next += 1;
            }
            let Some(request) = self.receive().await else { return true };
            if open.front() == Some(&request.response_nonce) {
                open.pop_front();
                answers.push(request.error_detail.map_or(Answer::Accepted, |error| Answer::Refused(error.message)));
            }
        }
        false
    }

    fn send(&mut self, question: &Question) -> String {
        self.nonce += 1;
        let nonce = format!("n{}", self.nonce);
        let url = question.kind.type_url();
        let resource = Resource {
            name: "x".to_owned(),
            version: nonce.clone(),
            resource: Some(Any { type_url: url.to_owned(), value: question.body.clone() }),
            ..Default::default()
        };
        let _ = self.talk.responses.send(Ok(response(url, vec![resource], &nonce)));
        nonce
    }

    /// The next request; none: Envoy ended.
    async fn receive(&mut self) -> Option<DeltaDiscoveryRequest> {
        let next = tokio::time::timeout(LIMIT, self.talk.requests.next()).await;
        if next.is_err() {
            // It lives, and says nothing: as good as dead.
            let _ = self.process.kill();
        }
        next.ok().flatten()?.ok()
    }

    async fn restart(&mut self) {
        self.deaths += 1;
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.process = spawn(&self.binary, self.directory.path());
        self.talk = meet(&mut self.streams, &mut self.process).await;
    }
}

fn spawn(binary: &Path, directory: &Path) -> Child {
    let mut command = Command::new(binary);
    command.args(["-c", "bootstrap.yaml", "--concurrency", "1", "--disable-hot-restart", "--drain-time-s", "1"]);
    command.args(["--log-level", "off"]).current_dir(directory).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Takes Envoy's stream, and lets it come up with nothing.
async fn meet(streams: &mut UnboundedReceiver<Talk>, process: &mut Child) -> Talk {
    let meeting = async {
        let mut talk = streams.recv().await.unwrap();
        for kind in [ResourceKind::Cluster, ResourceKind::Listener] {
            loop {
                let request = talk.requests.next().await.expect("Envoy asks").unwrap();
                if request.type_url == kind.type_url() {
                    break;
                }
            }
            let _ = talk.responses.send(Ok(response(kind.type_url(), Vec::new(), "first")));
        }
        talk
    };
    match tokio::time::timeout(LIMIT, meeting).await {
        Ok(talk) => talk,
        Err(_) => panic!("Envoy doesn't come up: {:?}", process.try_wait()),
    }
}

fn response(url: &str, resources: Vec<Resource>, nonce: &str) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse { type_url: url.to_owned(), resources, nonce: nonce.to_owned(), ..Default::default() }
}

/// Hands each stream over to the test.
struct Ads(UnboundedSender<Talk>);

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream =
        Pin<Box<dyn Stream<Item = Result<DiscoveryResponse, Status>> + Send + 'static>>;
    type DeltaAggregatedResourcesStream = UnboundedReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("delta only"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (responses, receiver) = unbounded_channel();
        let _ = self.0.send(Talk { responses, requests: request.into_inner() });
        Ok(Response::new(UnboundedReceiverStream::new(receiver)))
    }
}

/// Deprecated fields are allowed: whether they are is no constraint of the messages.
const BOOTSTRAP: &str = r#"
node: { id: test, cluster: test }
layered_runtime:
  layers: [{ name: static, static_layer: { envoy.features.enable_all_deprecated_features: true } }]
dynamic_resources:
  ads_config: { api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [{ envoy_grpc: { cluster_name: xds } }] }
  cds_config: { ads: {}, resource_api_version: V3 }
  lds_config: { ads: {}, resource_api_version: V3 }
static_resources:
  clusters:
  - name: xds
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }
    load_assignment:
      cluster_name: xds
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path: xds } } } }] }]
"#;
