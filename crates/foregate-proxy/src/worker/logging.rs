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

/// What is known of a request before its end; the text is used again for later requests.
pub(super) struct Line {
    text: String,
    json: bool,
    /// Where the route's name begins, and where the id does.
    parts: (usize, usize),
}

impl Line {
    pub(super) fn set_route(&mut self, name: &str) {
        self.text.truncate(self.parts.1);
        // The id was noted first: the route goes behind it.
        push_field(&mut self.text, name.as_bytes(), self.json);
    }

    pub(super) fn set_id(&mut self, id: &[u8]) {
        self.text.truncate(self.parts.0);
        push_field(&mut self.text, id, self.json);
        self.parts.1 = self.text.len();
    }

    fn request(&self) -> &str {
        &self.text[..self.parts.0]
    }

    fn id(&self) -> &str {
        &self.text[self.parts.0..self.parts.1]
    }

    fn route(&self) -> &str {
        &self.text[self.parts.1..]
    }
}

/// Text lines separate fields by spaces, so that an empty one needs a sign.
fn push_field(out: &mut String, bytes: &[u8], json: bool) {
    push_escaped(out, if bytes.is_empty() && !json { b"-" } else { bytes });
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
    pub(super) upstream: &'a str,
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

    /// The request's part of a line.
    pub(super) fn begin(&self, method: &str, host: &[u8], path: &str) -> Option<Line> {
        let json = self.format? == LogFormat::Json;
        let mut text = self.spare.borrow_mut().pop().unwrap_or_else(|| String::with_capacity(256));
        text.clear();
        if json {
            text.push_str("\"method\":\"");
            push_escaped(&mut text, method.as_bytes());
            text.push_str("\",\"host\":\"");
            push_escaped(&mut text, host);
            text.push_str("\",\"path\":\"");
            push_escaped(&mut text, path.as_bytes());
            text.push('"');
        } else {
            push_field(&mut text, method.as_bytes(), json);
            text.push(' ');
            push_field(&mut text, host, json);
            text.push(' ');
            push_field(&mut text, path.as_bytes(), json);
        }
        let end = text.len();
        Some(Line { text, json, parts: (end, end) })
    }

    /// Writes the line of a connection, or of a UDP session, that was passed on without a look inside.
    pub(super) fn passed(&self, server_name: &[u8], outcome: &Outcome<'_>) {
        if let Some(line) = self.begin("", server_name, "") {
            self.end(line, outcome);
        }
    }

    /// Writes a line.
    pub(super) fn end(&self, line: Line, outcome: &Outcome<'_>) {
        let mut buffer = self.buffer.borrow_mut();
        if line.json {
            self.write_json(&mut buffer, &line, outcome);
        } else {
            self.write_text(&mut buffer, &line, outcome);
        }
        if buffer.len() >= FLUSH_AT {
            self.sink.send(&mut buffer);
        }
        drop(buffer);
        let mut spare = self.spare.borrow_mut();
        if spare.len() < 64 && line.text.capacity() <= 4096 {
            spare.push(line.text);
        }
    }

    fn write_text(&self, out: &mut Vec<u8>, line: &Line, outcome: &Outcome<'_>) {
        self.push_time(out);
        push_words(out, &[outcome.instance, outcome.listener, line.request()]);
        push_number(out, outcome.status.into());
        push_words(out, &[outcome.flags]);
        for number in [outcome.bytes_in, outcome.bytes_out, outcome.micros] {
            push_number(out, number);
        }
        push_words(out, &[outcome.upstream, line.route(), line.id()]);
        out.push(b'\n');
    }

    fn write_json(&self, out: &mut Vec<u8>, line: &Line, outcome: &Outcome<'_>) {
        let texts = [("instance", outcome.instance), ("listener", outcome.listener)];
        out.extend_from_slice(b"{\"time\":\"");
        self.push_time(out);
        out.push(b'"');
        texts.iter().for_each(|(name, text)| push_member(out, name, text));
        out.push(b',');
        out.extend_from_slice(line.request().as_bytes());
        for (name, number) in [
            ("status", u64::from(outcome.status)),
            ("bytes_in", outcome.bytes_in),
            ("bytes_out", outcome.bytes_out),
            ("duration_us", outcome.micros),
        ] {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        }
        let texts = [
            ("flags", outcome.flags),
            ("upstream", outcome.upstream),
            ("route", line.route()),
            ("request_id", line.id()),
        ];
        texts.iter().for_each(|(name, text)| push_member(out, name, text));
        out.extend_from_slice(b"}\n");
    }

    /// RFC 3339 in UTC with milliseconds; date and time of day are formatted once a second.
    fn push_time(&self, out: &mut Vec<u8>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut stamp = self.stamp.borrow_mut();
        if self.second.replace(now.as_secs()) != now.as_secs() {
            stamp.clear();
            let _ = write_date(&mut stamp, now.as_secs());
        }
        let millis = now.subsec_millis();
        let digits = [millis / 100, millis / 10 % 10, millis % 10].map(|digit| b'0' + digit as u8);
        out.extend_from_slice(stamp.as_bytes());
        out.push(b'.');
        out.extend_from_slice(&digits);
        out.push(b'Z');
    }

    /// Hands over what there is.
    pub(super) fn flush(&self) {
        self.sink.send(&mut self.buffer.borrow_mut());
    }
}

/// A moment's numbers in UTC.
pub(super) struct Date {
    pub(super) year: u64,
    pub(super) month: u64,
    pub(super) day: u64,
    pub(super) hour: u64,
    pub(super) minute: u64,
    pub(super) second: u64,
}

/// The date so many seconds after 1970 began, by counting 400-year cycles from March on.
pub(super) fn date_of(seconds: u64) -> Date {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    Date {
        year: year_of_era + era * 400 + u64::from(month <= 2),
        month,
        day: day_of_year - (153 * march_month + 2) / 5 + 1,
        hour: rest / 3600,
        minute: rest / 60 % 60,
        second: rest % 60,
    }
}

/// `2026-01-31T12:34:56`
fn write_date(out: &mut String, seconds: u64) -> std::fmt::Result {
    let Date { year, month, day, hour, minute, second } = date_of(seconds);
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

fn push_words(out: &mut Vec<u8>, words: &[&str]) {
    for word in words {
        out.push(b' ');
        out.extend_from_slice(if word.is_empty() { b"-" } else { word.as_bytes() });
    }
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    out.push(b' ');
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// `,"name":"text"`; the text has been escaped before, or is the engine's own.
fn push_member(out: &mut Vec<u8>, name: &str, text: &str) {
    for part in [",\"", name, "\":\"", text, "\""] {
        out.extend_from_slice(part.as_bytes());
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
