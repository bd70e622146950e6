//! What stands for a Gateway in the workload cluster (`spec.infrastructure`).
//!
//! Gateways run elsewhere. So that labels and annotations of a Gateway's infrastructure are found where the Gateway is,
//! a Service without selector, ports and address carries them, with the standard's label that names the Gateway. It is
//! owned by the Gateway and goes with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foregate_api::gateway::{GATEWAY_GROUP, GATEWAY_VERSION, Gateway};
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::output::ServiceChange;
use crate::{Attach, Change, Key};

const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
const GATEWAY_CLASS_NAME: &str = "gateway.networking.k8s.io/gateway-class-name";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const MANAGER: &str = "foregate";
/// Annotation: `controllerName` of the Gateway's class.
const CONTROLLER: &str = "foregate.dev/controller";
/// The longest value of a label.
const LONGEST_LABEL: usize = 63;

/// The Services that there are, and those that there should be.
#[derive(Debug, Default)]
pub(crate) struct Infrastructure {
    wanted: HashMap<Key, Arc<Service>>,
    seen: HashMap<Key, Seen>,
    touched: BTreeSet<Key>,
}

/// What is kept of a Service that is there.
#[derive(Debug, PartialEq)]
struct Seen {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl Seen {
    /// None: it isn't one of ours.
    fn of(service: &Service, controllers: &[String]) -> Option<Self> {
        let metadata = &service.metadata;
        let labels = metadata.labels.clone().unwrap_or_default();
        let annotations = metadata.annotations.clone().unwrap_or_default();
        let is_ours = labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER)
            && annotations.get(CONTROLLER).is_some_and(|controller| controllers.contains(controller));
        is_ours.then_some(Self { labels, annotations })
    }

    fn is(&self, wanted: &Service) -> bool {
        let wanted = &wanted.metadata;
        Some(&self.labels) == wanted.labels.as_ref() && Some(&self.annotations) == wanted.annotations.as_ref()
    }
}

impl Attach {
    /// Notes a Service if it is one of these.
    pub(crate) fn see_infrastructure(&mut self, change: &Change<Service>) {
        let (key, seen) = match change {
            Change::Set(object) => (Key::of(&object.metadata), Seen::of(object, &self.settings.controller_names)),
            Change::Gone(key) => (key.clone(), None),
        };
        if self.infrastructure.seen.get(&key) == seen.as_ref() {
            return;
        }
        match seen {
            Some(seen) => self.infrastructure.seen.insert(key.clone(), seen),
            None => self.infrastructure.seen.remove(&key),
        };
        self.infrastructure.touched.insert(key);
    }

    /// Wants the Service of a Gateway that has something to hand on, and none otherwise. `controller`: that of an accepted
    /// Gateway.
    pub(super) fn want_infrastructure(&mut self, object: &Gateway, controller: Option<&Arc<str>>) {
        let Some(key) = service_key(object) else { return };
        let wanted = controller.and_then(|controller| service(&key, object, controller));
        let state = &mut self.infrastructure;
        if state.wanted.get(&key).map(|old| &**old) == wanted.as_ref() {
            return;
        }
        match wanted {
            Some(wanted) => state.wanted.insert(key.clone(), Arc::new(wanted)),
            None => state.wanted.remove(&key),
        };
        state.touched.insert(key);
    }

    /// The writes that are needed. Whoever changes or deletes one of these Services gets it back; one that nothing
    /// wants goes.
    pub(crate) fn settle_infrastructure(&mut self) -> Vec<ServiceChange> {
        let mut changes = Vec::new();
        for key in std::mem::take(&mut self.infrastructure.touched) {
            let state = &self.infrastructure;
            match (state.wanted.get(&key), state.seen.get(&key)) {
                (Some(wanted), seen) if seen.is_none_or(|seen| !seen.is(wanted)) => {
                    changes.push(ServiceChange::Set(wanted.clone()));
                }
                (None, Some(_)) => changes.push(ServiceChange::Delete(key)),
                _ => {}
            }
        }
        changes
    }
}

/// Named by the UID: no other object has that name by chance.
fn service_key(object: &Gateway) -> Option<Key> {
    let uid = object.metadata.uid.as_deref().filter(|uid| !uid.is_empty())?;
    Some(Key::new(object.metadata.namespace.as_deref().unwrap_or_default(), format!("foregate-gateway-{uid}")))
}

fn service(key: &Key, object: &Gateway, controller: &str) -> Option<Service> {
    let given = super::infrastructure(&object.spec)?;
    let name = object.metadata.name.clone().unwrap_or_default();
    let (mut labels, mut annotations) = (given.labels, given.annotations);
    annotations.insert(CONTROLLER.to_owned(), controller.to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    for (label, value) in [(GATEWAY_NAME, &name), (GATEWAY_CLASS_NAME, &object.spec.gateway_class_name)] {
        if value.len() <= LONGEST_LABEL {
            labels.insert(label.to_owned(), value.clone());
        }
    }
    let owner = OwnerReference {
        api_version: format!("{GATEWAY_GROUP}/{GATEWAY_VERSION}"),
        kind: "Gateway".to_owned(),
        name,
        uid: object.metadata.uid.clone()?,
        controller: Some(true),
        block_owner_deletion: None,
    };
    Some(Service {
        metadata: ObjectMeta {
            namespace: Some(key.namespace.to_string()),
            name: Some(key.name.to_string()),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec { cluster_ip: Some("None".to_owned()), ..ServiceSpec::default() }),
        ..Service::default()
    })
}
