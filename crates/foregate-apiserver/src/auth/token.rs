//! Bearer tokens: signed by this server, expiring.
//!
//! `fg1.<claims>.<mac>`: claims are JSON, the MAC is HMAC-SHA-256 under a key that never leaves the data directory;
//! both are base64url. Replacing the key file revokes every token.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::ca::{CaError, write_private};

const PREFIX: &str = "fg1.";

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    groups: Vec<String>,
    exp: u64,
}

/// Makes and checks tokens.
pub struct Tokens {
    key: hmac::Key,
}

impl Tokens {
    /// Reads the key in `dir`, or makes one.
    ///
    /// # Errors
    /// [`CaError`] when the key file can't be read or written.
    pub fn open(dir: &Path) -> Result<Self, CaError> {
        let path = dir.join("token.key");
        let io = |source| CaError::Io { path: path.clone(), source };
        if !path.exists() {
            let random: [u8; 32] = rand::random();
            write_private(&path, &URL_SAFE_NO_PAD.encode(random)).map_err(io)?;
        }
        let text = std::fs::read_to_string(&path).map_err(io)?;
        let damaged = || CaError::Damaged { path: path.clone(), detail: "not a key of 32 bytes".into() };
        let key = URL_SAFE_NO_PAD.decode(text.trim()).map_err(|_| damaged())?;
        if key.len() != 32 {
            return Err(damaged());
        }
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    /// A token for a user in groups.
    pub fn issue(&self, user: &str, groups: &[&str], life: Duration) -> String {
        let claims = Claims {
            sub: user.to_owned(),
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
            exp: seconds().saturating_add(life.as_secs()),
        };
        let body = URL_SAFE_NO_PAD.encode(serde_json::json!(claims).to_string());
        let mac = hmac::sign(&self.key, body.as_bytes());
        format!("{PREFIX}{body}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    /// The user and groups of a token; none when it is forged, malformed or expired.
    pub fn check(&self, token: &str) -> Option<(String, Vec<String>)> {
        let (body, mac) = token.strip_prefix(PREFIX)?.split_once('.')?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        hmac::verify(&self.key, body.as_bytes(), &mac).ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
        (claims.exp > seconds()).then_some((claims.sub, claims.groups))
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_valid_tokens_pass() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(dir.path()).unwrap();
        let token = tokens.issue("ann", &["ops"], Duration::from_secs(60));
        let again = Tokens::open(dir.path()).unwrap();
        assert_eq!(again.check(&token), Some(("ann".into(), vec!["ops".into()])));
        assert_eq!(tokens.check(&tokens.issue("ann", &[], Duration::ZERO)), None);
        let mut forged = token.clone();
        forged.replace_range(10..11, if &token[10..11] == "A" { "B" } else { "A" });
        assert_eq!(tokens.check(&forged), None);
        let other = tempfile::tempdir().unwrap();
        assert_eq!(Tokens::open(other.path()).unwrap().check(&token), None);
        for text in ["", "fg1.", "fg1.a.b", "x"] {
            assert_eq!(tokens.check(text), None);
        }
    }
}
