#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
//! The pipeline against an API server in a few lines: what it writes comes back as the answer, and is what is there.

mod addresses;
mod claims;
mod copies;
mod dissent;
mod engines;
mod handed;
mod instances;
mod pinned;
mod readiness;
mod rebuild;
mod restart;
mod streams;
mod wanted;

use std::collections::BTreeMap;
use std::time::Duration;

use foregate_api::address::AddressPoolSpec;
use foregate_api::claim::GatewayClaimStatus;
use foregate_xds::{Cache, Instance, Options};
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

/// What every object of the test's API is held as.
type Objects = BTreeMap<(Kind, String), Value>;

struct World {
    pipeline: Pipeline,
    objects: Objects,
    version: u64,
    now: Instant,
    cache: Cache,
    writes: Vec<String>,
    /// Creates of these names meet an object that nobody has seen.
    hidden: Vec<String>,
    records: Vec<Record>,
    /// What the next creates meet.
    failing: Vec<&'static str>,
    /// How often it was said that all serves.
    serving: usize,
}

impl World {
    /// With a template and a pool of so many addresses.
    fn new(pool: &str) -> Self {
        let mut world = Self::empty();
        world.start_with(pool, vec![template()]);
        world
    }

    fn empty() -> Self {
        let options = PlatformOptions { settle: Duration::from_secs(10), ..Default::default() };
        let (cache, _) = Cache::new(Options { started: false, ..Default::default() });
        let now = Instant::now();
        Self {
            pipeline: Pipeline::new(options, cache.clone(), now),
            objects: BTreeMap::new(),
            version: 100,
            now,
            cache,
            writes: Vec::new(),
            hidden: Vec::new(),
            records: Vec::new(),
            failing: Vec::new(),
            serving: 0,
        }
    }

    fn start_with(&mut self, pool: &str, templates: Vec<Arc<GatewayTemplate>>) {
        self.objects.insert((Kind::Pool, "default".into()), json!(&*pool_of(pool)));
        for observation in [
            Observation::Pool(Seen::All(vec![pool_of(pool)])),
            Observation::Template(Seen::All(templates)),
            Observation::Claim(Seen::All(vec![])),
            Observation::Proxy(Seen::All(vec![])),
            Observation::Address(Seen::All(vec![])),
            Observation::Instance(Seen::All(vec![])),
            Observation::Node(Seen::All(vec![])),
            Observation::Route(Seen::All(vec![])),
            Observation::Backend(Seen::All(vec![])),
            Observation::Slice(Seen::All(vec![])),
            Observation::Secret(Seen::All(vec![])),
        ] {
            self.pipeline.take_now(observation);
        }
        self.settle();
    }

    /// Lets so much time go by that all is said.
    fn wait(&mut self) {
        self.now += super::patience::PATIENCE;
        self.settle();
    }

    /// A user or controller writes.
    fn put<K: Resource + Clone + Serialize>(
        &mut self,
        kind: Option<Kind>,
        mut object: K,
        wrap: fn(Seen<K>) -> Observation,
    ) {
        self.version += 1;
        object.meta_mut().resource_version = Some(self.version.to_string());
        if let Some(kind) = kind {
            self.objects.insert((kind, object.name_any()), json!(object));
        }
        self.pipeline.take_now(wrap(Seen::Set(Arc::new(object))));
        self.settle();
    }

    fn claim(&mut self, claim: &GatewayClaim) {
        let mut claim = claim.clone();
        // The status is the platform's.
        claim.status = self.read::<GatewayClaim>(Kind::Claim, &claim.name_any()).and_then(|claim| claim.status);
        self.version += 1;
        claim.metadata.resource_version = Some(self.version.to_string());
        self.objects.insert((Kind::Claim, claim.name_any()), json!(claim));
        self.pipeline.take_now(Observation::Claim(Seen::Set(Arc::new(claim))));
        self.settle();
    }

    fn unclaim(&mut self, name: &str) {
        let claim: GatewayClaim = self.read(Kind::Claim, name).unwrap();
        self.objects.remove(&(Kind::Claim, name.to_owned()));
        self.pipeline.take_now(Observation::Claim(Seen::Gone(Arc::new(claim))));
        self.settle();
    }

    fn hear(&mut self, event: Event) {
        let now = self.now;
        self.pipeline.take(Input::Xds(event), now, clock());
        self.settle();
    }

