//! What is measured.

/// Who makes the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generator {
    /// wrk: HTTP/1.1.
    Wrk,
    /// h2load: HTTP/2 with prior knowledge, or by ALPN.
    H2load,
    /// h2load with calls of gRPC.
    Grpc,
}

/// One case.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// As `--only` takes it.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    pub generator: Generator,
    /// Over TLS.
    pub tls: bool,
    /// What is asked for, and how long it is.
    pub path: &'static str,
    pub bytes: usize,
    pub connections: u32,
    /// Requests at a time on each connection.
    pub streams: u32,
    /// At most so many times what haproxy and Envoy need.
    pub goals: [Option<f64>; 2],
}

/// Connections as wrk has them; fewer with several streams each.
const MANY: (u32, u32) = (64, 1);
const FEW: (u32, u32) = (16, 8);

const fn case(
    name: &'static str,
    title: &'static str,
    generator: Generator,
    tls: bool,
    (path, bytes): (&'static str, usize),
    goals: [Option<f64>; 2],
) -> Case {
    let (connections, streams) = if matches!(generator, Generator::Wrk) { MANY } else { FEW };
    Case { name, title, generator, tls, path, bytes, connections, streams, goals }
}

const SMALL: (&str, usize) = ("/1k", 1024);
const LARGE: (&str, usize) = ("/64k", 64 * 1024);
/// An empty message in gRPC's frame.
const CALL: (&str, usize) = ("/bench.Echo/Call", 5);

/// All cases.
pub const CASES: [Case; 7] = [
    case("http1-1k", "HTTP/1.1, 1 KiB", Generator::Wrk, false, SMALL, [Some(1.05), Some(0.45)]),
    case("http1-64k", "HTTP/1.1, 64 KiB", Generator::Wrk, false, LARGE, [Some(0.8), None]),
    case("http2-1k", "HTTP/2 to HTTP/1.1, 1 KiB", Generator::H2load, false, SMALL, [None, Some(0.65)]),
    case("http2-64k", "HTTP/2 to HTTP/1.1, 64 KiB", Generator::H2load, false, LARGE, [None, None]),
    case("tls-1k", "HTTP/1.1 over TLS 1.3, 1 KiB", Generator::Wrk, true, SMALL, [None, None]),
    case("tls-64k", "HTTP/1.1 over TLS 1.3, 64 KiB", Generator::Wrk, true, LARGE, [None, None]),
    case("grpc", "gRPC to HTTP/2, unary, empty messages", Generator::Grpc, false, CALL, [None, None]),
];
