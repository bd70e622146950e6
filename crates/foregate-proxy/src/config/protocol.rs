//! `HttpProtocolOptions` of a cluster: what is spoken to its endpoints, and how long connections live.

use std::time::Duration;

use foregate_envoy::pb::envoy::config::cluster::v3 as cluster;
use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::extensions::upstreams::http::v3 as upstream;
use upstream::http_protocol_options as options;

use super::http2::{self, Http2Options};
use super::parts::{number, optional_duration};
use super::refusal::{At, Refusal, nothing_left, unpack};

/// Where protocol options of clusters are found.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// The path of the option that needs TLS.
pub(super) const AUTO_CONFIG: &str =
    "typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].auto_config";

/// Window of one stream, if nothing is said: what a client that doesn't read can make the engine hold.
const STREAM_WINDOW: u32 = 1 << 20;
/// Window of a whole connection: Envoy's default.
const CONNECTION_WINDOW: u32 = 24 << 20;
/// Envoy's default for streams under way on one connection.
const MAX_STREAMS: u32 = 1024;

/// What is spoken to endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, with TLS or (h2c, prior knowledge) without.
    Http2,
    /// What endpoint and engine agree on in the TLS handshake.
    Negotiated,
    /// What the client speaks.
    AsClient,
}

/// How connections to endpoints are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpOptions {
    /// What is spoken.
    pub(crate) protocol: Protocol,
    /// Options of HTTP/2.
    pub(crate) http2: Http2Options,
    /// How long an idle connection is kept.
    pub(crate) idle_timeout: Option<Duration>,
    /// How long a connection is used for new requests.
    pub(crate) max_connection_duration: Option<Duration>,
    /// After so many requests a connection is closed.
    pub(crate) max_requests_per_connection: Option<u32>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            protocol: Protocol::Http1,
            http2: Http2Options {
                max_streams: MAX_STREAMS,
                stream_window: STREAM_WINDOW,
                connection_window: CONNECTION_WINDOW,
                ..Http2Options::default()
            },
            idle_timeout: Some(Duration::from_secs(3600)),
            max_connection_duration: None,
            max_requests_per_connection: None,
        }
    }
}

/// Takes a cluster's protocol options.
pub(super) fn take(message: &mut cluster::Cluster) -> Result<HttpOptions, Refusal> {
    let mut http = HttpOptions::default();
    if let Some(any) = message.typed_extension_protocol_options.remove(HTTP_OPTIONS) {
        unpack(&any)
            .and_then(|options| typed_options(&mut http, options))
            .at(format_args!("typed_extension_protocol_options[{HTTP_OPTIONS:?}]"))?;
    }
    Ok(http)
}

fn typed_options(http: &mut HttpOptions, mut message: upstream::HttpProtocolOptions) -> Result<(), Refusal> {
    use options::UpstreamProtocolOptions as Options;
    if let Some(common) = message.common_http_protocol_options.take() {
        common_options(http, common).at("common_http_protocol_options")?;
    }
    match message.upstream_protocol_options.take() {
        None => {}
        Some(Options::ExplicitHttpConfig(explicit)) => explicit_config(http, explicit).at("explicit_http_config")?,
        Some(Options::UseDownstreamProtocolConfig(mut config)) => {
            http.protocol = Protocol::AsClient;
            both(http, config.http_protocol_options.take(), config.http2_protocol_options.take())
                .and_then(|()| nothing_left(&config))
                .at("use_downstream_protocol_config")?;
        }
        Some(Options::AutoConfig(mut config)) => {
            http.protocol = Protocol::Negotiated;
            both(http, config.http_protocol_options.take(), config.http2_protocol_options.take())
                .and_then(|()| nothing_left(&config))
                .at("auto_config")?;
        }
    }
    nothing_left(&message)
}

fn explicit_config(http: &mut HttpOptions, message: options::ExplicitHttpConfig) -> Result<(), Refusal> {
    use options::explicit_http_config::ProtocolConfig as Config;
    match message.protocol_config {
        None => Ok(()),
        Some(Config::HttpProtocolOptions(http1)) => nothing_left(&http1).at("http_protocol_options"),
        Some(Config::Http2ProtocolOptions(http2)) => {
            http.protocol = Protocol::Http2;
            http2_options(&mut http.http2, http2).at("http2_protocol_options")
        }
        Some(Config::Http3ProtocolOptions(_)) => Err(Refusal::unsupported("http3_protocol_options")),
    }
}

fn both(
    http: &mut HttpOptions,
    http1: Option<core::Http1ProtocolOptions>,
    http2: Option<core::Http2ProtocolOptions>,
) -> Result<(), Refusal> {
    if let Some(http1) = http1 {
        nothing_left(&http1).at("http_protocol_options")?;
    }
    match http2 {
        Some(http2) => http2_options(&mut http.http2, http2).at("http2_protocol_options"),
        None => Ok(()),
    }
}

fn http2_options(options: &mut Http2Options, message: core::Http2ProtocolOptions) -> Result<(), Refusal> {
    // What isn't said is as this side wants it, not as the side of clients does.
    let own = Http2Options {
        max_streams: message.max_concurrent_streams.as_ref().map_or(MAX_STREAMS, |streams| streams.value),
        stream_window: message.initial_stream_window_size.as_ref().map_or(STREAM_WINDOW, |size| size.value),
        connection_window: message.initial_connection_window_size.as_ref().map_or(CONNECTION_WINDOW, |size| size.value),
        ..http2::compile(message)?
    };
    *options = own;
    Ok(())
}

fn common_options(http: &mut HttpOptions, mut message: core::HttpProtocolOptions) -> Result<(), Refusal> {
    if message.idle_timeout.is_some() {
        http.idle_timeout =
            optional_duration(message.idle_timeout.take(), "idle_timeout")?.filter(|timeout| !timeout.is_zero());
    }
    http.max_connection_duration =
        optional_duration(message.max_connection_duration.take(), "max_connection_duration")?
            .filter(|duration| !duration.is_zero());
    http.max_requests_per_connection = number(&mut message.max_requests_per_connection).filter(|max| *max > 0);
    nothing_left(&message)
}