    /// Steps until nothing is to be done at this time, answering every write.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            let effects = self.pipeline.step(self.now, clock());
            self.records.extend(effects.records);
            self.serving += usize::from(effects.serving);
            if effects.writes.is_empty() {
                match self.pipeline.outbox.next_due() {
                    Some(at) if !self.pipeline.outbox.is_idle() => self.now = self.now.max(at),
                    _ => return,
                }
            }
            for (target, write) in effects.writes {
                let outcome = self.carry_out(&target, &write);
                let now = self.now;
                self.pipeline.take(Input::Done(target, write, outcome), now, clock());
            }
        }
        panic!("it never settles: {:#?}", self.writes.iter().rev().take(10).collect::<Vec<_>>());
    }

    fn carry_out(&mut self, target: &Target, write: &Write) -> Outcome {
        self.version += 1;
        let name = target.key.name.clone();
        let id = (target.kind, name.clone());
        let verb = match write {
            Write::Delete { .. } => "delete",
            Write::Status { .. } => "status",
            Write::Engine { .. } => "engine",
            Write::Metadata { .. } => "metadata",
            _ => "create",
        };
        self.writes.push(format!("{verb} {:?} {name}", target.kind));
        let created = match write {
            Write::Delete { .. } => {
                self.objects.remove(&id);
                return Outcome::Missing;
            }
            Write::Status { status, .. } => {
                let Some(object) = self.objects.get_mut(&id) else { return Outcome::Missing };
                let engine = object["status"]["engine"].take();
                object["status"] = without_nulls(status["status"].clone());
                if !engine.is_null() {
                    // A merge patch leaves what it doesn't name.
                    object["status"]["engine"] = engine;
                }
                object["metadata"]["resourceVersion"] = json!(self.version.to_string());
                return Outcome::Written(Box::new(read_object(target.kind, object)));
            }
            Write::Metadata { change, .. } => {
                let Some(object) = self.objects.get_mut(&id) else { return Outcome::Missing };
                for field in ["labels", "annotations"] {
                    let mut all = object["metadata"][field].take().as_object().cloned().unwrap_or_default();
                    all.extend(change["metadata"][field].as_object().cloned().unwrap_or_default());
                    all.retain(|_, value| !value.is_null());
                    object["metadata"][field] = json!(all);
                }
                object["metadata"]["resourceVersion"] = json!(self.version.to_string());
                return Outcome::Written(Box::new(read_object(target.kind, object)));
            }
            Write::Engine { engine, .. } => {
                let Some(object) = self.objects.get_mut(&id) else { return Outcome::Missing };
                object["spec"]["engine"] = json!(engine);
                object["metadata"]["generation"] = json!(object["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
                object["metadata"]["resourceVersion"] = json!(self.version.to_string());
                return Outcome::Written(Box::new(read_object(target.kind, object)));
            }
            _ if !self.failing.is_empty() => return Outcome::Failed(self.failing.remove(0).to_owned()),
            _ if self.objects.contains_key(&id) || self.hidden.contains(&name) => return Outcome::Conflict,
            Write::CreateProxy(object) => json!(object),
            Write::CreateAddress(object) => json!(object),
            Write::CreateInstance(object) => json!(object),
        };
        let mut object = created;
        object["metadata"]["uid"] = json!(format!("{name}@{}", self.version));
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let outcome = Outcome::Written(Box::new(read_object(target.kind, &object)));
        self.objects.insert(id, object);
        outcome
    }

    fn read<K: DeserializeOwned>(&self, kind: Kind, name: &str) -> Option<K> {
        self.objects.get(&(kind, name.to_owned())).map(|object| serde_json::from_value(object.clone()).unwrap())
    }

    fn names(&self, kind: Kind) -> Vec<&str> {
        self.objects.keys().filter(|(of, _)| *of == kind).map(|(_, name)| name.as_str()).collect()
    }

    fn status(&self, claim: &str) -> GatewayClaimStatus {
        self.read::<GatewayClaim>(Kind::Claim, claim).unwrap().status.unwrap_or_default()
    }

    /// Status and reason of a claim's condition.
    fn condition(&self, claim: &str, kind: &str) -> String {
        let status = self.status(claim);
        let condition = crate::conditions::find(&status.conditions, kind);
        condition.map_or_else(|| "absent".into(), |condition| format!("{} {}", condition.status, condition.reason))
    }

    fn group(&self, proxy: &str) -> Vec<String> {
        self.cache
            .dump(&format!("tenant-default/{proxy}"))
            .iter()
            .map(|resource| format!("{:?}", resource.id))
            .collect()
    }

    /// An engine connects and acknowledges all.
    fn connect(&mut self, proxy: &str) {
        self.hear(Event::Connected(instance(proxy)));
        self.acknowledge(proxy);
    }

    fn acknowledge(&mut self, proxy: &str) {
        let applied = self.pipeline.gateways[&proxy_ref(&Key::new("tenant-default", proxy))].sequence;
        self.hear(Event::Progress { instance: instance(proxy), applied });
    }
}

impl Pipeline {
    fn take_now(&mut self, observation: Observation) {
        self.take(Input::Observed(observation), Instant::now(), clock());
    }
}

fn clock() -> Timestamp {
    Timestamp::from_second(1_000).unwrap()
}

fn instance(proxy: &str) -> Instance {
    Instance { group: format!("tenant-default/{proxy}").into(), node: "local".into() }
}

fn pool_of(range: &str) -> Arc<AddressPool> {
    let mut pool = AddressPool::new("default", AddressPoolSpec { ranges: vec![range.into()] });
    pool.metadata.uid = Some("pool".into());
    pool.metadata.resource_version = Some("1".into());
    pool.metadata.generation = Some(1);
    Arc::new(pool)
}

fn template() -> Arc<GatewayTemplate> {
    let mut template = foregate_translate::default_template();
    template.metadata.name = Some("default".into());
    template.metadata.namespace = Some("tenant-default".into());
    template.metadata.resource_version = Some("2".into());
    Arc::new(template)
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        other => other,
    }
}

fn read_object(kind: Kind, object: &Value) -> Object {
    fn read<K: DeserializeOwned>(object: &Value) -> Arc<K> {
        Arc::new(serde_json::from_value(object.clone()).unwrap())
    }
    match kind {
        Kind::Claim => Object::Claim(read(object)),
        Kind::Proxy => Object::Proxy(read(object)),
        Kind::Address => Object::Address(read(object)),
        Kind::Pool => Object::Pool(read(object)),
        Kind::Instance => Object::Instance(read(object)),
        Kind::Secret => Object::Secret(read(object)),
        Kind::Route => Object::Route(read(object)),
        Kind::Backend => Object::Backend(read(object)),
    }
}

/// A copy with another generation, as after an edit of the spec.
fn edited<K: Resource + Clone>(object: &K, edit: impl FnOnce(&mut K)) -> K {
    let mut object = object.clone();
    edit(&mut object);
    let meta = object.meta_mut();
    meta.generation = Some(meta.generation.unwrap_or_default() + 1);
    object
}
