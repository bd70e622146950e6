//! Names on the command line that end up in Kubernetes objects: what the API would refuse later is refused at once.

use foregate_api::credential::RANGE;

/// The longest name of an object, and the longest `controllerName`.
const LONGEST: usize = 253;

/// An RFC 1123 label in lower case: what a namespace is called.
///
/// # Errors
/// What it must be, for a person.
pub fn label(text: &str) -> Result<String, String> {
    let is_good = text.len() <= 63 && is_label(text);
    let why = "1 to 63 lower-case letters, digits and `-`, not at the ends";
    is_good.then(|| text.to_owned()).ok_or_else(|| why.to_owned())
}

/// An RFC 1123 subdomain in lower case: what most objects are called.
///
/// # Errors
/// What it must be, for a person.
pub fn subdomain(text: &str) -> Result<String, String> {
    let is_good = text.len() <= LONGEST && text.split('.').all(is_label);
    let why = "up to 253 lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit, as in \
               edge or edge.example";
    is_good.then(|| text.to_owned()).ok_or_else(|| why.to_owned())
}

/// A GatewayClass's `spec.controllerName`, as the Gateway API's CRD wants it: a domain, `/`, and a path.
///
/// # Errors
/// What it must be, for a person.
pub fn controller(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c);
    let is_good = text.len() <= LONGEST
        && text.split_once('/').is_some_and(|(domain, path)| {
            domain.split('.').all(is_label) && !path.is_empty() && path.chars().all(fits)
        });
    let why = "write a domain and a path, such as example.com/gateways, of 253 characters at most";
    is_good.then(|| text.to_owned()).ok_or_else(|| why.to_owned())
}

/// How long certificates are good: a number of days or hours, as in 90d or 12h. Returns seconds.
///
/// # Errors
/// What it must be, for a person.
pub fn validity(text: &str) -> Result<u32, String> {
    let seconds = |unit: &str, each: u32| text.strip_suffix(unit)?.parse::<u32>().ok()?.checked_mul(each);
    let seconds = seconds("d", 86_400).or_else(|| seconds("h", 3_600));
    let why = "a number of days or hours, such as 90d or 12h, from 1h to 3650d";
    seconds.filter(|it| RANGE.contains(it)).ok_or_else(|| why.to_owned())
}

fn is_label(text: &str) -> bool {
    let plain = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let bytes = text.as_bytes();
    plain(bytes.first()) && plain(bytes.last()) && bytes.iter().all(|c| plain(Some(c)) || *c == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_refuses_is_refused() {
        let long = "a".repeat(64);
        for (text, is_label, is_subdomain) in [
            ("foregate", true, true),
            ("edge-1", true, true),
            ("edge.example", false, true),
            (long.as_str(), false, true),
            ("Bad_Class", false, false),
            ("a..b", false, false),
            ("-a", false, false),
            ("a-", false, false),
            ("a b", false, false),
            ("", false, false),
            (&"a".repeat(254), false, false),
        ] {
            assert_eq!(label(text).is_ok(), is_label, "{text}");
            assert_eq!(subdomain(text).is_ok(), is_subdomain, "{text}");
        }
    }

    #[test]
    fn validities_are_days_or_hours() {
        for (text, seconds) in [("1h", 3_600), ("90d", 7_776_000), ("3650d", 315_360_000)] {
            assert_eq!(validity(text), Ok(seconds), "{text}");
        }
        for bad in ["", "90", "0h", "d", "3651d", "-1d", "1w", "1.5d", "99999999999d", "4294967295d"] {
            assert!(validity(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn controllers_are_a_domain_and_a_path() {
        for good in [foregate_api::CONTROLLER_NAME, "localhost/x", "a.b/c/d", "example.com/A~b:c"] {
            assert_eq!(controller(good).as_deref(), Ok(good));
        }
        let long = format!("a.b/{}", "c".repeat(250));
        for bad in ["", "bad", "bad/", "/x", "Bad.example/x", "a..b/x", "a.b/x y", "a.b/ü", "https://a.b/x", &long] {
            assert!(controller(bad).is_err(), "{bad}");
        }
    }
}
