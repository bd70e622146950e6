//! Where resources come from: the seam between the engine and xDS.

use std::path::PathBuf;

use foregate_envoy::ResourceKind;
use foregate_xds::Endpoint;
use foregate_xds::client::{Client, ClientError, Known, Response};
use foregate_xds::local::Local;

use crate::resolve::Resolver;

/// A stream of resources.
pub(crate) trait Source {
    /// The next response. Giving up on waiting loses nothing.
    async fn next(&mut self) -> Result<Response, ClientError>;
    /// Asks for resources.
    fn subscribe(&mut self, kind: ResourceKind, names: Vec<String>) -> Result<(), ClientError>;
    /// Asks for them no more.
    fn unsubscribe(&mut self, kind: ResourceKind, names: Vec<String>) -> Result<(), ClientError>;
    /// Accepts a response.
    fn ack(&mut self, response: &Response) -> Result<(), ClientError>;
    /// Refuses a response.
    fn nack(&mut self, response: &Response, message: &str) -> Result<(), ClientError>;
    /// The versions that were accepted, for the next stream.
    fn into_known(self) -> Known;
}

/// Opens streams.
pub(crate) trait Connector {
    /// What it opens.
    type Source: Source;
    /// Opens a stream; what is known already needn't come again.
    async fn connect(&mut self, known: Known) -> Result<Self::Source, ClientError>;
    /// Who looks up the names that the resources hold.
    fn resolver(&self) -> Resolver {
        Resolver::System
    }
}

/// xDS over a unix socket.
pub(crate) struct UnixConnector {
    /// The socket.
    pub(crate) socket: PathBuf,
    /// The node's id.
    pub(crate) node_id: String,
}

impl Connector for UnixConnector {
    type Source = Client;

    async fn connect(&mut self, known: Known) -> Result<Client, ClientError> {
        Client::resume_unix(&self.socket, &self.node_id, known).await
    }
}

/// xDS from a cache in this process.
pub(crate) struct LocalConnector(pub(crate) Endpoint);

impl Connector for LocalConnector {
    type Source = Local;

    async fn connect(&mut self, _: Known) -> Result<Local, ClientError> {
        Ok(self.0.connect().await)
    }
}

impl Source for Local {
    async fn next(&mut self) -> Result<Response, ClientError> {
        Local::next(self).await
    }

    fn subscribe(&mut self, kind: ResourceKind, names: Vec<String>) -> Result<(), ClientError> {
        Local::subscribe(self, kind, names)
    }

    fn unsubscribe(&mut self, kind: ResourceKind, names: Vec<String>) -> Result<(), ClientError> {
        Local::unsubscribe(self, kind, names)
    }

    fn ack(&mut self, response: &Response) -> Result<(), ClientError> {
        Local::ack(self, response)
    }

    fn nack(&mut self, response: &Response, message: &str) -> Result<(), ClientError> {
        Local::nack(self, response, message)
    }

    fn into_known(self) -> Known {
        Known::new()
    }
}

impl Source for Client {
    async fn next(&mut self) -> Result<Response, ClientError> {
        Client::next(self).await
    }

    fn subscribe(&mut self, kind: ResourceKind, names: Vec<String>) -> Result<(), ClientError> {
        Client::subscribe(self, kind, names)
    }

    fn unsubscribe(&mut self, kind: ResourceKind, names: Vec<String>) -> Result<(), ClientError> {
        Client::unsubscribe(self, kind, names)
    }

    fn ack(&mut self, response: &Response) -> Result<(), ClientError> {
        Client::ack(self, response)
    }

    fn nack(&mut self, response: &Response, message: &str) -> Result<(), ClientError> {
        Client::nack(self, response, message)
    }

    fn into_known(self) -> Known {
        Client::into_known(self)
    }
}

#[cfg(test)]
pub(crate) mod fake {
    //! A source whose other end is in a test's hands.

    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

    use super::*;
    use crate::resolve::fixed::Names;

    /// What the engine said.
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) enum Said {
        Subscribe(ResourceKind, Vec<String>),
        Unsubscribe(ResourceKind, Vec<String>),
        Ack(String),
        Nack(String, String),
    }

    /// Opens one stream.
    pub(crate) struct FakeConnector {
        pub(crate) responses: Option<UnboundedReceiver<Response>>,
        pub(crate) said: UnboundedSender<Said>,
        pub(crate) names: Names,
    }

    /// A stream of a test's own responses.
    pub(crate) struct FakeSource {
        responses: UnboundedReceiver<Response>,
        said: UnboundedSender<Said>,
    }

    impl Connector for FakeConnector {
        type Source = FakeSource;

        async fn connect(&mut self, _: Known) -> Result<FakeSource, ClientError> {
            let responses = self.responses.take().ok_or(ClientError::Closed)?;
            Ok(FakeSource { responses, said: self.said.clone() })
        }

        fn resolver(&self) -> Resolver {
            Resolver::Fixed(self.names.clone())
        }
    }

    impl FakeSource {
        fn say(&self, said: Said) -> Result<(), ClientError> {
            self.said.send(said).map_err(|_| ClientError::Closed)
        }
    }

    impl Source for FakeSource {
        async fn next(&mut self) -> Result<Response, ClientError> {
            self.responses.recv().await.ok_or(ClientError::Closed)
        }

        fn subscribe(&mut self, kind: ResourceKind, names: Vec<String>) -> Result<(), ClientError> {
            self.say(Said::Subscribe(kind, names))
        }

        fn unsubscribe(&mut self, kind: ResourceKind, names: Vec<String>) -> Result<(), ClientError> {
            self.say(Said::Unsubscribe(kind, names))
        }

        fn ack(&mut self, response: &Response) -> Result<(), ClientError> {
            self.say(Said::Ack(response.nonce.clone()))
        }

        fn nack(&mut self, response: &Response, message: &str) -> Result<(), ClientError> {
            self.say(Said::Nack(response.nonce.clone(), message.to_owned()))
        }

        fn into_known(self) -> Known {
            Known::new()
        }
    }
}
