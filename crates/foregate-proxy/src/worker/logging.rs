//! Lines of the access log: the request's part is written when it comes, the rest when it is done.

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::access_log::{FLUSH_AT, LogFormat, Sink};

/// A worker's buffer of lines.
pub(super) struct LogBuffer {
    pub(super) format: Option<LogFormat>,
    sink: Sink,
    buffer: RefCell<Vec<u8>>,
    spare: RefCell<Vec<String>>,
    /// The second that `stamp` says.
    second: Cell<u64>,
    stamp: RefCell<String>,
}

/// What is known at the end.
pub(super) struct Outcome<'a> {
    pub(super) instance: &'a str,
    pub(super) listener: &'a str,
    pub(super) status: u16,
    pub(super) flags: &'a str,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) micros: u64,
    pub(super) upstream: Option<std::net::SocketAddr>,
    pub(super) route: &'a str,
    pub(super) request_id: &'a str,
}

impl LogBuffer {
    pub(super) fn new(sink: Sink, format: Option<LogFormat>) -> Self {
        Self {
            format,
            sink,
            buffer: RefCell::new(Vec::with_capacity(if format.is_some() { FLUSH_AT + 1024 } else { 0 })),
            spare: RefCell::new(Vec::new()),
            second: Cell::new(0),
            stamp: RefCell::new(String::new()),
        }
    }

    /// The request's part of a line. The text is used again for later requests.
    pub(super) fn begin(&self, method: &str, host: &[u8], path: &str) -> Option<String> {
        let format = self.format?;
        let mut line = self.spare.borrow_mut().pop().unwrap_or_else(|| String::with_capacity(256));
        line.clear();
        match format {
            LogFormat::Text => {
                line.push_str(method);
                line.push(' ');
                push_escaped(&mut line, if host.is_empty() { b"-" } else { host });
                line.push(' ');
                push_escaped(&mut line, path.as_bytes());
            }
            LogFormat::Json => {
                line.push_str("\"method\":\"");
                push_escaped(&mut line, method.as_bytes());
                line.push_str("\",\"host\":\"");
                push_escaped(&mut line, host);
                line.push_str("\",\"path\":\"");
                push_escaped(&mut line, path.as_bytes());
                line.push('"');
            }
        }
        Some(line)
    }

    /// Writes a line.
    pub(super) fn end(&self, begun: String, outcome: &Outcome<'_>) {
        let mut buffer = self.buffer.borrow_mut();
        self.write_line(&mut buffer, &begun, outcome);
        if buffer.len() >= FLUSH_AT {
            self.sink.send(&mut buffer);
        }
        drop(buffer);
        let mut spare = self.spare.borrow_mut();
        if spare.len() < 64 && begun.capacity() <= 4096 {
            spare.push(begun);
        }
    }

    fn write_line(&self, buffer: &mut Vec<u8>, begun: &str, outcome: &Outcome<'_>) {
        let mut out = Appender(buffer);
        let flags = if outcome.flags.is_empty() { "-" } else { outcome.flags };
        let text = |text: &'_ str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let result = match self.format {
            None => Ok(()),
            Some(LogFormat::Text) => {
                self.push_time(&mut out);
                let Outcome { instance, listener, status, bytes_in, bytes_out, micros, .. } = outcome;
                write!(out, " {instance} {listener} {begun} {status} {flags} {bytes_in} {bytes_out} {micros} ")
                    .and_then(|()| match outcome.upstream {
                        Some(upstream) => write!(out, "{upstream}"),
                        None => out.write_str("-"),
                    })
                    .and_then(|()| writeln!(out, " {} {}", text(outcome.route), text(outcome.request_id)))
            }
            Some(LogFormat::Json) => self.write_json(&mut out, begun, outcome),
        };
        debug_assert!(result.is_ok());
    }

    fn write_json(&self, out: &mut Appender<'_>, begun: &str, outcome: &Outcome<'_>) -> std::fmt::Result {
        let mut route = String::new();
        push_escaped(&mut route, outcome.route.as_bytes());
        let mut id = String::new();
        push_escaped(&mut id, outcome.request_id.as_bytes());
        let Outcome { instance, listener, status, flags, bytes_in, bytes_out, micros, .. } = outcome;
        out.write_str("{\"time\":\"")?;
        self.push_time(out);
        write!(out, "\",\"instance\":\"{instance}\",\"listener\":\"{listener}\",{begun},\"status\":{status}")?;
        write!(out, ",\"flags\":\"{flags}\",\"bytes_in\":{bytes_in},\"bytes_out\":{bytes_out}")?;
        write!(out, ",\"duration_us\":{micros}")?;
        if let Some(upstream) = outcome.upstream {
            write!(out, ",\"upstream\":\"{upstream}\"")?;
        }
        writeln!(out, ",\"route\":\"{route}\",\"request_id\":\"{id}\"}}")
    }

    /// RFC 3339 in UTC with milliseconds; date and time of day are formatted once a second.
    fn push_time(&self, out: &mut Appender<'_>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut stamp = self.stamp.borrow_mut();
        if self.second.replace(now.as_secs()) != now.as_secs() {
            stamp.clear();
            let _ = write_date(&mut stamp, now.as_secs());
        }
        let _ = write!(out, "{stamp}.{:03}Z", now.subsec_millis());
    }

    /// Hands over what there is.
    pub(super) fn flush(&self) {
        self.sink.send(&mut self.buffer.borrow_mut());
    }
}

/// `2026-01-31T12:34:56`, from days since 1970 by counting 400-year cycles from March on.
fn write_date(out: &mut String, seconds: u64) -> std::fmt::Result {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    write!(out, "{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}")
}

struct Appender<'a>(&'a mut Vec<u8>);

impl Write for Appender<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// What a client sent must not be able to break a line or a field.
fn push_escaped(out: &mut String, bytes: &[u8]) {
    if bytes.iter().all(|byte| matches!(byte, 0x21..=0x7e) && !matches!(byte, b'"' | b'\\'))
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return out.push_str(text);
    }
    for byte in bytes {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0x21..=0x7e => out.push(char::from(*byte)),
            other => {
                let _ = write!(out, "\\u{other:04x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, want) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_000_000_000, "2001-09-09T01:46:40"),
            (1_798_761_599, "2026-12-31T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            let mut out = String::new();
            assert!(write_date(&mut out, seconds).is_ok());
            assert_eq!(out, want);
        }
    }

    #[test]
    fn what_a_client_sends_stays_in_its_field() {
        let mut out = String::new();
        push_escaped(&mut out, b"/a \"b\"\n\\\xff");
        assert_eq!(out, "/a\\u0020\\\"b\\\"\\u000a\\\\\\u00ff");
    }
}
