//! The built-in proxy engine, configured by xDS.
