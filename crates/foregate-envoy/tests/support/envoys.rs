//! The real Envoys that tests compare with.

use std::path::PathBuf;

/// Their binaries, oldest first. What isn't there fails the test: `cargo xtask test` (or `tools`) downloads them.
pub fn envoys() -> Vec<PathBuf> {
    let found: Vec<PathBuf> = match std::env::var_os("FOREGATE_ENVOYS").filter(|list| !list.is_empty()) {
        Some(list) => std::env::split_paths(&list).collect(),
        None => {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
            let cache = cache.or_else(home).unwrap_or_default().join("foregate-tools");
            ["envoy-1.36.4/envoy", "envoy-1.40.0/envoy"].map(|binary| cache.join(binary)).into()
        }
    };
    for binary in &found {
        assert!(binary.is_file(), "{} is missing; run `cargo xtask test` once, it downloads them", binary.display());
    }
    assert!(!found.is_empty(), "FOREGATE_ENVOYS names no Envoy");
    found
}
