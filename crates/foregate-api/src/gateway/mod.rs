//! The Gateway API's own kinds, version 1.7.0.
