//! The standard's condition types and reasons that Foregate writes, spelled once.

/// `metadata.generation` was understood and is served as far as the references allow.
pub const ACCEPTED: &str = "Accepted";
/// The data plane has it.
pub const PROGRAMMED: &str = "Programmed";
/// Every reference was found and permitted.
pub const RESOLVED_REFS: &str = "ResolvedRefs";
/// A listener clashes with another.
pub const CONFLICTED: &str = "Conflicted";
/// A part of a route isn't served.
pub const PARTIALLY_INVALID: &str = "PartiallyInvalid";
/// The CRDs have a version that is supported.
pub const SUPPORTED_VERSION: &str = "SupportedVersion";

/// Whether a Gateway has the addresses that it asks for.
pub const ADDRESSES_ASSIGNED: &str = "AddressesAssigned";
/// TLS listeners of one port have hosts in common.
pub const OVERLAPPING_TLS_CONFIG: &str = "OverlappingTLSConfig";
/// Clients are let in without a valid certificate though they are asked for one.
pub const INSECURE_FRONTEND_VALIDATION_MODE: &str = "InsecureFrontendValidationMode";

/// Reasons.
pub mod reason {
    /// A requested address can't be had.
    pub const ADDRESS_NOT_USABLE: &str = "AddressNotUsable";
    /// No address could be given.
    pub const ADDRESS_NOT_ASSIGNED: &str = "AddressNotAssigned";
    /// A backend does not exist.
    pub const BACKEND_NOT_FOUND: &str = "BackendNotFound";
    /// A setting is other than the standard's default.
    pub const CONFIGURATION_CHANGED: &str = "ConfigurationChanged";
    /// Another policy has the same targets.
    pub const CONFLICTED: &str = "Conflicted";
    /// Two listeners of one port have the same host name.
    pub const HOSTNAME_CONFLICT: &str = "HostnameConflict";
    /// Filters that can't be used together.
    pub const INCOMPATIBLE_FILTERS: &str = "IncompatibleFilters";
    /// Not valid.
    pub const INVALID: &str = "Invalid";
    /// A backend is there, and can't be used.
    pub const INVALID_BACKEND_REF: &str = "InvalidBackendRef";
    /// A certificate is missing, malformed, or not its key's.
    pub const INVALID_CERTIFICATE_REF: &str = "InvalidCertificateRef";
    /// Certificates to trust are missing or malformed.
    pub const INVALID_CA_CERTIFICATE_REF: &str = "InvalidCACertificateRef";
    /// What should hold certificates to trust is of a kind that isn't known.
    pub const INVALID_CA_CERTIFICATE_KIND: &str = "InvalidCACertificateKind";
    /// What a Gateway shows to backends is missing or malformed.
    pub const INVALID_CLIENT_CERTIFICATE_REF: &str = "InvalidClientCertificateRef";
    /// A backend's kind isn't known.
    pub const INVALID_KIND: &str = "InvalidKind";
    /// Parameters can't be used.
    pub const INVALID_PARAMETERS: &str = "InvalidParameters";
    /// A kind of route that the listener can't take.
    pub const INVALID_ROUTE_KINDS: &str = "InvalidRouteKinds";
    /// Some listeners have unresolved references.
    pub const LISTENERS_NOT_RESOLVED: &str = "ListenersNotResolved";
    /// Some listeners aren't valid.
    pub const LISTENERS_NOT_VALID: &str = "ListenersNotValid";
    /// None of the certificates that a policy trusts can be used.
    pub const NO_VALID_CA_CERTIFICATE: &str = "NoValidCACertificate";
    /// No conflict.
    pub const NO_CONFLICTS: &str = "NoConflicts";
    /// No listener has a host name in common with the route.
    pub const NO_MATCHING_LISTENER_HOSTNAME: &str = "NoMatchingListenerHostname";
    /// No listener has the name or port that the route asks for.
    pub const NO_MATCHING_PARENT: &str = "NoMatchingParent";
    /// The Gateway takes no ListenerSets of that namespace.
    pub const NOT_ALLOWED: &str = "NotAllowed";
    /// No listener lets the route attach.
    pub const NOT_ALLOWED_BY_LISTENERS: &str = "NotAllowedByListeners";
    /// None of the addresses asked for is there.
    pub const NOT_ASSIGNED: &str = "NotAssigned";
    /// Some of the addresses asked for aren't there.
    pub const PARTIALLY_ASSIGNED: &str = "PartiallyAssigned";
    /// Host names contain one another.
    pub const OVERLAPPING_HOSTNAMES: &str = "OverlappingHostnames";
    /// The Gateway of a ListenerSet isn't accepted.
    pub const PARENT_NOT_ACCEPTED: &str = "ParentNotAccepted";
    /// The data plane has nothing of the Gateway of a ListenerSet.
    pub const PARENT_NOT_PROGRAMMED: &str = "ParentNotProgrammed";
    /// Not yet known.
    pub const PENDING: &str = "Pending";
    /// A listener's port can't be used.
    pub const PORT_UNAVAILABLE: &str = "PortUnavailable";
    /// Two listeners of one port have protocols that can't share it.
    pub const PROTOCOL_CONFLICT: &str = "ProtocolConflict";
    /// No ReferenceGrant permits a reference.
    pub const REF_NOT_PERMITTED: &str = "RefNotPermitted";
    /// What a policy is for isn't there.
    pub const TARGET_NOT_FOUND: &str = "TargetNotFound";
    /// A kind of address that isn't supported.
    pub const UNSUPPORTED_ADDRESS: &str = "UnsupportedAddress";
    /// A protocol that isn't supported.
    pub const UNSUPPORTED_PROTOCOL: &str = "UnsupportedProtocol";
    /// The CRDs are of a version that isn't supported.
    pub const UNSUPPORTED_VERSION: &str = "UnsupportedVersion";
    /// A value that isn't supported.
    pub const UNSUPPORTED_VALUE: &str = "UnsupportedValue";
}
