//! One request and its response: what is counted and logged when it is over, however it ends.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};

use super::connection::ConnectionState;
use super::host::Host;
use super::instance::Local;
use super::logging::{Line, Outcome};
use super::stream::{Late, Phase, StreamState};
use super::trace::Trace;
use crate::metrics::RouteStats;

/// Why a response is what it is, in Envoy's letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    /// No healthy upstream.
    Uh,
    /// Upstream connection failure.
    Uf,
    /// Upstream connection termination.
    Uc,
    /// Upstream remote reset.
    Ur,
    /// Upstream request timeout.
    Ut,
    /// Upstream overflow: a limit was reached.
    Uo,
    /// Upstream protocol error.
    Upe,
    /// Retry limit exceeded.
    Urx,
    /// No route.
    Nr,
    /// No cluster.
    Nc,
    /// Downstream connection termination.
    Dc,
    /// Downstream protocol error.
    Dpe,
    /// Stream idle timeout: nothing moved for too long.
    Si,
    /// A service that was asked doesn't let it pass, or can't be asked.
    Uaex,
}

const FLAGS: [(Flag, &str); 14] = [
    (Flag::Urx, "URX"),
    (Flag::Uh, "UH"),
    (Flag::Uf, "UF"),
    (Flag::Uc, "UC"),
    (Flag::Ur, "UR"),
    (Flag::Ut, "UT"),
    (Flag::Uo, "UO"),
    (Flag::Upe, "UPE"),
    (Flag::Nr, "NR"),
    (Flag::Nc, "NC"),
    (Flag::Dc, "DC"),
    (Flag::Dpe, "DPE"),
    (Flag::Si, "SI"),
    (Flag::Uaex, "UAEX"),
];

/// One request and its response.
pub(super) struct Exchange {
    stream: Rc<StreamState>,
    start: Instant,
    line: Option<Line>,
    flags: u16,
    /// The request is one of gRPC: errors are told in its way.
    pub(super) grpc: bool,
    /// What the client speaks.
    pub(super) version: Version,
    /// The request, if the response's headers are to tell of it.
    pub(super) request: Option<Box<(Method, Uri, HeaderMap)>>,
    pub(super) status: u16,
    /// The counters of the route that it took.
    pub(super) route: Option<Local<RouteStats>>,
    pub(super) bytes_in: Option<Rc<Cell<u64>>>,
    pub(super) bytes_out: u64,
    pub(super) upstream: Option<Rc<Host>>,
    /// Its trace, where requests are traced.
    pub(super) trace: Option<Box<Trace>>,
    complete: bool,
}

impl Exchange {
    pub(super) fn new(stream: &Rc<StreamState>, version: Version, line: Option<Line>) -> Box<Self> {
        stream.connection.listener.stats.requests_active.inc();
        Box::new(Self {
            stream: Rc::clone(stream),
            start: Instant::now(),
            line,
            flags: 0,
            grpc: false,
            version,
            request: None,
            status: 0,
            route: None,
            bytes_in: None,
            bytes_out: 0,
            upstream: None,
            trace: None,
            complete: false,
        })
    }

    /// Notes the route for the access log, and for spans.
    pub(super) fn note_route(&mut self, name: &Arc<str>) {
        if let Some(trace) = &mut self.trace {
            trace.note_route(name);
        }
        if let Some(line) = &mut self.line {
            line.set_route(name);
        }
    }

    /// Notes the request's id for the access log.
    pub(super) fn note_id(&mut self, id: Option<&HeaderValue>) {
        if let (Some(line), Some(id)) = (&mut self.line, id) {
            line.set_id(id.as_bytes());
        }
    }

    /// Notes what an answer of gRPC says of itself.
    pub(super) fn note_answer(&mut self, headers: &HeaderMap) {
        if let Some(trace) = self.trace.as_mut().filter(|_| self.grpc) {
            trace.note_answer(headers);
        }
    }

    pub(super) fn connection(&self) -> &Rc<ConnectionState> {
        &self.stream.connection
    }

    pub(super) fn stream(&self) -> &Rc<StreamState> {
        &self.stream
    }

    pub(super) fn start(&self) -> Instant {
        self.start
    }

    pub(super) fn flag(&mut self, flag: Flag) {
        self.flags |= 1 << flag as u16;
    }

    pub(super) fn responding(&mut self, status: StatusCode) {
        self.status = status.as_u16();
        self.stream.enter(Phase::Response);
    }

    /// The response is whole: the connection is between two requests again.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    /// It ends before its response has been sent: the client gave up, or nothing moved for too long.
    fn broke_off(&mut self) {
        match self.stream.was_late() {
            Some(late) => {
                self.flag(Flag::Si);
                if late == Late::Answer {
                    self.status = StatusCode::REQUEST_TIMEOUT.as_u16();
                }
            }
            None => {
                self.flag(Flag::Dc);
                self.stream.connection.gave_up(self.start.elapsed());
            }
        }
    }

    /// What went wrong, in Envoy's letters.
    pub(super) fn flags(&self) -> String {
        let mut out = String::new();
        for (flag, name) in FLAGS {
            if self.flags & (1 << flag as u16) != 0 {
                if !out.is_empty() {
                    out.push(',');
                }
                out.push_str(name);
            }
        }
        out
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.complete {
            self.broke_off();
        }
        if let Some(trace) = self.trace.take() {
            trace.finish(self);
        }
        let listener = &self.stream.connection.listener;
        let stats = &listener.stats;
        let micros = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let bytes_in = self.bytes_in.as_ref().map_or(0, |bytes| bytes.get());
        stats.requests[usize::from(self.status / 100).min(5)].inc();
        stats.duration.observe(micros);
        if let Some(route) = &self.route {
            route.observe(self.status, micros);
        }
        stats.bytes_in.add(bytes_in);
        stats.bytes_out.add(self.bytes_out);
        stats.requests_active.dec();
        self.stream.enter(Phase::Idle);
        let Some(line) = self.line.take() else { return };
        let flags = if self.flags == 0 { String::new() } else { self.flags() };
        self.stream.connection.worker.log.end(
            line,
            &Outcome {
                instance: &listener.instance.shared.name,
                listener: &listener.name,
                status: self.status,
                flags: &flags,
                bytes_in,
                bytes_out: self.bytes_out,
                micros,
                upstream: self.upstream.as_ref().map_or("", |host| &host.text),
            },
        );
    }
}
