//! Values with commands, as Envoy's "substitution formatting" has them: `%REQ(x-a)%`, `%START_TIME(%s)%`, ….

use http::{HeaderName, HeaderValue};

use super::headers::header_name;
use super::refusal::{Refusal, UNSUPPORTED};

/// A header's value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// The same for everybody.
    Literal(HeaderValue),
    /// Made for each request.
    Format(Box<[Part]>),
}

/// One part of a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// As it is.
    Text(Box<[u8]>),
    /// What the command gives, at most so many bytes of it.
    Command(Command, Option<usize>),
}

/// What a command gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// The client's address, as far as the proxies before this one are trusted.
    RemoteAddress(Show),
    /// The address of the connection's other end.
    DirectRemoteAddress(Show),
    /// The address that the client connected to.
    LocalAddress(Show),
    /// `HTTP/1.1`, `HTTP/2`, …
    Protocol,
    /// A header of the request, or another one if there is none.
    Request(Source, Option<Source>),
    /// A header of the response, or another one if there is none.
    Response(HeaderName, Option<HeaderName>),
    /// When the request came.
    StartTime(Box<[Time]>),
    /// The response's status.
    ResponseCode,
    /// Envoy's letters for what went wrong.
    ResponseFlags,
    /// The route's name.
    RouteName,
    /// The cluster's name.
    UpstreamCluster,
    /// The endpoint's address.
    UpstreamHost,
    /// Bytes of the request's body.
    BytesReceived,
    /// Milliseconds since the request came.
    Duration,
    /// The name that the TLS client asked for.
    ServerName,
}

/// How much of an address is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// Address and port.
    All,
    /// The address alone.
    Address,
    /// The port alone.
    Port,
}

/// What `REQ` may name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A header.
    Header(HeaderName),
    /// `:method`
    Method,
    /// `:path`, with the query or without.
    Path(bool),
    /// `:authority`
    Authority,
    /// `:scheme`
    Scheme,
}

/// One part of a time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// As it is.
    Text(Box<str>),
    /// A number of a date: its conversion letter.
    Field(u8),
    /// Seconds since 1970.
    Seconds,
    /// So many digits of the second's fraction.
    Fraction(u8),
}

/// `%Y-%m-%dT%H:%M:%S.%3fZ`
const DEFAULT_TIME: &str = "%Y-%m-%dT%H:%M:%S.%3fZ";
/// No more commands in one value than this: each may give as much as a header holds.
const MAX_COMMANDS: usize = 64;

/// Compiles a value: `%%` is a percent sign, `%COMMAND%` a command.
pub(crate) fn compile(text: &[u8]) -> Result<Value, Refusal> {
    let (mut parts, mut plain, mut commands) = (Vec::new(), Vec::new(), 0);
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'%', [b'%', after @ ..]) => {
                plain.push(b'%');
                rest = after;
            }
            (b'%', _) => {
                let (command, after) = command(after)?;
                commands += 1;
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain).into()));
                }
                parts.push(command);
                rest = after;
            }
            (byte, _) => plain.push(*byte),
        }
    }
    if commands == 0 {
        return header_value(&plain).map(Value::Literal);
    }
    if commands > MAX_COMMANDS {
        return Err(Refusal::new(format!("has {commands} commands; {MAX_COMMANDS} are enough")));
    }
    if !plain.is_empty() {
        parts.push(Part::Text(plain.into()));
    }
    for part in &parts {
        if let Part::Text(text) = part {
            header_value(text)?;
        }
    }
    Ok(Value::Format(parts.into()))
}

fn header_value(text: &[u8]) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_bytes(text).map_err(|_| Refusal::new("holds characters that a header can't"))
}

