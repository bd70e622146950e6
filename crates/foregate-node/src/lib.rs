//! The gateway node agent: for each GatewayInstance of this node, an engine and its configuration.
