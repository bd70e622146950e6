//! GatewayInstance.status.

use foregate_api::GatewayInstance;
use foregate_api::instance::{EngineState, GatewayInstanceStatus};

use crate::presence::Known;

/// Fields that may be absent.
pub(crate) const OPTIONAL: &[&str] = &["lastNack"];

/// The field that the node agent writes.
pub(crate) const OTHERS: &str = "engine";

/// An instance's status; none: it is uncertain, and what was said stays.
/// `dissents`: it lacks what other engines of its gateway serve.
pub(crate) fn instance_status(
    instance: &GatewayInstance,
    known: Option<Known>,
    dissents: bool,
) -> Option<GatewayInstanceStatus> {
    let Known { connected, ready, last_nack } = known?;
    let previous = instance.status.as_ref().and_then(|status| status.last_nack.clone());
    // What the node agent says stays as it is.
    let engine = instance.status.as_ref().and_then(|status| status.engine.clone());
    let ready = ready && !dissents && trouble(instance).is_none();
    Some(GatewayInstanceStatus { connected, ready, last_nack: last_nack.or(previous), engine })
}

/// Whether another engine than the one that is wanted serves: until that takes its place, or because it can't.
pub(crate) fn is_exchanged(instance: &GatewayInstance) -> bool {
    let engine = instance.status.as_ref().and_then(|status| status.engine.as_ref());
    engine.is_some_and(|engine| engine.name != instance.spec.engine)
}

/// Why no engine of an instance runs, in words that say what to do; none: one does, as far as anybody said. While the
/// one that is wanted can't run, the one before it may serve on.
pub(crate) fn trouble(instance: &GatewayInstance) -> Option<String> {
    let engine = instance.status.as_ref()?.engine.as_ref()?;
    let (name, node) = (&engine.name, &instance.spec.node);
    if engine.pid.is_some() || *name != instance.spec.engine {
        return None;
    }
    let remedy = match engine.state {
        EngineState::Starting | EngineState::Running => return None,
        EngineState::Missing => format!("{name} isn't there: add it with `foregate engine add {name}`"),
        EngineState::Backoff => format!("{name} doesn't stay up and is started again"),
    };
    let why = if engine.message.is_empty() { remedy } else { engine.message.clone() };
    Some(format!("on node {node}: {why}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use foregate_api::address::ProxyRef;
    use foregate_api::instance::{EngineStatus, GatewayInstanceSpec};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn instance(state: EngineState, message: &str) -> GatewayInstance {
        let proxy = ProxyRef { namespace: "t".into(), name: "web".into() };
        let engine = EngineStatus {
            state,
            name: "envoy@1.40.0".into(),
            pid: None,
            restarts: 0,
            message: message.into(),
            since: Time(jiff::Timestamp::UNIX_EPOCH),
        };
        let spec = GatewayInstanceSpec { proxy, node: "a".into(), engine: "envoy@1.40.0".into() };
        let mut instance = GatewayInstance::new("t.web.a", spec);
        instance.status = Some(GatewayInstanceStatus { engine: Some(engine), ..Default::default() });
        instance
    }

    #[test]
    fn an_engine_that_does_not_run_is_not_ready_and_says_why() {
        let known = || Some(Known { connected: true, ready: true, last_nack: None });
        for (state, message, expected) in [
            (EngineState::Running, "", None),
            (EngineState::Starting, "", None),
            (
                EngineState::Missing,
                "",
                Some("on node a: envoy@1.40.0 isn't there: add it with `foregate engine add envoy@1.40.0`"),
            ),
            (EngineState::Backoff, "it died (signal 11)", Some("on node a: it died (signal 11)")),
        ] {
            let instance = instance(state, message);
            assert_eq!(trouble(&instance).as_deref(), expected);
            let status = instance_status(&instance, known(), false).unwrap();
            assert_eq!((status.connected, status.ready), (true, expected.is_none()));
            let patch = crate::status::patch("u", &status, OPTIONAL).unwrap();
            assert!(patch["status"].get("engine").is_none(), "it is the node agent's: {patch}");
        }
    }

    #[test]
    fn an_engine_that_serves_on_is_no_trouble() {
        let mut another = instance(EngineState::Missing, "it isn't there");
        another.spec.engine = "envoy@9".into();
        assert_eq!(trouble(&another), None);
        let mut same = instance(EngineState::Backoff, "its successor fails");
        same.status.as_mut().unwrap().engine.as_mut().unwrap().pid = Some(7);
        assert_eq!(trouble(&same), None);
    }
}
