//! The differences that are meant, each with its section in `docs/engine-differences.md`.

use std::collections::BTreeSet;

use super::compare::Difference;

/// One section.
pub struct Listed {
    /// Its heading.
    pub title: &'static str,
    /// Requests that are answered differently: all that follows from that is covered.
    pub cases: &'static [&'static str],
    /// What differs in any request, and when.
    pub what: &'static [&'static str],
    pub when: fn(&Difference) -> bool,
}

const fn of_cases(title: &'static str, cases: &'static [&'static str]) -> Listed {
    Listed { title, cases, what: &[], when: |_| true }
}

const fn of_any(title: &'static str, what: &'static [&'static str], when: fn(&Difference) -> bool) -> Listed {
    Listed { title, cases: &[], what, when }
}

impl Listed {
    fn covers(&self, difference: &Difference) -> bool {
        self.cases.contains(&difference.case.as_str())
            || self.what.contains(&difference.what.as_str()) && (self.when)(difference)
    }
}

/// Holds differences against the list: what isn't in it, and what of it isn't there any more.
pub fn unexpected(all: &[Difference], list: &[Listed]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut seen = vec![BTreeSet::new(); list.len()];
    for difference in all {
        match list.iter().position(|listed| listed.covers(difference)) {
            Some(at) => drop(seen[at].insert(difference.case.as_str())),
            None => wrong.push(format!(
                "{} | {} | Envoy: {} | engine: {}",
                difference.case.escape_debug(),
                difference.what,
                difference.envoy.escape_debug(),
                difference.engine.escape_debug()
            )),
        }
    }
    for (listed, seen) in list.iter().zip(&seen) {
        if seen.is_empty() {
            wrong.push(format!("listed, but nothing differs any more: {}", listed.title));
        }
        let gone = listed.cases.iter().filter(|case| !seen.contains(**case));
        wrong.extend(
            gone.map(|case| format!("listed, but doesn't differ any more: {} ({})", case.escape_debug(), listed.title)),
        );
    }
    wrong
}

/// The headings of the document are those of the list.
pub fn undocumented(list: &[&[Listed]]) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/engine-differences.md");
    let text = std::fs::read_to_string(path).unwrap();
    let written: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let listed: BTreeSet<&str> = list.iter().flat_map(|list| list.iter()).map(|listed| listed.title).collect();
    let missing =
        listed.difference(&written).map(|title| format!("docs/engine-differences.md has no section: {title}"));
    let stale =
        written.difference(&listed).map(|title| format!("docs/engine-differences.md has a section too many: {title}"));
    missing.chain(stale).collect()
}

/// A location without ports that its scheme implies.
fn plain(location: &str) -> String {
    location.replacen(":443/", "/", 1).replacen(":80/", "/", 1)
}

/// What may differ in an answer without a body.
const HEAD: &[&str] = &["header transfer-encoding", "header content-length"];

/// A backend's 204 that says how long it is.
const NO_CONTENT: &[&str] = &["GET error.test /status x-do=status=204", "HEAD error.test /status x-do=status=204"];

/// What a backend should not answer.
const BAD_BACKENDS: &[&str] = &[
    "GET error.test /answers x-do=raw=HTTP/1.1 99 Low||||",
    "GET error.test /answers x-do=raw=HTTP/1.1 100 Continue||||HTTP/1.1 200 OK||content-length: 0||||",
    "GET error.test /answers x-do=raw=HTTP/1.1 101 Switching||connection: upgrade||upgrade: x||||",
    "GET error.test /answers x-do=raw=HTTP/3.7 200 OK||content-length: 0||||",
];

/// The backend closes instead of answering.
const JUST_CLOSED: &[&str] = &["GET error.test /retry x-do=drop", "GET patched.test /attempts x-do=drop"];

/// Headers that Envoy makes one line of.
const LINES: &[&str] = &["upstream header accept", "upstream header user-agent", "upstream header content-type"];

/// Requests that are written by hand.
pub const LIST: &[Listed] = &[
    Listed {
        title: "Upgrades",
        cases: &["upgrade of POST"],
        what: &[
            "header connection",
            "upstream header connection",
            "body",
            "header content-length",
            "upstream requests",
        ],
        when: |it| it.case.starts_with("upgrade"),
    },
    of_any(
        "Envoy's own headers",
        &[
            "upstream header x-envoy-external-address",
            "upstream header x-envoy-internal",
            "upstream header x-envoy-attempt-count",
        ],
        |_| true,
    ),
    of_any("Words of the proxy's own answers", &["body", "header content-length", "header content-type"], |it| it.own),
    Listed {
        title: "Answers of the HTTP parser",
        cases: &["a good one and a bad one"],
        what: &["header server", "header connection"],
        when: |it| it.own,
    },
    of_any("Copies of requests", &["upstream header x-forwarded-for"], |it| it.case.contains(" mirror.test")),
    of_any("Well-known ports in redirects", &["header location"], |it| plain(&it.envoy) == plain(&it.engine)),
    of_any("Answers to HTTP/1.0", &["version"], |it| it.engine == "HTTP/1.0"),
    of_any("Answers to HEAD", HEAD, |it| it.case.starts_with("HEAD ")),
    of_any("Empty bodies of rare methods", &["upstream header content-length"], |it| {
        it.envoy == "[\"0\"]" && it.engine == "[]"
    }),
    of_any("Lines of one name", LINES, |it| it.envoy.replace(',', "\", \"") == it.engine),
    of_any("Trailers over HTTP/1.1", &["upstream trailers"], |_| true),
    of_cases("Several hosts", &["two hosts", "two different hosts"]),
    of_cases("User names in hosts", &["GET user@plain.test /"]),
    of_cases("URLs without a path", &["absolute http://plain.test?x=1 host plain.test"]),
    of_cases(
        "Characters that no URL has",
        &["GET redirect.test /plain/'\"<>", "GET paths.test /prefix`x", "GET paths.test /prefix<x>"],
    ),
    of_cases("A 304 with a length", &["GET error.test /status x-do=status=304"]),
    of_cases("A 204 with a length", NO_CONTENT),
    of_cases("Backends that don't speak HTTP well", BAD_BACKENDS),
    of_cases("Paths beyond 64 KiB", &["a path of 70000 bytes"]),
    of_cases(
        "Transfer codings whose end can't be seen",
        &["chunked, gzip", "chunked twice", "xchunked", "1.0 chunked"],
    ),
    of_cases("Chunks that are longer than they say", &["chunk longer than it says"]),
    of_cases("Bodies that nobody wants", &["a redirect with a body before another"]),
    of_cases(
        "Methods",
        &[
            "M-SEARCH error.test /method",
            "QUERY error.test /method",
            "BREW error.test /method",
            "get error.test /method",
            "Get error.test /method",
            "G error.test /method",
            "GETT error.test /method",
            "PRI error.test /method",
            "! error.test /method",
            "GET. error.test /method",
            "A-VERY-LONG-METHOD-NAME-INDEED error.test /method",
        ],
    ),
    of_cases("Versions that don't exist", &["two words", "an unknown version", "version 2", "version 0.9"]),
    of_cases(
        "Lines that are nearly right",
        &[
            "byte 0x9 in the path",
            "two spaces",
            "tabs",
            "space last",
            "CR only",
            "CR in a value",
            "a folded value",
            "a folded tab",
        ],
    ),
    of_cases("Connections that a backend has just closed", JUST_CLOSED),
    of_cases("Expectations", &["GET error.test /headers expect=100-continue", "expect twice"]),
];

/// Requests that are made at random.
pub const GENERATED: &[Listed] = &[
    of_any("Envoy's own headers", &["upstream header x-envoy-external-address"], |_| true),
    of_any("Answers to HEAD", HEAD, |it| it.case.contains(": HEAD ")),
    of_any("Empty bodies of rare methods", &["upstream header content-length"], |it| it.case.contains(": OPTIONS ")),
    of_any("Bodies that nobody wants", &["header connection"], |it| it.own && it.envoy == "[\"close\"]"),
    of_any("Words of the proxy's own answers", &["header content-length"], |it| it.own && it.envoy == "[]"),
];

/// Requests in HTTP/2.
pub const HTTP2: &[Listed] = &[
    of_any(
        "Envoy's own headers",
        &[
            "upstream header x-envoy-external-address",
            "upstream header x-envoy-internal",
            "upstream header x-envoy-attempt-count",
        ],
        |_| true,
    ),
    of_any("Words of the proxy's own answers", &["body", "header content-length", "header content-type"], |it| it.own),
    of_any("Copies of requests", &["upstream header x-forwarded-for"], |it| it.case.contains(" mirror.test")),
    of_any("Well-known ports in redirects", &["header location"], |it| plain(&it.envoy) == plain(&it.engine)),
    of_any("Lines of one name", LINES, |it| it.envoy.replace(',', "\", \"") == it.engine),
    of_any("Trailers over HTTP/1.1", &["trailers"], |it| it.envoy == "[]"),
    of_cases("User names in hosts", &["GET user@plain.test /"]),
    of_cases("A 204 with a length", NO_CONTENT),
    of_cases("Backends that don't speak HTTP well", BAD_BACKENDS),
    of_cases("Headers that are too large for HTTP/2", &["a header of 62000 bytes", "a header of 70000 bytes"]),
    of_cases("Methods", &["QUERY error.test /method"]),
    of_cases("Connections that a backend has just closed", JUST_CLOSED),
    of_any("Empty bodies of rare methods", &["upstream header content-length"], |it| {
        it.case.starts_with("frames: :method ")
    }),
    of_cases("Targets over HTTP/2", &["frames: :path /#x", "frames: :path ?x"]),
    of_cases("Slashes alone", &["frames: :path //"]),
    of_cases("Pseudo-headers in trailers", &["frames: trailers with :path"]),
    of_cases("PRIORITY on stream 0", &["frames: PRIORITY on stream 0"]),
];
