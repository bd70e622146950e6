//! Parameters of one Gateway (`spec.infrastructure.parametersRef`).

use std::sync::Arc;

use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{GatewaySpec, LocalObjectReference};

use crate::class::Placement;
use crate::parameters::{ParametersId, of_classes};
use crate::problem::Problem;
use crate::world::World;
use crate::{Key, envoy_proxy};

/// What a Gateway's parameters ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Parameters {
    /// The GatewayTemplate, in the place of the class's.
    template: Option<Arc<str>>,
    /// What is to be told though all is well.
    pub note: Option<&'static str>,
}

/// The parameters that a Gateway has, with the reference that has led to them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Led {
    reference: LocalObjectReference,
    parameters: Parameters,
}

/// What a Gateway's reference has come to.
#[derive(Debug)]
pub(super) struct Found {
    /// What counts; or why the Gateway can't be served.
    pub parameters: Result<Parameters, Problem>,
    /// What is wrong though it is served, with what it had before.
    pub problem: Option<Problem>,
    /// To be kept.
    pub led: Option<Led>,
}

impl Parameters {
    /// Where the Gateway runs, and what it is made from.
    pub fn apply(&self, placement: Placement) -> Placement {
        Placement { template: self.template.clone().unwrap_or_else(|| placement.template.clone()), ..placement }
    }
}

/// The parameters that a Gateway of namespace `own` names.
pub(super) fn named(spec: &GatewaySpec, own: &Arc<str>) -> Option<ParametersId> {
    let reference = reference(spec)?;
    ParametersId::of(&reference.group, &reference.kind, Key::new(own.clone(), reference.name.as_str())).ok()
}

/// What the parameters of a Gateway ask for. Whoever spoils or deletes them by mistake doesn't take down what serves.
pub(super) fn find(world: &World, spec: &GatewaySpec, own: &Arc<str>, led: Option<&Led>) -> Found {
    let Some(reference) = reference(spec) else {
        return Found { parameters: Ok(Parameters::default()), problem: None, led: None };
    };
    match read(world, reference, own) {
        Ok(parameters) => {
            let led = Some(Led { reference: reference.clone(), parameters: parameters.clone() });
            Found { parameters: Ok(parameters), problem: None, led }
        }
        Err(why) => {
            let message = format!("spec.infrastructure.parametersRef: {why}");
            let problem = Problem::new(reason::INVALID_PARAMETERS, message);
            match led.filter(|led| led.reference == *reference) {
                Some(led) => {
                    let told = Problem { message: format!("{}; it keeps what it has", problem.message), ..problem };
                    Found { parameters: Ok(led.parameters.clone()), problem: Some(told), led: Some(led.clone()) }
                }
                None => Found { parameters: Err(problem), problem: None, led: None },
            }
        }
    }
}

fn reference(spec: &GatewaySpec) -> Option<&LocalObjectReference> {
    spec.infrastructure.as_ref()?.parameters_ref.as_ref()
}

fn read(world: &World, reference: &LocalObjectReference, own: &Arc<str>) -> Result<Parameters, String> {
    let key = Key::new(own.clone(), reference.name.as_str());
    match ParametersId::of(&reference.group, &reference.kind, key)? {
        ParametersId::Own(key) => {
            let object = world.parameters.get(&key);
            let object = object.ok_or_else(|| format!("GatewayClassParameters {key} doesn't exist"))?;
            if let Some(field) = of_classes(&object.spec) {
                return Err(format!(
                    "{field} of GatewayClassParameters {key} is for a GatewayClass; a Gateway's parameters have \
                     spec.template only"
                ));
            }
            Ok(Parameters { template: Some(object.spec.template.as_str().into()), note: None })
        }
        ParametersId::EnvoyProxy(key) => {
            let object = world.envoy_proxies.get(&key).ok_or_else(|| format!("EnvoyProxy {key} doesn't exist"))?;
            let asked = envoy_proxy::read(&object.spec).map_err(|why| format!("EnvoyProxy {key}: {why}"))?;
            if asked.merges {
                return Err(format!("EnvoyProxy {key}: spec.mergeGateways: is for a GatewayClass; remove it here"));
            }
            Ok(Parameters { template: None, note: asked.note })
        }
    }
}
