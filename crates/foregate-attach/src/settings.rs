//! What attachment is set up with.

/// Settings of one controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The `controllerName`s of the GatewayClasses that are ours.
    pub controller_names: Vec<String>,
    /// Where gateways of classes without a `parametersRef` run; none: nowhere.
    pub default_target: Option<DefaultTarget>,
    /// Whether Backends may name what is reached from the gateways' hosts only: Unix sockets, loopback and link-local
    /// addresses. Who writes Backends reaches all that listens there, so only where the host is theirs.
    pub host_local_backends: bool,
}

/// The target of classes without parameters. Who connects to it is set up by other means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultTarget {
    /// Id of the workload cluster, part of every derived name.
    pub cluster: String,
    /// Namespace of the derived objects.
    pub tenant_namespace: String,
    /// The GatewayTemplate that claims ask for.
    pub template: String,
    /// Whether its API is the one that users write to: what it has is known with all else, copies of Secrets included.
    pub shares_api: bool,
}

impl Settings {
    /// Settings of the cluster that is the embedded API itself: gateways run on the host of the users' API.
    pub fn local() -> Self {
        Self {
            controller_names: vec![foregate_api::CONTROLLER_NAME.to_owned()],
            default_target: Some(DefaultTarget {
                shares_api: true,
                ..DefaultTarget::remote(foregate_api::LOCAL_CLUSTER.to_owned())
            }),
            host_local_backends: true,
        }
    }
}

impl DefaultTarget {
    /// The tenant `default` of a platform with an API of its own, where this workload cluster has a name.
    pub fn remote(cluster: String) -> Self {
        Self {
            cluster,
            tenant_namespace: foregate_api::DEFAULT_TENANT_NAMESPACE.to_owned(),
            template: foregate_api::DEFAULT_NAME.to_owned(),
            shares_api: false,
        }
    }
}
