//! Translation: the platform's objects to an intermediate representation to Envoy's resources, pure and incremental.
