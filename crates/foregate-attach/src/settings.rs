//! What attachment is set up with.

/// Settings of one controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Id of the workload cluster, part of every derived name.
    pub cluster: String,
    /// The `controllerName`s of the GatewayClasses that are ours.
    pub controller_names: Vec<String>,
    /// Namespace of the derived objects.
    pub tenant_namespace: String,
    /// The GatewayTemplate that claims ask for.
    pub template: String,
    /// Whether Backends may name what is reached from the gateways' hosts only: Unix sockets, loopback and link-local
    /// addresses. Who writes Backends reaches all that listens there, so only where the host is theirs.
    pub host_local_backends: bool,
}

impl Settings {
    /// Settings of the cluster that is the embedded API itself: gateways run on the host of the users' API.
    pub fn local() -> Self {
        Self {
            cluster: foregate_api::LOCAL_CLUSTER.to_owned(),
            controller_names: vec![foregate_api::CONTROLLER_NAME.to_owned()],
            tenant_namespace: foregate_api::DEFAULT_TENANT_NAMESPACE.to_owned(),
            template: foregate_api::DEFAULT_NAME.to_owned(),
            host_local_backends: true,
        }
    }
}
