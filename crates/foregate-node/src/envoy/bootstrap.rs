//! What an Envoy is told at its start; everything else comes over xDS.

use std::path::Path;

use serde_json::{Value, json};

/// Name of the one cluster that the bootstrap brings along: the agent. No dot is in it, so that it stays whole in names
/// of metrics.
const AGENT: &str = "foregate-agent";

/// What a bootstrap depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bootstrap<'a> {
    /// The instance's name.
    pub(crate) node: &'a str,
    /// The gateway.
    pub(crate) gateway: &'a str,
    /// Where the agent serves xDS.
    pub(crate) xds_socket: &'a Path,
    /// Where Envoy's admin interface is to be.
    pub(crate) admin_socket: &'a Path,
    /// Client connections that it may have at once.
    pub(crate) max_connections: u64,
}

impl Bootstrap<'_> {
    /// `envoy.config.bootstrap.v3.Bootstrap`, as JSON.
    pub(crate) fn render(&self) -> Value {
        json!({
            "node": { "id": self.node, "cluster": self.gateway },
            // 0600: who may reach it may stop the gateway.
            "admin": {
                "address": { "pipe": { "path": self.admin_socket, "mode": 0o600 } },
                "ignore_global_conn_limit": true,
            },
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": true,
                    "grpc_services": [{ "envoy_grpc": {
                        "cluster_name": AGENT,
                        // The agent is on this machine and back within moments: Envoy's own pauses grow to 30 s.
                        "retry_policy": { "retry_back_off": { "base_interval": "0.1s", "max_interval": "1s" } },
                    } }],
                },
                // It isn't ready before it has its clusters and listeners, however long that takes: with Envoy's limit of
                // 15 s an agent that is away would make it ready with nothing to serve.
                "cds_config": Self::ads(),
                "lds_config": Self::ads(),
            },
            "static_resources": { "clusters": [self.agent()] },
            // One layer that is empty: nothing can be changed behind the platform's back.
            "layered_runtime": { "layers": [{ "name": "static", "static_layer": {} }] },
            "stats_config": { "use_all_default_tags": true },
            "stats_flush_on_admin": true,
            // A worker that hangs isn't seen from outside: Envoy ends itself then, and is started again.
            "watchdogs": { "worker_watchdog": { "kill_timeout": "60s" } },
            "overload_manager": { "resource_monitors": [{
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.\
                              DownstreamConnectionsConfig",
                    "max_active_downstream_connections": self.max_connections.to_string(),
                },
            }] },
        })
    }

    fn ads() -> Value {
        json!({ "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" })
    }

    fn agent(&self) -> Value {
        json!({
            "name": AGENT,
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {
                    "connection_keepalive": { "interval": "30s", "timeout": "20s" },
                    "initial_stream_window_size": 1 << 20,
                    "initial_connection_window_size": 4 << 20,
                } },
            } },
            "load_assignment": {
                "cluster_name": AGENT,
                "endpoints": [{ "lb_endpoints": [{ "endpoint": {
                    "address": { "pipe": { "path": self.xds_socket } },
                } }] }],
            },
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn sockets_and_names_are_where_they_belong() {
        let bootstrap = Bootstrap {
            node: "t.web.local",
            gateway: "t/web",
            xds_socket: Path::new("/run/x.sock"),
            admin_socket: Path::new("/run/a0"),
            max_connections: 1000,
        };
        let value = bootstrap.render();
        assert_eq!(value.pointer("/node/cluster").unwrap(), "t/web");
        assert_eq!(value.pointer("/admin/address/pipe/path").unwrap(), "/run/a0");
        let cluster = "/static_resources/clusters/0";
        let endpoint = "load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/pipe/path";
        assert_eq!(value.pointer(&format!("{cluster}/{endpoint}")).unwrap(), "/run/x.sock");
        assert_eq!(
            value.pointer(&format!("{cluster}/name")),
            value.pointer("/dynamic_resources/ads_config/grpc_services/0/envoy_grpc/cluster_name")
        );
    }
}
