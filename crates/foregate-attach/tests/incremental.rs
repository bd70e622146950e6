//! Changes one by one lead to what all of them at once lead to.
//!
//! A small API server holds users' and derived objects. Changes, writes, answers of the platform and edits of others
//! come in random order; watches and writes lag. When all has settled, a fresh [`Attach`] that sees the final state
//! must find nothing to change: neither a derived object nor a status.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::{BTreeMap, VecDeque};
use std::sync::LazyLock;

use common::{at, gone, input};
use foregate_attach::{
    Attach, Derived, DerivedChange, DerivedKind, FinalizerChange, Input, Key, Output, ServiceChange, Settings,
};
use proptest::prelude::*;
use serde_json::{Value, json};

static SLOTS: LazyLock<Vec<Vec<Value>>> =
    LazyLock::new(|| serde_saphyr::from_str(include_str!("common/variants.yaml")).unwrap());

type Id = (String, String, String);

fn id(object: &Value) -> Id {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    (text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
}

#[derive(Clone, Debug)]
enum Step {
    /// A user writes one form of an object.
    Put(usize, usize),
    /// A user deletes it.
    Remove(usize),
    /// So many events reach attachment, in one call.
    Deliver(usize),
    /// So many of its writes are executed.
    Write(usize),
    /// The platform answers all claims.
    Answer(bool),
    /// An engine refuses, or no longer refuses, the routes and backends.
    Refuse(bool),
    /// The platform wants these backends, by the bits, for gateways that are held at a revision.
    Want(u16),
    /// Somebody edits (or deletes) a derived object.
    Tamper(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let put = (0..SLOTS.len()).prop_flat_map(|slot| (Just(slot), 0..SLOTS[slot].len()));
    prop_oneof![
        10 => put.prop_map(|(slot, form)| Step::Put(slot, form)),
        3 => (0..SLOTS.len()).prop_map(Step::Remove),
        5 => (1..6usize).prop_map(Step::Deliver),
        5 => (1..6usize).prop_map(Step::Write),
        2 => any::<bool>().prop_map(Step::Answer),
        1 => any::<bool>().prop_map(Step::Refuse),
        2 => any::<u16>().prop_map(Step::Want),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(which, delete)| Step::Tamper(which, delete)),
    ]
}

struct Sim {
    objects: BTreeMap<Id, Value>,
    version: u64,
    events: VecDeque<(Id, Option<Value>)>,
    /// Writes that wait, the newest per object, as the controller keeps them.
    derived: VecDeque<DerivedChange>,
    statuses: VecDeque<(Id, String, Value)>,
    finalizers: VecDeque<FinalizerChange>,
    services: VecDeque<ServiceChange>,
    attach: Attach,
    clock: i64,
}

fn kind_name(kind: DerivedKind) -> &'static str {
    match kind {
        DerivedKind::Claim => "GatewayClaim",
        DerivedKind::Route => "GatewayRoute",
        DerivedKind::Backend => "GatewayBackend",
        DerivedKind::Slice => "GatewayEndpointSlice",
        DerivedKind::Secret => "Secret",
    }
}

fn as_json(derived: &Derived) -> Value {
    let mut value = match derived {
        Derived::Claim(o) => serde_json::to_value(&**o),
        Derived::Route(o) => serde_json::to_value(&**o),
        Derived::Backend(o) => serde_json::to_value(&**o),
        Derived::Slice(o) => serde_json::to_value(&**o),
        Derived::Secret(o) => {
            // Data of test Secrets is text.
            let data: BTreeMap<&String, &str> =
                o.data.iter().flatten().map(|(k, v)| (k, std::str::from_utf8(&v.0).unwrap())).collect();
            Ok(json!({ "metadata": o.metadata, "type": o.type_, "data": data }))
        }
    }
    .unwrap();
    value["kind"] = kind_name(derived.kind()).into();
    value
}

impl Sim {
    fn new() -> Self {
        let mut sim = Self {
            objects: BTreeMap::new(),
            version: 0,
            events: VecDeque::new(),
            derived: VecDeque::new(),
            statuses: VecDeque::new(),
            finalizers: VecDeque::new(),
            services: VecDeque::new(),
            attach: Attach::new(Settings::local()),
            clock: 0,
        };
        // The usual things are there from the start, so that more of the steps matter.
        for slot in SLOTS.iter() {
            sim.put(slot[0].clone());
        }
        sim
    }

