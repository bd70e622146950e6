//! Documents as objects of the kinds that attachment reads.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foregate_api::envoy_gateway::{Backend, EnvoyProxy};
use foregate_api::gateway::experimental::{EXPERIMENTAL_GROUP, XBackend, XBackendTrafficPolicy, XTelemetryPolicy};
use foregate_api::gateway::{
    BackendTLSPolicy, GRPCRoute, Gateway, GatewayClass, HTTPRoute, ListenerSet, ReferenceGrant, TCPRoute, TLSRoute,
    UDPRoute,
};
use foregate_api::{Change, GatewayTemplate};
use foregate_attach::Input;
use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::manifests::{Document, Mistake};

/// Where an object stands.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// Kind, namespace and name.
    pub name: String,
}

impl Place {
    /// Something that is wrong with the object.
    pub fn mistake(&self, message: String) -> Mistake {
        Mistake { file: self.file.clone(), line: self.line, column: 0, path: self.name.clone(), message }
    }
}

/// The files' objects.
#[derive(Default)]
pub struct Objects {
    /// For attachment.
    pub inputs: Vec<Input>,
    /// For gateways.
    pub templates: Vec<GatewayTemplate>,
    /// Places of objects by their UIDs.
    pub places: HashMap<String, Place>,
    /// What can't be read.
    pub mistakes: Vec<Mistake>,
    /// What was passed over.
    pub notes: Vec<Mistake>,
    classes: BTreeSet<String>,
    wanted_classes: Vec<(String, Place)>,
    namespaces: BTreeSet<String>,
    known_namespaces: BTreeSet<String>,
}

/// Cluster-scoped kinds among those that are read.
const CLUSTER_SCOPED: [&str; 3] = ["GatewayClass", "Namespace", "ClusterTrustBundle"];

impl Objects {
    /// Reads documents; what can't be read is a mistake, and the others are read all the same.
    pub fn of(documents: &[Document]) -> Self {
        let mut objects = Self::default();
        for document in documents {
            match document.value() {
                Ok(value) => objects.add(document, value),
                Err(mistake) => objects.mistakes.push(mistake),
            }
        }
        objects
    }

    fn add(&mut self, document: &Document, value: Value) {
        if value["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) && value["items"].is_array() {
            for item in value["items"].as_array().into_iter().flatten() {
                let text = item.to_string();
                let inner = Document { file: document.file.clone(), line: document.first(), text };
                self.add(&inner, item.clone());
            }
            return;
        }
        let (Some(kind), Some(name)) = (value["kind"].as_str(), value["metadata"]["name"].as_str()) else {
            let message = "not an object: `kind` and `metadata.name` are missing".to_owned();
            self.mistakes.push(Mistake { line: document.first(), ..document.mistake(1, 0, "", message) });
            return;
        };
        let namespace = value["metadata"]["namespace"].as_str().unwrap_or("default");
        let scoped = CLUSTER_SCOPED.contains(&kind);
        let full = if scoped { format!("{kind} {name}") } else { format!("{kind} {namespace}/{name}") };
        let place = Place { file: document.file.clone(), line: document.first(), name: full };
        let uid = value["metadata"]["uid"].as_str().map_or_else(|| made_up_uid(&place.name), str::to_owned);
        if let Some(other) = self.places.get(&uid) {
            let message = format!("it is also at {}:{}; the latter counts", other.file, other.line);
            self.notes.push(place.mistake(message));
        }
        if !scoped {
            self.namespaces.insert(namespace.to_owned());
        }
        let api_version = value["apiVersion"].as_str().unwrap_or_default();
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.places.insert(uid.clone(), place.clone());
        self.read(document, (group, kind), &value, (uid, place));
    }

