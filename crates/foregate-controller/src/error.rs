//! What can end a controller.

/// Why a controller stopped.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// A watch ended for good.
    #[error("the watch of {kind} ended: the API at hand doesn't serve it any more")]
    WatchEnded {
        /// The kind.
        kind: &'static str,
    },
}
