//! Regular expressions, each kept once: CRDs repeat the same few patterns hundreds of times.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;
use regex::{Regex, RegexBuilder};

/// Compiled size of one pattern, in bytes.
const BYTES: usize = 1 << 20;

static KNOWN: LazyLock<Mutex<HashMap<String, Weak<Regex>>>> = LazyLock::new(Mutex::default);

/// The compiled pattern.
///
/// # Errors
/// Not a regular expression, or one that is too large.
pub(super) fn compile(pattern: &str) -> Result<Arc<Regex>, regex::Error> {
    if let Some(regex) = KNOWN.lock().get(pattern).and_then(Weak::upgrade) {
        return Ok(regex);
    }
    let regex = Arc::new(RegexBuilder::new(pattern).size_limit(BYTES).build()?);
    let mut known = KNOWN.lock();
    known.retain(|_, regex| regex.strong_count() > 0);
    known.insert(pattern.to_string(), Arc::downgrade(&regex));
    Ok(regex)
}
