//! A URL and flags as a request.

use std::net::IpAddr;

use foregate_translate::explain::{Request, Scheme};

use super::CliError;

/// Reads them. The path stays as it is written: what normal form it gets is the gateway's affair.
///
/// # Errors
/// When they make no request.
pub fn request(url: &str, method: &str, headers: &[String]) -> Result<Request, CliError> {
    let bad = |why: &str| {
        CliError::usage(
            format!("{url:?} is no URL of a request: {why}"),
            "write it like http://shop.example.com/cart?id=1",
        )
    };
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => {
            let known = [Scheme::Http, Scheme::Https, Scheme::Tls, Scheme::Tcp, Scheme::Udp];
            let found = known.into_iter().find(|known| scheme.eq_ignore_ascii_case(known.as_str()));
            (
                found.ok_or_else(|| bad(&format!("the scheme {scheme:?} is none of http, https, tls, tcp and udp")))?,
                rest,
            )
        }
        None => (Scheme::Http, url),
    };
    // A fragment is for the browser: it is never sent.
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let authority = authority.rsplit('@').next().unwrap_or_default();
    if authority.is_empty() {
        return Err(bad("it names no host"));
    }
    if authority.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(bad("its host has a blank in it"));
    }
    let closed = authority.split_once(']').is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with(':'));
    if authority.contains(['[', ']']) && !(authority.starts_with('[') && closed) {
        return Err(bad("an IPv6 address stands in brackets, like [2001:db8::1]"));
    }
    let (name, port) = split_port(authority).ok_or_else(|| bad("its port isn't a number from 1 to 65535"))?;
    if port.is_none() && scheme.default_port() == 0 {
        return Err(bad("without requests it needs a port, like tcp://10.0.0.1:5432"));
    }
    let path = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let mut request = Request {
        scheme,
        address: name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok(),
        port,
        host: authority.to_owned(),
        method: method.to_owned(),
        path,
        ..Request::default()
    };
    for header in headers {
        let (name, value) = header
            .split_once(':')
            .filter(|(name, _)| is_token(name.trim()))
            .ok_or_else(|| CliError::usage(format!("{header:?} is no header"), "write it like -H 'x-version: 2'"))?;
        if name.trim().eq_ignore_ascii_case("host") {
            request.host = value.trim().to_owned();
        } else {
            request.headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    if !is_token(method) {
        return Err(CliError::usage(format!("{method:?} is no method"), "write it like --method POST"));
    }
    Ok(request)
}

/// RFC 9110: what names of headers and methods are made of.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// None: the port is none.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    match (authority.rfind(':'), authority.rfind(']')) {
        (Some(colon), Some(bracket)) if bracket > colon => Some((authority, None)),
        (None, _) => Some((authority, None)),
        (Some(colon), _) => {
            let port = authority[colon + 1..].parse::<u16>().ok().filter(|port| *port > 0)?;
            Some((&authority[..colon], Some(port)))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_are_read_as_clients_send_them() {
        for (url, host, port, path) in [
            ("http://a.com", "a.com", None, "/"),
            ("a.com/x/../y?q=1#f", "a.com", None, "/x/../y?q=1"),
            ("https://me@a.com:8443/x", "a.com:8443", Some(8443), "/x"),
            ("http://a.com?q", "a.com", None, "/?q"),
            ("http://[::1]:80/", "[::1]:80", Some(80), "/"),
            ("[::1]", "[::1]", None, "/"),
            ("HTTP://a.com", "a.com", None, "/"),
            ("tls://a.com", "a.com", None, "/"),
            ("udp://a.com:53", "a.com:53", Some(53), "/"),
        ] {
            let request = request(url, "GET", &[]).unwrap();
            assert_eq!((&*request.host, request.port, &*request.path), (host, port, path), "{url}");
            assert_eq!(request.address.is_some(), url.contains("::1"), "{url}");
        }
        let request = request("http://127.0.0.1/", "GET", &["Host: a.com".into(), "x-a:b:c".into()]).unwrap();
        assert_eq!((&*request.host, request.headers), ("a.com", vec![("x-a".to_owned(), "b:c".to_owned())]));
    }

    #[test]
    fn what_is_no_request_is_said() {
        for (url, header, why) in [
            ("ftp://a/", None, "none of http"),
            ("http:///x", None, "names no host"),
            ("http://a b/", None, "a blank"),
            (" ", None, "a blank"),
            ("http://[::1/", None, "in brackets"),
            ("http://::1]:80/", None, "in brackets"),
            ("http://[::1]x/", None, "in brackets"),
            ("http://a:0/", None, "1 to 65535"),
            ("http://a:b/", None, "1 to 65535"),
            ("tcp://a", None, "needs a port"),
            ("http://a/", Some("x"), "no header"),
            ("http://a/", Some("x y: 1"), "no header"),
        ] {
            let headers: Vec<String> = header.into_iter().map(str::to_owned).collect();
            assert!(request(url, "GET", &headers).unwrap_err().to_string().contains(why), "{url} {header:?}");
        }
        assert!(request("http://a/", "G T", &[]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(
            host in "[a-z.]{1,10}|\\[[0-9a-f:]{2,8}\\]", port in prop::option::of(1..=u16::MAX), path in "/[ -\"$-~]{0,20}",
        ) {
            let port_text = port.map(|port| format!(":{port}")).unwrap_or_default();
            let request = request(&format!("http://{host}{port_text}{path}"), "GET", &[]).unwrap();
            prop_assert_eq!((request.host, request.port, request.path), (format!("{host}{port_text}"), port, path));
        }

        #[test]
        fn anything_is_read_or_refused(url in any::<String>(), header in any::<String>()) {
            let _ = request(&url, "GET", &[header]);
        }
    }
}
