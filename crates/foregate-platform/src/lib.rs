//! The platform side: claims to gateways, addresses, configuration, revisions, conditions.
