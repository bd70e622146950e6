//! Go templates with the sprig functions, bounded.
