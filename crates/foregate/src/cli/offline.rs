//! Foregate in a box: objects from files through attachment and translation, without a server.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use foregate_api::address::ProxyRef;
use foregate_api::proxy::{GatewayProxy, GatewayProxySpec, GatewayProxyStatus, ProxyListener};
use foregate_api::{Change, GatewayClaim, GatewayTemplate};
use foregate_attach::{Attach, Derived, DerivedChange, Settings, StatusChange};
use foregate_translate::{Input, Options, Translator};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde_json::Value;

use super::error::CliError;
use super::manifests::{Document, Mistake};
use super::objects::{Objects, Place};

/// The pool that gateways get addresses from that ask for none; the one of a fresh `foregate up`.
const POOL: &str = "127.100.0.0/24";

/// What became of the files' objects.
pub struct World {
    /// Objects for the platform, in the order in which they are written.
    pub derived: Vec<Derived>,
    /// Statuses of the users' objects.
    pub statuses: Vec<StatusChange>,
    /// What runs.
    pub translator: Translator,
    /// The gateways, by name: of the user's Gateway, and of the GatewayProxy.
    pub gateways: Vec<(String, ProxyRef)>,
    /// What is wrong with the objects.
    pub mistakes: Vec<Mistake>,
    /// What was passed over.
    pub notes: Vec<Mistake>,
}

impl World {
    /// Takes documents all the way.
    ///
    /// # Errors
    /// When there is nothing in them.
    pub fn of(documents: &[Document]) -> Result<Self, CliError> {
        let mut objects = Objects::of(documents);
        if objects.inputs.is_empty() && objects.mistakes.is_empty() {
            let next = "files hold Gateways, HTTPRoutes, Services, EndpointSlices, Secrets as YAML or JSON";
            return Err(CliError::usage("there is no object in the files", next));
        }
        objects.complete();
        let now = Time(jiff::Timestamp::now());
        let output = Attach::new(Settings::local()).apply(std::mem::take(&mut objects.inputs), &now);
        let derived: Vec<Derived> = output.derived.into_values().flatten().filter_map(set).collect();
        let mut world = Self {
            derived,
            statuses: output.statuses,
            translator: Translator::new(Options::default()),
            gateways: Vec::new(),
            mistakes: std::mem::take(&mut objects.mistakes),
            notes: std::mem::take(&mut objects.notes),
        };
        world.mistakes.extend(world.conditions(&objects.places));
        world.translate(&objects.templates, &objects.places);
        world.mistakes.sort_by(|a, b| (&a.file, a.line, &a.path).cmp(&(&b.file, b.line, &b.path)));
        world.mistakes.dedup();
        Ok(world)
    }

    fn translate(&mut self, templates: &[GatewayTemplate], places: &HashMap<String, Place>) {
        let mut inputs: Vec<Input> = self.derived.iter().filter_map(input).collect();
        for (name, proxy) in proxies(&self.derived, templates) {
            let reference = ProxyRef { namespace: proxy.namespace().unwrap_or_default(), name: proxy.name_any() };
            self.gateways.push((name, reference));
            inputs.push(Input::Proxy(Change::Set(Arc::new(proxy))));
        }
        let output = self.translator.apply(inputs);
        let unknown = Place { file: "(made from the files)".to_owned(), line: 1, name: String::new() };
        for report in output.reports {
            let Some(problem) = report.problem else { continue };
            let place = places.get(&*report.owner.uid).unwrap_or(&unknown);
            let path = if place.name.is_empty() { report.object.to_string() } else { place.name.clone() };
            self.mistakes.push(Mistake { path, ..place.mistake(problem) });
        }
    }

    /// Conditions that say that something is wrong.
    fn conditions(&self, places: &HashMap<String, Place>) -> Vec<Mistake> {
        let by_name: HashMap<&str, &Place> = places.values().map(|place| (place.name.as_str(), place)).collect();
        let mut mistakes = Vec::new();
        for status in &self.statuses {
            let key = &status.key;
            let name = if key.namespace.is_empty() {
                format!("{} {}", status.kind.as_str(), key.name)
            } else {
                format!("{} {}/{}", status.kind.as_str(), key.namespace, key.name)
            };
            let Some(place) = by_name.get(name.as_str()) else { continue };
            for (within, kind, reason, message) in wrong(&status.status) {
                let within = if within.is_empty() { String::new() } else { format!(" {within}") };
                mistakes.push(place.mistake(format!("{kind}{within}: {message} ({reason})")));
            }
        }
        mistakes
    }

    /// A backend by the name that clusters have of it: its Service and port.
    pub fn backends(&self) -> BTreeMap<String, String> {
        let named = self.derived.iter().filter_map(|derived| match derived {
            Derived::Backend(backend) => Some((backend.name_any(), super::backends::display(backend))),
            _ => None,
        });
        named.collect()
    }
}

fn set(change: DerivedChange) -> Option<Derived> {
    match change {
        DerivedChange::Set(derived) => Some(derived),
        DerivedChange::Delete(..) => None,
    }
}

