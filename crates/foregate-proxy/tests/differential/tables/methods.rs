//! Methods, known and not.

use crate::case::{Case, ask, raw};

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for method in [
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "DELETE",
        "OPTIONS",
        "PATCH",
        "TRACE",
        "PROPFIND",
        "MKCOL",
        "PURGE",
        "LINK",
        "M-SEARCH",
        "QUERY",
        "BREW",
        "get",
        "Get",
        "G",
        "GETT",
        "PRI",
        "!",
        "GET.",
        "GE\u{1}T",
        "GET\"",
        "GE(T",
        "A-VERY-LONG-METHOD-NAME-INDEED",
    ] {
        all.push(ask(method, "error.test", "/method", &[], ""));
    }
    for method in ["TRACE", "OPTIONS", "PURGE", "HEAD"] {
        all.push(ask(method, "error.test", "/method", &[], "body"));
    }
    all.push(raw("OPTIONS *", "OPTIONS * HTTP/1.1\r\nhost: error.test\r\n\r\n"));
    all.push(raw("GET *", "GET * HTTP/1.1\r\nhost: error.test\r\n\r\n"));
    all.push(raw("CONNECT authority", "CONNECT error.test:443 HTTP/1.1\r\nhost: error.test:443\r\n\r\n"));
    all.push(raw("CONNECT path", "CONNECT / HTTP/1.1\r\nhost: error.test\r\n\r\n"));
    all
}