/// The command that begins behind a percent sign, and what follows it.
fn command(text: &[u8]) -> Result<(Part, &[u8]), Refusal> {
    let unclosed = || Refusal::new("a % begins a command that doesn't end (write %% for a percent sign)");
    let length = text.iter().position(|b| !matches!(b, b'A'..=b'Z' | b'0'..=b'9' | b'_')).ok_or_else(unclosed)?;
    let (name, mut rest) = text.split_at(length);
    let mut argument = None;
    if let [b'(', inner @ ..] = rest {
        let end = inner.iter().position(|b| *b == b')').ok_or_else(unclosed)?;
        argument = Some(std::str::from_utf8(&inner[..end]).map_err(|_| Refusal::new("an argument must be UTF-8"))?);
        rest = &inner[end + 1..];
    }
    let mut most = None;
    if let [b':', inner @ ..] = rest {
        let digits = inner.iter().position(|b| !b.is_ascii_digit()).ok_or_else(unclosed)?;
        let number = std::str::from_utf8(&inner[..digits]).ok().and_then(|digits| digits.parse().ok());
        most = Some(number.ok_or_else(|| Refusal::new("a length must be a number"))?);
        rest = &inner[digits..];
    }
    let [b'%', rest @ ..] = rest else { return Err(unclosed()) };
    let name = String::from_utf8_lossy(name);
    Ok((Part::Command(named(&name, argument)?, most), rest))
}

fn named(name: &str, argument: Option<&str>) -> Result<Command, Refusal> {
    use Command as C;
    let command = match (name, argument) {
        ("REQ", Some(names)) => return request(names, true),
        ("REQ_WITHOUT_QUERY", Some(names)) => return request(names, false),
        ("RESP", Some(names)) => return response(names),
        ("PATH", Some("WQ:PATH")) => C::Request(Source::Path(true), None),
        ("PATH", Some("NQ:PATH")) => C::Request(Source::Path(false), None),
        ("START_TIME", format) => return Ok(C::StartTime(time(format.unwrap_or(DEFAULT_TIME))?)),
        ("DOWNSTREAM_REMOTE_ADDRESS", None) => C::RemoteAddress(Show::All),
        ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", None) => C::RemoteAddress(Show::Address),
        ("DOWNSTREAM_REMOTE_PORT", None) => C::RemoteAddress(Show::Port),
        ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", None) => C::DirectRemoteAddress(Show::All),
        ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", None) => C::DirectRemoteAddress(Show::Address),
        ("DOWNSTREAM_DIRECT_REMOTE_PORT", None) => C::DirectRemoteAddress(Show::Port),
        ("DOWNSTREAM_LOCAL_ADDRESS", None) => C::LocalAddress(Show::All),
        ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", None) => C::LocalAddress(Show::Address),
        ("DOWNSTREAM_LOCAL_PORT", None) => C::LocalAddress(Show::Port),
        ("PROTOCOL", None) => C::Protocol,
        ("RESPONSE_CODE", None) => C::ResponseCode,
        ("RESPONSE_FLAGS", None) => C::ResponseFlags,
        ("ROUTE_NAME", None) => C::RouteName,
        ("UPSTREAM_CLUSTER", None) => C::UpstreamCluster,
        ("UPSTREAM_HOST", None) => C::UpstreamHost,
        ("BYTES_RECEIVED", None) => C::BytesReceived,
        ("DURATION", None) => C::Duration,
        ("REQUESTED_SERVER_NAME", None) => C::ServerName,
        (name, _) => {
            return Err(Refusal::new(format!(
                "%{name}%: the command, or its argument, is {UNSUPPORTED} (write %% for a percent sign)"
            )));
        }
    };
    Ok(command)
}

fn request(names: &str, query: bool) -> Result<Command, Refusal> {
    let source = |name: &str| match &*name.to_ascii_lowercase() {
        ":method" => Ok(Source::Method),
        ":path" => Ok(Source::Path(query)),
        ":authority" | "host" => Ok(Source::Authority),
        ":scheme" => Ok(Source::Scheme),
        _ => header_name(name).map(Source::Header),
    };
    let (first, other) = names.split_once('?').map_or((names, None), |(first, other)| (first, Some(other)));
    Ok(Command::Request(source(first)?, other.map(source).transpose()?))
}

fn response(names: &str) -> Result<Command, Refusal> {
    let (first, other) = names.split_once('?').map_or((names, None), |(first, other)| (first, Some(other)));
    Ok(Command::Response(header_name(first)?, other.map(header_name).transpose()?))
}

