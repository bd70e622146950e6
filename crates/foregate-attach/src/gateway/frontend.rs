//! Which certificates clients must show on HTTPS listeners (`spec.tls.frontend` of a Gateway).

use std::collections::BTreeMap;

use foregate_api::claim::{ClientValidation, ClientValidationMode};
use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{
    FrontendTlsValidation, FrontendValidationMode, GatewaySpec, LocalObjectReference, ObjectReference,
};

use super::{ParentId, certificate};
use crate::Key;
use crate::backend::{CA_KEY, CaSource};
use crate::problem::{Problem, join};
use crate::world::World;

/// What holds for each port; a Gateway's ListenerSets have it as well.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Frontend {
    default: Option<Validation>,
    ports: BTreeMap<u16, Option<Validation>>,
}

/// What is asked of clients.
#[derive(Debug, PartialEq)]
pub(crate) struct Validation {
    /// None: there is nothing to trust.
    pub usable: Option<ClientValidation>,
    /// What is wrong with the references.
    pub references: Result<(), Problem>,
}

impl Frontend {
    pub fn resolve(world: &World, gateway: &ParentId, spec: &GatewaySpec) -> Self {
        let Some(frontend) = spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref()) else { return Self::default() };
        let one = |given: &Option<FrontendTlsValidation>, path: &str| {
            given.as_ref().map(|given| validation(world, gateway, given, path))
        };
        let ports = frontend.per_port.iter().enumerate();
        Self {
            default: one(&frontend.default.validation, "spec.tls.frontend.default"),
            ports: ports
                .map(|(i, p)| (p.port, one(&p.tls.validation, &format!("spec.tls.frontend.perPort[{i}].tls"))))
                .collect(),
        }
    }

    /// What holds for HTTPS listeners of a port; none: clients need no certificate.
    pub fn of(&self, port: u16) -> Option<&Validation> {
        self.ports.get(&port).unwrap_or(&self.default).as_ref()
    }

    /// Whether clients are let in somewhere without a valid certificate though they are asked for one.
    pub fn is_insecure(&self) -> bool {
        self.ports
            .values()
            .chain([&self.default])
            .flatten()
            .filter_map(|v| v.usable.as_ref())
            .any(|usable| usable.mode == ClientValidationMode::AllowInsecureFallback)
    }
}

fn validation(world: &World, gateway: &ParentId, given: &FrontendTlsValidation, path: &str) -> Validation {
    let (mut pem, mut problems) = (String::new(), Vec::new());
    for (i, reference) in given.ca_certificate_refs.iter().enumerate() {
        match ca(world, gateway, reference) {
            Ok(text) => {
                pem.push_str(text.trim_end());
                pem.push('\n');
            }
            Err(problem) => problems.push(problem.at(&format!("{path}.validation.caCertificateRefs[{i}]"))),
        }
    }
    let mode = match given.mode.unwrap_or_default() {
        FrontendValidationMode::AllowInsecureFallback => ClientValidationMode::AllowInsecureFallback,
        FrontendValidationMode::AllowValidOnly | FrontendValidationMode::Unknown => {
            ClientValidationMode::AllowValidOnly
        }
    };
    Validation {
        usable: (!pem.is_empty()).then_some(ClientValidation { ca_certificates: pem, mode }),
        references: join(problems),
    }
}

fn ca(world: &World, gateway: &ParentId, reference: &ObjectReference) -> Result<String, Problem> {
    let Some(source) = source(reference, gateway) else {
        let message = format!(
            "{} {:?} of group {:?} can't hold trusted certificates; use a ConfigMap or Secret with a {CA_KEY}, or \
             a ClusterTrustBundle",
            reference.kind, reference.name, reference.group
        );
        return Err(Problem::new(reason::INVALID_CA_CERTIFICATE_KIND, message));
    };
    if let Some(key) = named(&source) {
        certificate::permit(world, gateway, ("", &reference.kind), key)?;
    }
    source.read(world).map_err(|why| Problem::new(reason::INVALID_CA_CERTIFICATE_REF, why))
}

/// The object of the core group that it is.
pub(super) fn named(source: &CaSource) -> Option<&Key> {
    match source {
        CaSource::ConfigMap(key) | CaSource::Secret(key) => Some(key),
        CaSource::TrustBundle(_) => None,
    }
}

/// What a reference leads to, if it is of a kind that can hold certificates.
fn source(reference: &ObjectReference, gateway: &ParentId) -> Option<CaSource> {
    let ObjectReference { group, kind, name, .. } = reference.clone();
    let namespace = reference.namespace.as_deref().unwrap_or(&gateway.key.namespace);
    CaSource::of(&LocalObjectReference { group, kind, name }, namespace)
}

/// What a Gateway trusts.
pub(super) fn sources(gateway: &ParentId, spec: &GatewaySpec) -> Vec<CaSource> {
    let frontend = spec.tls.iter().filter_map(|tls| tls.frontend.as_ref());
    let all = frontend.flat_map(|f| f.per_port.iter().map(|p| &p.tls).chain([&f.default]));
    let references = all.filter_map(|tls| tls.validation.as_ref()).flat_map(|v| &v.ca_certificate_refs);
    references.filter_map(|reference| source(reference, gateway)).collect()
}