    /// Writes an object; nothing happens if nothing changes. Its status stays.
    fn put(&mut self, mut object: Value) {
        let id = id(&object);
        let old = self.objects.get(&id);
        let replaced = old
            .is_some_and(|o| o["metadata"]["uid"] != object["metadata"]["uid"] && !object["metadata"]["uid"].is_null());
        if replaced {
            self.delete(&id);
        }
        let old = self.objects.get(&id);
        let generation = old.map_or(0, |o| o["metadata"]["generation"].as_i64().unwrap_or(0));
        let same_spec = old.is_some_and(|o| o.get("spec") == object.get("spec"));
        object["metadata"]["generation"] = (generation + i64::from(!same_spec)).into();
        if let Some(old) = old {
            object["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
            if let Some(status) = old.get("status") {
                object["status"] = status.clone();
            }
            if *old == object {
                return;
            }
        }
        self.store(id, object);
    }

    fn store(&mut self, id: Id, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(id.clone(), object.clone());
        self.events.push_back((id, Some(object)));
    }

    fn delete(&mut self, id: &Id) {
        if self.objects.remove(id).is_some() {
            self.events.push_back((id.clone(), None));
        }
    }

    fn deliver(&mut self, count: usize) {
        let count = count.min(self.events.len());
        let inputs: Vec<Input> = self.events.drain(..count).map(|(id, object)| as_input(&id, object)).collect();
        self.clock += 1;
        let output = self.attach.apply(inputs, &at(self.clock));
        self.take(output);
    }

    fn take(&mut self, output: Output) {
        for change in output.derived.into_values().flatten() {
            self.derived.retain(|waiting| (waiting.kind(), waiting.name()) != (change.kind(), change.name()));
            self.derived.push_back(change);
        }
        for change in output.statuses {
            let id = (change.kind.as_str().to_owned(), change.key.namespace.to_string(), change.key.name.to_string());
            self.statuses.retain(|(waiting, ..)| *waiting != id);
            self.statuses.push_back((id, change.resource_version, change.status));
        }
        for change in output.finalizers {
            self.finalizers.retain(|waiting| waiting.class != change.class);
            self.finalizers.push_back(change);
        }
        for change in output.services {
            self.services.retain(|waiting| waiting.key() != change.key());
            self.services.push_back(change);
        }
    }

    fn write(&mut self, count: usize) {
        for _ in 0..count {
            match self.derived.pop_front() {
                Some(DerivedChange::Set(derived)) => self.put(as_json(&derived)),
                Some(DerivedChange::Delete(kind, name)) => {
                    self.delete(&(kind_name(kind).to_owned(), "tenant-default".to_owned(), name.to_string()));
                }
                None => {}
            }
            if let Some((id, version, status)) = self.statuses.pop_front() {
                self.write_status(&id, Some(version), status);
            }
            if let Some(change) = self.finalizers.pop_front() {
                self.write_finalizers(&change);
            }
            match self.services.pop_front() {
                Some(ServiceChange::Set(service)) => {
                    let mut service = serde_json::to_value(&*service).unwrap();
                    service["kind"] = "Service".into();
                    self.put(service);
                }
                Some(ServiceChange::Delete(key)) => {
                    self.delete(&("Service".to_owned(), key.namespace.to_string(), key.name.to_string()));
                }
                None => {}
            }
        }
    }

    fn write_finalizers(&mut self, change: &FinalizerChange) {
        let id = ("GatewayClass".to_owned(), String::new(), change.class.to_string());
        let Some(object) = self.objects.get(&id) else { return };
        if object["metadata"]["resourceVersion"] == change.resource_version {
            let mut object = object.clone();
            object["metadata"]["finalizers"] = json!(change.finalizers);
            self.store(id, object);
        }
    }

    fn write_status(&mut self, id: &Id, version: Option<String>, status: Value) {
        let Some(object) = self.objects.get(id) else { return };
        let conflict = version.is_some_and(|v| object["metadata"]["resourceVersion"] != v);
        if conflict || object.get("status") == Some(&status) {
            return;
        }
        let mut object = object.clone();
        object["status"] = status;
        self.store(id.clone(), object);
    }

    fn derived_ids(&self, kind: &str) -> Vec<Id> {
        self.objects.keys().filter(|(k, namespace, _)| k == kind && namespace == "tenant-default").cloned().collect()
    }

    fn answer(&mut self, programmed: bool) {
        for id in self.derived_ids("GatewayClaim") {
            let claim = &self.objects[&id];
            let condition = json!({
                "type": "Programmed", "status": if programmed { "True" } else { "False" }, "reason": "Programmed",
                "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            let status = json!({
                "observedGeneration": claim["metadata"]["generation"],
                "originGeneration": claim["spec"]["origin"]["generation"],
                "addresses": ["127.100.0.1"],
                "conditions": [condition],
            });
            self.write_status(&id, None, status);
        }
    }

    fn refuse(&mut self, refused: bool) {
        for id in self.derived_ids("GatewayRoute") {
            let condition = json!({
                "type": "Accepted", "status": "False", "reason": "UnsupportedValue", "message": "refused",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            let conditions = if refused { vec![condition] } else { vec![] };
            let generation = self.objects[&id]["spec"]["origin"]["generation"].clone();
            self.write_status(&id, None, json!({ "originGeneration": generation, "conditions": conditions }));
        }
        for id in self.derived_ids("GatewayBackend") {
            let condition = json!({
                "type": "Accepted", "status": "False", "reason": "Invalid", "message": "refused",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            let conditions = if refused { vec![condition] } else { vec![] };
            self.write_status(&id, None, json!({ "conditions": conditions }));
        }
    }

    fn want(&mut self, which: u16) {
        let all = [
            "s1-80",
            "s1-81-grpc",
            "s1b-80",
            "s2-80",
            "s2-80-grpc",
            "d1",
            "d1b-grpc",
            "nobody-80",
            "s1-80-tcp",
            "s1-80-tls",
            "s3-53-udp",
            "d1-tcp",
            "x1",
            "x1-grpc",
        ];
        let wanted = all.iter().enumerate().filter(|(bit, _)| which & (1 << bit) != 0);
        let wanted: Vec<String> = wanted.map(|(_, name)| format!("local-{name}")).collect();
        for (turn, id) in self.derived_ids("GatewayClaim").into_iter().enumerate() {
            let mut status = self.objects[&id].get("status").cloned().unwrap_or_else(|| json!({}));
            // Others of each.
            status["wantedBackends"] = json!(wanted.iter().skip(turn).collect::<Vec<_>>());
            self.write_status(&id, None, status);
        }
    }

    fn tamper(&mut self, which: usize, delete: bool) {
        let kinds = ["GatewayClaim", "GatewayRoute", "GatewayBackend", "GatewayEndpointSlice", "Secret"];
        let mut ids: Vec<Id> = kinds.iter().flat_map(|kind| self.derived_ids(kind)).collect();
        ids.extend(self.objects.keys().filter(|(_, _, name)| name.starts_with("foregate-gateway-")).cloned());
        if ids.is_empty() {
            return;
        }
        let id = ids[which % ids.len()].clone();
        if delete {
            return self.delete(&id);
        }
        let mut object = self.objects[&id].clone();
        match id.0.as_str() {
            "GatewayClaim" => object["spec"]["template"] = "edited".into(),
            "GatewayRoute" => object["spec"]["rules"] = json!([]),
            "GatewayBackend" => object["spec"]["portName"] = "edited".into(),
            "GatewayEndpointSlice" => object["spec"]["endpoints"] = json!([]),
            "Service" => object["metadata"]["labels"]["team"] = "edited".into(),
            _ => object["data"] = json!({ "tls.crt": "edited", "tls.key": "edited" }),
        }
        self.put(object);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Put(slot, form) => self.put(SLOTS[slot][form].clone()),
            Step::Remove(slot) => self.delete(&id(&SLOTS[slot][0])),
            Step::Deliver(count) => self.deliver(count),
            Step::Write(count) => self.write(count),
            Step::Answer(programmed) => self.answer(programmed),
            Step::Refuse(refused) => self.refuse(refused),
            Step::Want(which) => self.want(which),
            Step::Tamper(which, delete) => self.tamper(which, delete),
        }
    }

    /// Until nothing moves any more.
    fn settle(&mut self) {
        for _ in 0..50 {
            self.deliver(usize::MAX);
            self.write(self.derived.len().max(self.statuses.len()).max(self.finalizers.len()).max(self.services.len()));
            let is_quiet = self.derived.is_empty() && self.statuses.is_empty() && self.finalizers.is_empty();
            if self.events.is_empty() && is_quiet && self.services.is_empty() {
                return;
            }
        }
        panic!("does not settle: {:?} {:?}", self.derived, self.statuses);
    }
}

fn as_input(id: &Id, object: Option<Value>) -> Input {
    match object {
        Some(object) => input(object),
        None => gone(&id.0, Key::new(id.1.as_str(), id.2.as_str())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changes_one_by_one_lead_where_all_at_once_do(steps in prop::collection::vec(step(), 1..60)) {
        let mut sim = Sim::new();
        for step in &steps {
            sim.step(step);
        }
        sim.settle();
        let mut fresh = Attach::new(Settings::local());
        let inputs = sim.objects.iter().map(|(id, object)| as_input(id, Some(object.clone())));
        let output = fresh.apply(inputs, &at(1_000));
        prop_assert!(output.is_empty(), "{output:#?}");
    }
}
