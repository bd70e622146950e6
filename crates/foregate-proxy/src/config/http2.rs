//! `Http2ProtocolOptions`: windows, streams, pings.

use std::time::Duration;

use foregate_envoy::pb::envoy::config::core::v3 as core;

use super::parts::{number, optional_duration};
use super::refusal::{At, Refusal, nothing_left};

/// Windows that suit a proxy: enough for a fast upload, not so much that a client could fill the memory with what an
/// endpoint doesn't read.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// RFC 9113 §6.5.2 recommends no less.
const MAX_STREAMS: u32 = 100;
/// The longest time without an answer to a ping, if nothing is said.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How HTTP/2 is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Http2Options {
    /// Requests at a time that the peer may have.
    pub(crate) max_streams: u32,
    /// Bytes that the peer may send ahead, per stream.
    pub(crate) stream_window: u32,
    /// And of all streams together.
    pub(crate) connection_window: u32,
    /// Bytes of header names and values that both sides remember, as HPACK's table; `None`: 4 KiB.
    pub(crate) header_table: Option<u32>,
    /// Extended CONNECT (RFC 8441) is offered.
    pub(crate) allow_connect: bool,
    /// How often a silent peer is asked whether it is there, and how long it may take to answer.
    pub(crate) keepalive: Option<(Duration, Duration)>,
}

impl Default for Http2Options {
    fn default() -> Self {
        Self {
            max_streams: MAX_STREAMS,
            stream_window: STREAM_WINDOW,
            connection_window: CONNECTION_WINDOW,
            header_table: None,
            allow_connect: false,
            keepalive: None,
        }
    }
}

/// Compiles the options; bounds on single frames are the protocol library's own and can't be chosen.
pub(crate) fn compile(mut message: core::Http2ProtocolOptions) -> Result<Http2Options, Refusal> {
    let options = Http2Options {
        max_streams: number(&mut message.max_concurrent_streams)
            .map_or(Ok(MAX_STREAMS), |streams| within(streams, 1, "max_concurrent_streams"))?,
        stream_window: number(&mut message.initial_stream_window_size)
            .map_or(Ok(STREAM_WINDOW), |size| within(size, 65_535, "initial_stream_window_size"))?,
        connection_window: number(&mut message.initial_connection_window_size)
            .map_or(Ok(CONNECTION_WINDOW), |size| within(size, 65_535, "initial_connection_window_size"))?,
        header_table: number(&mut message.hpack_table_size),
        allow_connect: std::mem::take(&mut message.allow_connect),
        keepalive: match message.connection_keepalive.take() {
            Some(settings) => keepalive(settings).at("connection_keepalive")?,
            None => None,
        },
    };
    // A stream that breaks the protocol is reset, and its connection goes on: what `true` asks for.
    if message.override_stream_error_on_invalid_http_message.as_ref().is_some_and(|value| value.value) {
        message.override_stream_error_on_invalid_http_message = None;
    }
    nothing_left(&message)?;
    Ok(options)
}

fn within(value: u32, lowest: u32, field: &str) -> Result<u32, Refusal> {
    // The protocol's upper bound for all of them is 2^31 - 1.
    if (lowest..=u32::MAX >> 1).contains(&value) {
        return Ok(value);
    }
    Err(Refusal::field(field, format!("must be in {lowest}..{}", u32::MAX >> 1)))
}

fn keepalive(mut message: core::KeepaliveSettings) -> Result<Option<(Duration, Duration)>, Refusal> {
    let interval = optional_duration(message.interval.take(), "interval")?;
    let timeout = optional_duration(message.timeout.take(), "timeout")?;
    nothing_left(&message)?;
    let shortest = Duration::from_millis(1);
    if interval.is_some_and(|interval| interval < shortest) || timeout.is_some_and(|timeout| timeout < shortest) {
        return Err(Refusal::new("interval and timeout must be at least 1ms"));
    }
    Ok(interval.map(|interval| (interval, timeout.unwrap_or(PING_TIMEOUT))))
}