fn time(format: &str) -> Result<Box<[Time]>, Refusal> {
    let (mut parts, mut plain) = (Vec::new(), String::new());
    let mut chars = format.chars().peekable();
    let flush = |plain: &mut String, parts: &mut Vec<Time>| {
        if !plain.is_empty() {
            parts.push(Time::Text(std::mem::take(plain).into()));
        }
    };
    while let Some(c) = chars.next() {
        if c != '%' {
            plain.push(c);
            continue;
        }
        let unknown = |what: &str| Refusal::new(format!("%{what} in a time is {UNSUPPORTED}"));
        let field = match chars.next() {
            Some('%') => {
                plain.push('%');
                continue;
            }
            Some('s') => Time::Seconds,
            Some('f') => Time::Fraction(9),
            Some(digit @ '1'..='9') if chars.next_if_eq(&'f').is_some() => Time::Fraction(digit as u8 - b'0'),
            Some(letter @ ('Y' | 'm' | 'd' | 'H' | 'M' | 'S')) => Time::Field(letter as u8),
            Some('z') => {
                plain.push_str("+0000");
                continue;
            }
            Some('Z') => {
                plain.push_str("UTC");
                continue;
            }
            Some('F') => return joined(format, "%F", "%Y-%m-%d"),
            Some('T') => return joined(format, "%T", "%H:%M:%S"),
            Some(other) => return Err(unknown(&other.to_string())),
            None => return Err(unknown("")),
        };
        flush(&mut plain, &mut parts);
        parts.push(field);
    }
    flush(&mut plain, &mut parts);
    Ok(parts.into())
}

/// What is short for several others.
fn joined(format: &str, short: &str, long: &str) -> Result<Box<[Time]>, Refusal> {
    time(&format.replacen(short, long, 1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_without_commands_are_literals() {
        for (text, want) in [("a", "a"), ("100%%", "100%"), ("%%REQ(a)%%", "%REQ(a)%"), ("", "")] {
            assert_eq!(compile(text.as_bytes()).unwrap(), Value::Literal(HeaderValue::from_static(want)), "{text}");
        }
    }

    #[test]
    fn commands_have_arguments_and_lengths() {
        let Value::Format(parts) = compile(b"a%REQ(x-a?:path):3%%%%PROTOCOL%").unwrap() else { panic!("a literal") };
        let request = Command::Request(Source::Header(HeaderName::from_static("x-a")), Some(Source::Path(true)));
        let want = [
            Part::Text((*b"a").into()),
            Part::Command(request, Some(3)),
            Part::Text((*b"%").into()),
            Part::Command(Command::Protocol, None),
        ];
        assert_eq!(*parts, want);
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for (text, want) in [
            ("50%", "a % begins a command that doesn't end"),
            ("50% off", "a % begins a command that doesn't end"),
            ("%REQ(x", "a % begins a command that doesn't end"),
            ("%REQ(x):%", "a length must be a number"),
            ("%NOPE%", "%NOPE%: the command, or its argument, is not supported"),
            ("%REQ%", "%REQ%: the command, or its argument, is not supported"),
            ("%PATH(NQ:ORIG)%", "%PATH%: the command, or its argument, is not supported"),
            ("%PROTOCOL(x)%", "%PROTOCOL%: the command, or its argument, is not supported"),
            ("%REQ(a b)%", "\"a b\" is not a header name"),
            ("%START_TIME(%Q)%", "%Q in a time is not supported"),
            ("%START_TIME(%)%", "% in a time is not supported"),
            ("a\nb", "holds characters that a header can't"),
            ("%PROTOCOL%\n", "holds characters that a header can't"),
        ] {
            let refusal = compile(text.as_bytes()).unwrap_err().to_string();
            assert!(refusal.starts_with(want), "{text}: {refusal}");
        }
        assert!(compile("%PROTOCOL%".repeat(65).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(text in "[%()A-Z?:a-f0-9 Ya]{0,40}|%START_TIME[(](%[a-zA-Z0-9%]){0,6}[)]%") {
            let _ = compile(text.as_bytes());
        }
    }
}
