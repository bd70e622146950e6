//! Redirects: which port is written.

use foregate_api::route::Redirect;

use super::listeners::AttachPoint;
use crate::Problem;
use crate::ir;

/// A redirect as seen from one listener. Gateway API: the port is the redirect's own; else the well-known one of its
/// scheme (with the port offset: there the listener of that port is); else the listener's. It is left out where it is
/// the well-known one of the scheme in force.
pub(super) fn resolve(redirect: &Redirect, point: &AttachPoint, field: &str) -> Result<ir::Redirect, Problem> {
    if !matches!(redirect.status_code, 301 | 302 | 303 | 307 | 308) {
        let reason = format!("{} isn't a redirect; use 301, 302, 303, 307 or 308", redirect.status_code);
        return Err(Problem::invalid(format!("{field}.statusCode"), reason));
    }
    let scheme = redirect.scheme.as_deref().unwrap_or(point.class.name());
    if !matches!(scheme, "http" | "https") {
        return Err(Problem::invalid(format!("{field}.scheme"), format!("{scheme:?} is neither http nor https")));
    }
    let of_scheme = well_known(scheme).saturating_add(point.port_offset);
    let port = redirect.port.unwrap_or(if redirect.scheme.is_some() { of_scheme } else { point.port });
    // A request's `Host` has the listener's port when that isn't well known, and an engine keeps what isn't replaced.
    let host_is_bare = redirect.hostname.is_some() || point.port == well_known(point.class.name());
    let port = (port != well_known(scheme) || !host_is_bare).then_some(port);
    Ok(ir::Redirect {
        scheme: redirect.scheme.clone(),
        hostname: redirect.hostname.clone(),
        port,
        path: redirect.path.clone(),
        status_code: redirect.status_code,
    })
}

fn well_known(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::resolve::listeners::Class;

    fn at(class: Class, port: u16, port_offset: u16) -> AttachPoint {
        AttachPoint {
            listener: "r".into(),
            route_configuration: Some("r".into()),
            class,
            port,
            port_offset,
            hostname: "*".into(),
        }
    }

    #[test]
    fn the_port_offset_counts_for_ports_that_nobody_wrote() {
        let redirect = |scheme: Option<&str>, port| Redirect {
            scheme: scheme.map(str::to_owned),
            hostname: None,
            port,
            status_code: 302,
            path: None,
        };
        let written = |scheme, port| resolve(&redirect(scheme, port), &at(Class::Http, 8080, 8000), "f").unwrap().port;
        assert_eq!(written(Some("https"), None), Some(8443));
        assert_eq!(written(Some("http"), None), Some(8080));
        assert_eq!(written(None, None), Some(8080));
        assert_eq!(written(Some("https"), Some(443)), Some(443));
    }

    #[test]
    fn ports() {
        // listener, its port, scheme, hostname, port → port written
        let table = [
            (Class::Http, 80, None, None, None, None),
            (Class::Http, 80, None, None, Some(80), None),
            (Class::Http, 80, None, None, Some(8080), Some(8080)),
            (Class::Http, 80, Some("https"), None, None, None),
            (Class::Http, 80, Some("https"), None, Some(443), None),
            (Class::Http, 80, Some("https"), None, Some(8443), Some(8443)),
            (Class::Http, 8080, None, None, None, Some(8080)),
            (Class::Http, 8080, None, Some("a.com"), None, Some(8080)),
            (Class::Http, 8080, None, Some("a.com"), Some(80), None),
            (Class::Http, 8080, None, None, Some(80), Some(80)),
            (Class::Http, 8080, Some("https"), Some("a.com"), None, None),
            (Class::Http, 8080, Some("https"), None, None, Some(443)),
            (Class::Http, 8080, Some("http"), Some("a.com"), None, None),
            (Class::Https, 443, None, None, None, None),
            (Class::Https, 443, Some("http"), None, None, None),
            (Class::Https, 443, Some("http"), None, Some(8080), Some(8080)),
            (Class::Https, 8443, None, None, None, Some(8443)),
        ];
        for (class, listener, scheme, hostname, port, expected) in table {
            let point = at(class, listener, 0);
            let redirect = Redirect {
                scheme: scheme.map(str::to_owned),
                hostname: hostname.map(str::to_owned),
                port,
                status_code: 302,
                path: None,
            };
            let written = resolve(&redirect, &point, "f").unwrap().port;
            assert_eq!(written, expected, "{class:?}:{listener} {scheme:?} {hostname:?} {port:?}");
        }
    }

    #[test]
    fn other_codes_and_schemes_are_refused() {
        let point = at(Class::Http, 80, 0);
        let bad = Redirect { status_code: 200, ..Redirect::default() };
        assert!(resolve(&bad, &point, "f").unwrap_err().to_string().starts_with("f.statusCode: 200"));
        let bad = Redirect { status_code: 302, scheme: Some("ftp".to_owned()), ..Redirect::default() };
        assert!(resolve(&bad, &point, "f").unwrap_err().to_string().starts_with("f.scheme"));
    }
}
