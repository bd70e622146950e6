//! What a gateway runs on: the engine of this binary, or an Envoy that an operator has added.

use std::fmt;
use std::str::FromStr;

/// An engine, as `spec.engine` of a GatewayTemplate names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EngineName {
    /// `builtin`: foregate-proxy, in this binary.
    #[default]
    Builtin,
    /// `envoy@VERSION`: an Envoy of the gateway node's engine store, by the version that it was added under.
    Envoy(String),
}

/// Why a name isn't an engine's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no engine: `builtin`, or `envoy@VERSION` with a version of letters, digits, `.`, `_`, `+` and `-`"
)]
pub struct EngineNameError(pub String);

/// What the schema demands of a name; the same as [`EngineName::from_str`] takes.
pub const ENGINE_PATTERN: &str = r"^(builtin|envoy@[A-Za-z0-9][A-Za-z0-9._+-]{0,62})$";

impl FromStr for EngineName {
    type Err = EngineNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "builtin" {
            return Ok(Self::Builtin);
        }
        let version = text.strip_prefix("envoy@").filter(|version| is_version(version));
        version.map(|version| Self::Envoy(version.to_owned())).ok_or_else(|| EngineNameError(text.to_owned()))
    }
}

/// A version is also a folder's name, so nothing in it may lead elsewhere.
fn is_version(version: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    (1..=63).contains(&version.len())
        && version.bytes().all(fits)
        && version.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => f.write_str("builtin"),
            Self::Envoy(version) => write!(f, "envoy@{version}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn names_are_read_and_written_alike() {
        for text in ["builtin", "envoy@1.40.0", "envoy@1.36.4", "envoy@fips-1.40.0+2"] {
            assert_eq!(text.parse::<EngineName>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_leads_elsewhere_is_no_engine() {
        for text in ["", "envoy", "envoy@", "envoy@../x", "envoy@.", "envoy@a/b", "Builtin", "nginx@1"] {
            assert!(text.parse::<EngineName>().is_err(), "{text}");
        }
    }
}
