//! Values with commands, made for one request.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{HOST, HeaderMap};
use http::{HeaderValue, Method, StatusCode, Uri};

use super::exchange::Exchange;
use super::head::client_address;
use super::logging::date_of;
use crate::config::format::{Command, Part, Show, Source, Time};
use crate::config::hcm::HttpOptions;

/// A longer value than this is cut off.
const LONGEST: usize = 32 * 1024;

/// What commands look at.
pub(super) struct Scene<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) options: &'a HttpOptions,
    /// The request's first line.
    pub(super) line: (&'a Method, &'a Uri),
    /// The request's headers.
    pub(super) request: &'a HeaderMap,
    /// Of the response, once there is one.
    pub(super) status: Option<StatusCode>,
    /// Of the response, once there is one.
    pub(super) response: Option<&'a HeaderMap>,
    /// The name of the cluster, if it is sent to one.
    pub(super) cluster: Option<&'a str>,
    /// The route's name.
    pub(super) route: &'a str,
}

impl Scene<'_> {
    /// The value of a format.
    pub(super) fn value(&self, parts: &[Part]) -> Option<HeaderValue> {
        let mut out = Vec::with_capacity(64);
        for part in parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Command(command, most) => {
                    let before = out.len();
                    self.command(command, &mut out);
                    out.truncate(most.map_or(LONGEST, |most| before.saturating_add(most)).min(LONGEST));
                }
            }
        }
        HeaderValue::from_bytes(&out).ok()
    }

    fn command(&self, command: &Command, out: &mut Vec<u8>) {
        let connection = self.exchange.connection();
        match command {
            Command::Request(source, other) => {
                if !self.request(source, out)
                    && let Some(other) = other
                {
                    self.request(other, out);
                }
            }
            Command::Response(name, other) => {
                let headers = self.response;
                let value = headers.and_then(|headers| headers.get(name).or_else(|| headers.get(other.as_ref()?)));
                out.extend_from_slice(value.map_or(b"", HeaderValue::as_bytes));
            }
            Command::RemoteAddress(what) => {
                let peer = connection.remote;
                match client_address(self.request, self.options) {
                    Some(told) => show(SocketAddr::new(told, 0), *what, out),
                    None => show(peer, *what, out),
                }
            }
            Command::DirectRemoteAddress(what) => show(connection.remote, *what, out),
            Command::LocalAddress(what) => show(connection.local, *what, out),
            Command::StartTime(parts) => self.time(parts, out),
            Command::Duration => number(out, self.exchange.start().elapsed().as_millis()),
            Command::ResponseCode => number(out, self.status.map_or(0, |status| status.as_u16())),
            Command::BytesReceived => number(out, self.exchange.bytes_in.as_ref().map_or(0, |bytes| bytes.get())),
            Command::Protocol => write(out, protocol(self.exchange.version)),
            Command::ResponseFlags => {
                let flags = self.exchange.flags();
                write(out, if flags.is_empty() { "-" } else { &flags });
            }
            Command::RouteName => write(out, self.route),
            Command::UpstreamCluster => write(out, self.cluster.unwrap_or_default()),
            Command::UpstreamHost => write(out, self.exchange.upstream.as_ref().map_or("", |host| &host.text)),
            Command::ServerName => write(out, connection.server_name.as_deref().unwrap_or_default()),
        }
    }

    /// Whether there was something.
    fn request(&self, source: &Source, out: &mut Vec<u8>) -> bool {
        let (method, uri) = self.line;
        match source {
            Source::Method => write(out, method.as_str()),
            Source::Path(true) => write(out, uri.path_and_query().map_or("", |path| path.as_str())),
            Source::Path(false) => write(out, uri.path()),
            Source::Scheme => write(out, if self.exchange.connection().tls { "https" } else { "http" }),
            Source::Authority => return self.header(HOST.as_str(), out),
            Source::Header(name) => return self.header(name.as_str(), out),
        }
        true
    }

    fn header(&self, name: &str, out: &mut Vec<u8>) -> bool {
        let Some(value) = self.request.get(name) else { return false };
        out.extend_from_slice(value.as_bytes());
        true
    }

    fn time(&self, parts: &[Time], out: &mut Vec<u8>) {
        let start = SystemTime::now().checked_sub(self.exchange.start().elapsed()).unwrap_or(UNIX_EPOCH);
        let since = start.duration_since(UNIX_EPOCH).unwrap_or_default();
        let date = date_of(since.as_secs());
        for part in parts {
            match part {
                Time::Text(text) => write(out, text),
                Time::Seconds => number(out, since.as_secs()),
                Time::Fraction(digits) => {
                    let nanos = format!("{:09}", since.subsec_nanos());
                    write(out, nanos.get(..usize::from(*digits)).unwrap_or(&nanos));
                }
                Time::Field(letter) => {
                    let (value, width) = match letter {
                        b'Y' => (date.year, 4),
                        b'm' => (date.month, 2),
                        b'd' => (date.day, 2),
                        b'H' => (date.hour, 2),
                        b'M' => (date.minute, 2),
                        _ => (date.second, 2),
                    };
                    write(out, &format!("{value:0width$}"));
                }
            }
        }
    }
}

fn write(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn number(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    let mut text = String::new();
    let _ = write!(text, "{number}");
    write(out, &text);
}

fn show(address: SocketAddr, what: Show, out: &mut Vec<u8>) {
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    match what {
        Show::All => number(out, address),
        Show::Address => number(out, address.ip()),
        Show::Port => number(out, address.port()),
    }
}

/// A version of HTTP as Envoy calls it.
pub(super) fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}