    fn read(&mut self, document: &Document, (group, kind): (&str, &str), value: &Value, (uid, place): (String, Place)) {
        const GATEWAY: &str = "gateway.networking.k8s.io";
        let read = match (group, kind) {
            (GATEWAY, "GatewayClass") => {
                self.classes.extend(value["metadata"]["name"].as_str().map(str::to_owned));
                object::<GatewayClass>(document, &uid).map(Input::GatewayClass)
            }
            (GATEWAY, "Gateway") => {
                let class = value["spec"]["gatewayClassName"].as_str().unwrap_or_default();
                self.wanted_classes.push((class.to_owned(), place));
                object::<Gateway>(document, &uid).map(Input::Gateway)
            }
            (GATEWAY, "HTTPRoute") => object::<HTTPRoute>(document, &uid).map(Input::HttpRoute),
            (GATEWAY, "GRPCRoute") => object::<GRPCRoute>(document, &uid).map(Input::GrpcRoute),
            (GATEWAY, "TLSRoute") => object::<TLSRoute>(document, &uid).map(Input::TlsRoute),
            (GATEWAY, "TCPRoute") => object::<TCPRoute>(document, &uid).map(Input::TcpRoute),
            (GATEWAY, "UDPRoute") => object::<UDPRoute>(document, &uid).map(Input::UdpRoute),
            (GATEWAY, "ListenerSet") => object::<ListenerSet>(document, &uid).map(Input::ListenerSet),
            (GATEWAY, "ReferenceGrant") => object::<ReferenceGrant>(document, &uid).map(Input::ReferenceGrant),
            (GATEWAY, "BackendTLSPolicy") => object::<BackendTLSPolicy>(document, &uid).map(Input::BackendTlsPolicy),
            (EXPERIMENTAL_GROUP, "XBackend") => object::<XBackend>(document, &uid).map(Input::XBackend),
            (EXPERIMENTAL_GROUP, "XBackendTrafficPolicy") => {
                object::<XBackendTrafficPolicy>(document, &uid).map(Input::XBackendTrafficPolicy)
            }
            (EXPERIMENTAL_GROUP, "XTelemetryPolicy") => {
                object::<XTelemetryPolicy>(document, &uid).map(Input::XTelemetryPolicy)
            }
            ("gateway.envoyproxy.io", "Backend") => object::<Backend>(document, &uid).map(Input::DirectBackend),
            ("gateway.envoyproxy.io", "EnvoyProxy") => object::<EnvoyProxy>(document, &uid).map(Input::EnvoyProxy),
            ("", "Service") => object::<Service>(document, &uid).map(Input::Service),
            ("", "Pod") => object::<Pod>(document, &uid).map(Input::Pod),
            ("certificates.k8s.io", "ClusterTrustBundle") => {
                object::<ClusterTrustBundle>(document, &uid).map(Input::ClusterTrustBundle)
            }
            ("", "ConfigMap") => object::<ConfigMap>(document, &uid).map(Input::ConfigMap),
            ("discovery.k8s.io", "EndpointSlice") => object::<EndpointSlice>(document, &uid).map(Input::EndpointSlice),
            ("", "Secret") => secret(document, &uid).map(Input::Secret),
            ("", "Namespace") => {
                self.known_namespaces.extend(value["metadata"]["name"].as_str().map(str::to_owned));
                object::<Namespace>(document, &uid).map(Input::Namespace)
            }
            (foregate_api::GROUP, "GatewayTemplate") => match document.parse::<GatewayTemplate>() {
                Ok(template) => return self.templates.push(template),
                Err(mistake) => Err(mistake),
            },
            _ => return self.notes.push(place.mistake("nothing here reads this kind; it is passed over".to_owned())),
        };
        match read {
            Ok(input) => self.inputs.push(input),
            Err(mistake) => self.mistakes.push(Mistake { path: self.name_of(&uid), ..mistake }),
        }
    }

    fn name_of(&self, uid: &str) -> String {
        self.places.get(uid).map(|place| place.name.clone()).unwrap_or_default()
    }

    /// Adds what every Foregate has: the GatewayClass and the namespaces that the files leave out.
    pub fn complete(&mut self) {
        for (class, place) in std::mem::take(&mut self.wanted_classes) {
            if self.classes.contains(&class) {
                continue;
            }
            if class == foregate_api::DEFAULT_GATEWAY_CLASS {
                self.classes.insert(class.clone());
                let spec = json!({ "controllerName": foregate_api::CONTROLLER_NAME });
                let object = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
                                     "metadata": { "name": class, "uid": "class", "generation": 1 }, "spec": spec });
                let class = serde_json::from_value::<GatewayClass>(object);
                self.inputs.extend(class.ok().map(|class| Input::GatewayClass(Change::Set(Arc::new(class)))));
            } else {
                let message =
                    format!("its GatewayClass {class:?} isn't in the files; without it nobody serves the Gateway");
                self.mistakes.push(place.mistake(message));
            }
        }
        for name in self.namespaces.difference(&self.known_namespaces) {
            let labels = [("kubernetes.io/metadata.name".to_owned(), name.clone())].into();
            let metadata = ObjectMeta { name: Some(name.clone()), labels: Some(labels), ..ObjectMeta::default() };
            let namespace = Namespace { metadata, ..Namespace::default() };
            self.inputs.push(Input::Namespace(Change::Set(Arc::new(namespace))));
        }
    }
}

/// The UID of an object that no server has given one.
fn made_up_uid(name: &str) -> String {
    name.to_lowercase().replace(' ', "-").replace('/', ".")
}

fn object<K>(document: &Document, uid: &str) -> Result<Change<K>, Mistake>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let mut object: K = document.parse()?;
    complete(&mut object, uid);
    Ok(Change::Set(Arc::new(object)))
}

/// What an API server fills in.
fn complete<K: Resource<DynamicType = ()>>(object: &mut K, uid: &str) {
    let scoped = CLUSTER_SCOPED.contains(&K::kind(&()).as_ref());
    let metadata = object.meta_mut();
    metadata.uid.get_or_insert_with(|| uid.to_owned());
    metadata.generation.get_or_insert(1);
    if !scoped {
        metadata.namespace.get_or_insert_with(|| "default".to_owned());
    }
}

/// `stringData` becomes `data`, as an API server does it.
fn secret(document: &Document, uid: &str) -> Result<Change<Secret>, Mistake> {
    let mut secret: Secret = document.parse()?;
    complete(&mut secret, uid);
    if let Some(texts) = secret.string_data.take() {
        let data = secret.data.get_or_insert_default();
        data.extend(texts.into_iter().map(|(name, text)| (name, k8s_openapi::ByteString(text.into_bytes()))));
    }
    debug_assert!(!secret.name_any().is_empty());
    Ok(Change::Set(Arc::new(secret)))
}
