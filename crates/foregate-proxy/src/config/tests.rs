//! Compile tables.
