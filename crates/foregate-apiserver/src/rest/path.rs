//! Paths: `/api/v1/…` and `/apis/GROUP/VERSION/…`.

/// What a resource path names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// API group; empty for the core.
    pub group: String,
    /// API version.
    pub version: String,
    /// Namespace, where the path has one.
    pub namespace: Option<String>,
    /// Plural name.
    pub resource: String,
    /// Object name.
    pub name: Option<String>,
    /// `status` and the like.
    pub subresource: Option<String>,
}

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/readyz`, `/livez`, `/healthz`, and below.
    Health,
    /// `/version`
    Version,
    /// `/metrics`
    Metrics,
    /// `/api`
    Api,
    /// `/apis`
    Apis,
    /// `/apis/GROUP`
    Group(String),
    /// `/api/v1`, `/apis/GROUP/VERSION`
    Resources(String, String),
    /// `/openapi/v3`
    OpenApi,
    /// `/openapi/v2`
    OpenApiV2,
    /// `/openapi/v3/api/v1`, `/openapi/v3/apis/GROUP/VERSION`
    OpenApiOf(String, String),
    /// `/foregate`, and below: what is mounted there.
    Extra(Vec<String>),
    /// Objects.
    Resource(Target),
    /// Anything else.
    Unknown,
}

/// Reads a path.
pub fn parse(path: &str) -> Route {
    let decoded: Option<Vec<String>> = path.split('/').filter(|s| !s.is_empty()).map(decode).collect();
    let Some(parts) = decoded else { return Route::Unknown };
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["readyz" | "livez" | "healthz", ..] => Route::Health,
        ["version"] => Route::Version,
        ["metrics"] => Route::Metrics,
        ["foregate", rest @ ..] => Route::Extra(rest.iter().map(|part| (*part).to_owned()).collect()),
        ["api"] => Route::Api,
        ["apis"] => Route::Apis,
        ["apis", group] => Route::Group((*group).into()),
        ["api", version] => Route::Resources(String::new(), (*version).into()),
        ["apis", group, version] => Route::Resources((*group).into(), (*version).into()),
        ["openapi", "v2"] => Route::OpenApiV2,
        ["openapi", "v3"] => Route::OpenApi,
        ["openapi", "v3", "api", version] => Route::OpenApiOf(String::new(), (*version).into()),
        ["openapi", "v3", "apis", group, version] => Route::OpenApiOf((*group).into(), (*version).into()),
        ["api", version, rest @ ..] => target("", version, rest),
        ["apis", group, version, rest @ ..] => target(group, version, rest),
        _ => Route::Unknown,
    }
}

fn target(group: &str, version: &str, rest: &[&str]) -> Route {
    let mut target = Target { group: group.into(), version: version.into(), ..Target::default() };
    let own = |s: &&str| Some((*s).to_owned());
    match rest {
        // A namespace's own subresources look like resources in it.
        ["namespaces", name, sub @ ("status" | "finalize")] => {
            target.resource = "namespaces".into();
            target.name = own(name);
            target.subresource = own(sub);
        }
        ["namespaces", namespace, resource, tail @ ..] => {
            target.namespace = own(namespace);
            target.resource = (*resource).into();
            match tail {
                [] => {}
                [name] => target.name = own(name),
                [name, sub] => (target.name, target.subresource) = (own(name), own(sub)),
                _ => return Route::Unknown,
            }
        }
        [resource] => target.resource = (*resource).into(),
        [resource, name] => (target.resource, target.name) = ((*resource).into(), own(name)),
        [resource, name, sub] => {
            (target.resource, target.name, target.subresource) = ((*resource).into(), own(name), own(sub));
        }
        _ => return Route::Unknown,
    }
    Route::Resource(target)
}

/// Percent-decodes a part of a path; none when it isn't UTF-8 or holds a NUL.
fn decode(part: &str) -> Option<String> {
    let text = if part.contains('%') { percent(part.as_bytes())? } else { part.to_owned() };
    (!text.contains('\0')).then_some(text)
}

/// Percent-decoding; none when the result isn't UTF-8.
pub fn percent(bytes: &[u8]) -> Option<String> {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] == b'%'
            && let (Some(high), Some(low)) = (hex(bytes.get(i + 1)), hex(bytes.get(i + 2)))
        {
            out.push(high * 16 + low);
            i += 3;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(path: &str) -> (String, Option<String>, String, Option<String>, Option<String>) {
        match parse(path) {
            Route::Resource(t) => (t.group, t.namespace, t.resource, t.name, t.subresource),
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn paths_name_what_they_name() {
        let some = |s: &str| Some(s.to_owned());
        let cases = [
            ("/api/v1/namespaces", ("", None, "namespaces", None, None)),
            ("/api/v1/namespaces/a", ("", None, "namespaces", some("a"), None)),
            ("/api/v1/namespaces/a/status", ("", None, "namespaces", some("a"), some("status"))),
            ("/api/v1/namespaces/a/secrets", ("", some("a"), "secrets", None, None)),
            ("/api/v1/namespaces/a/secrets/b", ("", some("a"), "secrets", some("b"), None)),
            ("/apis/g.io/v1/things", ("g.io", None, "things", None, None)),
            ("/apis/g.io/v1/things/x/status", ("g.io", None, "things", some("x"), some("status"))),
            (
                "/apis/g.io/v1/namespaces/n/things/x%3Ay/status",
                ("g.io", some("n"), "things", some("x:y"), some("status")),
            ),
        ];
        for (path, (group, namespace, name, object, sub)) in cases {
            assert_eq!(resource(path), (group.into(), namespace, name.into(), object, sub), "{path}");
        }
        assert_eq!(parse("/apis/g.io/v1"), Route::Resources("g.io".into(), "v1".into()));
        assert_eq!(parse("/openapi/v3/apis/g/v1"), Route::OpenApiOf("g".into(), "v1".into()));
        assert_eq!(parse("/api/v1/a/b/c/d"), Route::Unknown);
        assert_eq!(parse("/api/v1/x/a%00b"), Route::Unknown);
    }
}
