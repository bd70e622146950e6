//! The well-known forms: addresses, host names, URIs, header names and values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::rules::Form;

/// A form's rule and its name for people.
pub(crate) fn describe(form: Form) -> (&'static str, &'static str) {
    match form {
        Form::Email => ("email", "an email address"),
        Form::Hostname => ("hostname", "a host name"),
        Form::Ip => ("ip", "an IP address"),
        Form::Ipv4 => ("ipv4", "an IPv4 address"),
        Form::Ipv6 => ("ipv6", "an IPv6 address"),
        Form::Uri => ("uri", "an absolute URI"),
        Form::UriRef => ("uri_ref", "a URI reference"),
        Form::Address => ("address", "an IP address or host name"),
        Form::Uuid => ("uuid", "a UUID"),
        Form::HeaderName(_) => ("well_known_regex", "an HTTP header name"),
        Form::HeaderValue(_) => ("well_known_regex", "an HTTP header value"),
    }
}

pub(crate) fn matches(form: Form, text: &str) -> bool {
    match form {
        Form::Email => email(text),
        Form::Hostname => hostname(text),
        Form::Ip => text.parse::<IpAddr>().is_ok(),
        Form::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
        Form::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
        Form::Uri => scheme(text).is_some_and(uri_characters),
        Form::UriRef => uri_characters(text),
        Form::Address => hostname(text) || text.parse::<IpAddr>().is_ok(),
        Form::Uuid => uuid(text),
        Form::HeaderName(true) => header_name(text),
        Form::HeaderValue(true) => !text.chars().any(|c| c.is_ascii_control() && c != '\t'),
        // What could end a line or a header is never allowed.
        Form::HeaderName(false) | Form::HeaderValue(false) => !text.contains(['\0', '\r', '\n']),
    }
}

/// Addresses as bytes in network order.
pub(crate) fn matches_bytes(form: Form, bytes: &[u8]) -> bool {
    match form {
        Form::Ip => matches!(bytes.len(), 4 | 16),
        Form::Ipv4 => bytes.len() == 4,
        Form::Ipv6 => bytes.len() == 16,
        _ => true,
    }
}

/// A token of RFC 9110, with the comma that protoc-gen-validate lets pass, or a pseudo-header.
fn header_name(text: &str) -> bool {
    let name = text.strip_prefix(':').unwrap_or(text);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+,-.^_|~`".contains(&byte))
}

/// RFC 1034: labels of letters, digits and inner hyphens, 63 each, 253 in all.
fn hostname(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let allowed = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    (1..=64).contains(&local.len()) && text.len() <= 254 && local.chars().all(allowed) && hostname(domain)
}

/// What follows the scheme.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(':')?;
    let follows = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(follows)).then_some(rest)
}

/// The characters of RFC 3986, percent signs only before two hex digits.
fn uri_characters(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
        byte => byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(byte),
    })
}

fn uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let long = "a".repeat(64);
        let table: [(Form, &[&str], &[&str]); 11] = [
            (Form::Email, &["a@b.example", "a.b+c@x"], &["", "a", "@b", "a@", "a b@c", "a@-b"]),
            (Form::Hostname, &["a", "a-b.example", "1.a", "a."], &["", "-a", "a-", "a..b", "a_b", &long, "é"]),
            (Form::Ip, &["1.2.3.4", "::1"], &["", "1.2.3", "1.2.3.4/8", "g::"]),
            (Form::Ipv4, &["1.2.3.4"], &["::1", "256.1.1.1"]),
            (Form::Ipv6, &["2001:db8::1"], &["1.2.3.4", ":::"]),
            (Form::Uri, &["http://a/b?c#d", "urn:x:y%20z", "a+b.c-d:"], &["", "/a", "1a:b", ":b", "a:b c", "a:%2"]),
            (Form::UriRef, &["", "/a?b", "../x", "http://a"], &["a b", "%zz", "\u{e9}"]),
            (Form::Address, &["a.example", "::1", "1.2.3.4"], &["", "a_b", "[::1]"]),
            (
                Form::Uuid,
                &["123e4567-e89b-12d3-a456-426614174000"],
                &["", "123e4567e89b12d3a456426614174000", "123e4567-e89b-12d3-a456-42661417400g"],
            ),
            (Form::HeaderName(true), &["x-a", ":path", "a,b"], &["", ":", "a b", "a:", "a\n", "é"]),
            (Form::HeaderValue(true), &["", "a\tb", "é"], &["a\n", "\u{7f}", "\u{1}"]),
        ];
        for (form, good, bad) in table {
            for text in good {
                assert!(matches(form, text), "{form:?} {text:?}");
            }
            for text in bad {
                assert!(!matches(form, text), "{form:?} {text:?}");
            }
        }
        for form in [Form::HeaderName(false), Form::HeaderValue(false)] {
            assert!(matches(form, "") && matches(form, "a b\u{1}"));
            assert!(!matches(form, "a\r") && !matches(form, "a\0"));
        }
    }

    #[test]
    fn addresses_in_bytes() {
        let table = [
            (Form::Ip, 4, true),
            (Form::Ip, 16, true),
            (Form::Ip, 5, false),
            (Form::Ipv4, 16, false),
            (Form::Ipv6, 16, true),
        ];
        for (form, length, want) in table {
            assert_eq!(matches_bytes(form, &vec![0; length]), want, "{form:?} {length}");
        }
    }
}
