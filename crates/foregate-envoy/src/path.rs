//! Field paths, grown and cut back while a message is walked.

use std::fmt::Write as _;

/// A path in proto-field form: `routes[3].route.cluster`, `typed_per_filter_config["envoy.filters.http.cors"]`.
#[derive(Debug, Default)]
pub(crate) struct Path(String);

impl Path {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Where to cut back to.
    pub(crate) fn mark(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn cut(&mut self, mark: usize) {
        self.0.truncate(mark);
    }

    pub(crate) fn field(&mut self, name: &str) {
        if !self.0.is_empty() {
            self.0.push('.');
        }
        self.0.push_str(name);
    }

    pub(crate) fn index(&mut self, at: usize) {
        // Writing to a string can't fail.
        let _ = write!(self.0, "[{at}]");
    }

    pub(crate) fn key(&mut self, key: &str) {
        let _ = write!(self.0, "[{key:?}]");
    }
}