fn input(derived: &Derived) -> Option<Input> {
    Some(match derived {
        Derived::Secret(it) => Input::Secret(Change::Set(it.clone())),
        Derived::Slice(it) => Input::Slice(Change::Set(it.clone())),
        Derived::Backend(it) => Input::Backend(Change::Set(it.clone())),
        Derived::Route(it) => Input::Route(Change::Set(it.clone())),
        Derived::Claim(_) => return None,
    })
}

/// Where a status has a condition that isn't as it should be: listener or parent, type, reason, message. Programmed is
/// for who runs gateways to say.
fn wrong(status: &Value) -> Vec<(String, String, String, String)> {
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let lists = |field: &str, name: &dyn Fn(&Value) -> String| {
        let items = status[field].as_array().into_iter().flatten();
        items.map(|item| (name(item), item["conditions"].clone())).collect::<Vec<_>>()
    };
    let parent = |item: &Value| format!("by {}", text(&item["parentRef"], "name"));
    let mut all = vec![(String::new(), status["conditions"].clone())];
    all.extend(lists("listeners", &|item| format!("of listener {}", text(item, "name"))));
    all.extend(lists("parents", &parent));
    let mut found = Vec::new();
    for (within, conditions) in all {
        for condition in conditions.as_array().into_iter().flatten() {
            let (kind, status) = (text(condition, "type"), text(condition, "status"));
            let is_wrong = match kind.as_str() {
                "Accepted" | "ResolvedRefs" => status == "False",
                "Conflicted" | "OverlappingTLSConfig" | "PartiallyInvalid" => status == "True",
                _ => false,
            };
            if is_wrong {
                found.push((within.clone(), kind, text(condition, "reason"), text(condition, "message")));
            }
        }
    }
    found
}

/// The gateways of claims, each with an address of its own.
fn proxies(derived: &[Derived], templates: &[GatewayTemplate]) -> Vec<(String, GatewayProxy)> {
    let mut gateways: Vec<(ProxyRef, Vec<&GatewayClaim>)> = Vec::new();
    for derived in derived {
        let Derived::Claim(claim) = derived else { continue };
        let proxy = foregate_platform::proxy_of(claim);
        match gateways.iter_mut().find(|(other, _)| *other == proxy) {
            Some((_, claims)) => claims.push(claim),
            None => gateways.push((proxy, vec![claim])),
        }
    }
    let (mut pool, _) = foregate_platform::Pool::new(&[POOL.to_owned()]);
    let mut used = HashSet::new();
    let mut proxies = Vec::new();
    for (reference, mut claims) in gateways {
        claims.sort_by(|a, b| foregate_platform::precedence(a, b));
        let Some(first) = claims.first() else { continue };
        let mut addresses = first.spec.addresses.clone();
        if addresses.is_empty() {
            let free = std::iter::from_fn(|| {
                let free = pool.next_free()?;
                pool.take(free);
                Some(free.to_string())
            });
            addresses.extend(free.filter(|address| !used.contains(address)).take(1).collect::<Vec<_>>());
        }
        used.extend(addresses.iter().cloned());
        let origin = &first.spec.origin;
        let name = format!("{}/{}", origin.namespace, origin.name);
        proxies.push((name, proxy(&reference, &claims, addresses, templates)));
    }
    proxies
}

/// The gateway of these claims, the first of which has its say.
fn proxy(
    reference: &ProxyRef,
    claims: &[&GatewayClaim],
    addresses: Vec<String>,
    templates: &[GatewayTemplate],
) -> GatewayProxy {
    let first = claims.first().map(|claim| &claim.spec);
    let stock = foregate_translate::default_template();
    let named = first.map(|claim| claim.template.clone()).unwrap_or_default();
    let template = templates.iter().find(|template| template.name_any() == named).unwrap_or(&stock);
    let spec = GatewayProxySpec {
        template_name: named,
        template: template.spec.clone(),
        requested_addresses: Vec::new(),
        pinned_revision: None,
    };
    let mut proxy = GatewayProxy::new(&reference.name, spec);
    proxy.metadata.namespace = Some(reference.namespace.clone());
    proxy.metadata.uid = first.map(|claim| format!("proxy-of-{}", claim.origin.uid));
    proxy.metadata.generation = Some(1);
    let listeners = claims.iter().flat_map(|claim| {
        let of = claim.name_any();
        claim.spec.listeners.iter().map(move |it| {
            let tracing = claim.spec.tracing.clone();
            ProxyListener { claim: of.clone(), listener: it.clone(), tracing }
        })
    });
    proxy.status = Some(GatewayProxyStatus {
        addresses,
        claims: claims.iter().map(|claim| claim.name_any()).collect(),
        listeners: listeners.collect(),
        backend_client_certificate: first.and_then(|claim| claim.backend_client_certificate.clone()),
        infrastructure: first.and_then(|claim| claim.infrastructure.clone()),
        ..GatewayProxyStatus::default()
    });
    proxy
}
