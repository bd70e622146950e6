//! GatewayInstance.status.

use foregate_api::GatewayInstance;
use foregate_api::instance::GatewayInstanceStatus;

use crate::presence::Known;

/// Fields that may be absent.
pub(crate) const OPTIONAL: &[&str] = &["lastNack"];

/// An instance's status; none: it is uncertain, and what was said stays.
pub(crate) fn instance_status(instance: &GatewayInstance, known: Option<Known>) -> Option<GatewayInstanceStatus> {
    let Known { connected, ready, last_nack } = known?;
    let previous = instance.status.as_ref().and_then(|status| status.last_nack.clone());
    // What the node agent says stays as it is.
    let engine = instance.status.as_ref().and_then(|status| status.engine.clone());
    Some(GatewayInstanceStatus { connected, ready, last_nack: last_nack.or(previous), engine })
}
