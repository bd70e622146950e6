//! Names of objects.

use rand::Rng;

use crate::registry::Kind;

/// What is wrong with a name; none when it is fine.
pub(crate) fn check(kind: &Kind, name: &str) -> Option<String> {
    if kind.group == "rbac.authorization.k8s.io" {
        return path_segment(name);
    }
    if kind.is_namespace() || kind.is("", "services") {
        return label(name);
    }
    subdomain(name)
}

/// RFC 1123 label: what names a namespace.
pub(crate) fn label(name: &str) -> Option<String> {
    let fine = name.len() <= 63 && is_label(name);
    (!fine).then(|| {
        format!(
            "Invalid value: {name:?}: a lowercase RFC 1123 label must consist of lower case alphanumeric characters or \
             '-', and must start and end with an alphanumeric character (at most 63)"
        )
    })
}

fn subdomain(name: &str) -> Option<String> {
    let fine = name.len() <= 253 && name.split('.').all(is_label);
    (!fine).then(|| {
        format!(
            "Invalid value: {name:?}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
             characters, '-' or '.', and must start and end with an alphanumeric character (at most 253)"
        )
    })
}

fn path_segment(name: &str) -> Option<String> {
    let bad = matches!(name, "." | "..") || name.is_empty() || name.contains(['/', '%', '\0']);
    bad.then(|| format!("Invalid value: {name:?}: may not be '.' or '..', nor contain '/' or '%'"))
}

fn is_label(text: &str) -> bool {
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    let bytes = text.as_bytes();
    !bytes.is_empty() && bytes.iter().all(inner) && bytes.first() != Some(&b'-') && bytes.last() != Some(&b'-')
}

/// A name for `generateName`.
pub(crate) fn generate(prefix: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut random = rand::rng();
    let tail = (0..5).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())]));
    let prefix: String = prefix.chars().take(58).collect();
    prefix.chars().chain(tail).collect()
}
