//! Who asks, and whether they may.
//!
//! Callers are known by client certificates (common name: user; organisations: groups) or by tokens that this server
//! signed. Members of `system:masters` may do everything; everyone else what Roles and ClusterRoles grant.

pub(crate) mod bound;
pub mod ca;
mod rbac;
pub(crate) mod review;
pub mod token;

use arc_swap::ArcSwapOption;
use http::Method;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::rest::path::Target;
use crate::store::Durability;

pub(crate) use rbac::Policy;

/// The group whose members may do everything.
pub const MASTERS: &str = "system:masters";
/// The group of everyone who is known.
pub const AUTHENTICATED: &str = "system:authenticated";

/// Someone who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User name.
    pub user: String,
    /// Groups, `system:authenticated` among them.
    pub groups: Vec<String>,
    /// The user's UID; empty when the credential has none.
    pub uid: String,
    /// When this caller's writes are acknowledged.
    pub durability: Durability,
}

impl Caller {
    /// A caller from outside.
    pub fn new(user: impl Into<String>, mut groups: Vec<String>) -> Self {
        if !groups.iter().any(|g| g == AUTHENTICATED) {
            groups.push(AUTHENTICATED.into());
        }
        Self { user: user.into(), groups, uid: String::new(), durability: Durability::Immediate }
    }

    /// The server's own process.
    pub fn internal(durability: Durability) -> Self {
        let mut caller = Self::new("system:foregate", vec![MASTERS.into()]);
        caller.durability = durability;
        caller
    }

    /// Whoever an administrator wants to be (`kubectl --as`).
    ///
    /// # Errors
    /// 403 for everyone else.
    pub(crate) fn impersonate(self, headers: &http::HeaderMap) -> Result<Self, ApiError> {
        let text = |v: &http::HeaderValue| v.to_str().map(str::to_owned).unwrap_or_default();
        let Some(user) = headers.get("impersonate-user").map(text) else {
            let others = ["impersonate-group", "impersonate-uid"];
            if others.iter().any(|h| headers.contains_key(*h)) {
                return Err(ApiError::bad_request("impersonation needs a user (Impersonate-User)"));
            }
            return Ok(self);
        };
        if !self.is_master() {
            let why = format!("User {:?} cannot impersonate resource \"users\" in API group \"\"", self.user);
            return Err(ApiError::forbidden("", "users", &user, why));
        }
        let groups = headers.get_all("impersonate-group").iter().map(text).collect();
        Ok(Self { durability: self.durability, ..Self::new(user, groups) })
    }

    fn is_master(&self) -> bool {
        self.groups.iter().any(|g| g == MASTERS)
    }
}

/// What a caller wants to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes {
    pub verb: String,
    pub group: String,
    /// With its subresource: `things/status`.
    pub resource: String,
    pub namespace: String,
    pub name: String,
}

impl Attributes {
    pub fn of(verb: &str, target: &Target) -> Self {
        let resource = match &target.subresource {
            Some(sub) => format!("{}/{sub}", target.resource),
            None => target.resource.clone(),
        };
        let mut namespace = target.namespace.clone().unwrap_or_default();
        if target.group.is_empty() && target.resource == "namespaces" {
            namespace = target.name.clone().unwrap_or_default();
        }
        Self {
            verb: verb.into(),
            group: target.group.clone(),
            resource,
            namespace,
            name: target.name.clone().unwrap_or_default(),
        }
    }
}

/// What was decided on a request for objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decision {
    /// Who asked.
    pub user: String,
    /// E.g. `patch`.
    pub verb: String,
    /// API group, empty for the core.
    pub group: String,
    /// With its subresource: `things/status`.
    pub resource: String,
    /// Empty at the cluster scope.
    pub namespace: String,
    /// Empty for a collection.
    pub name: String,
    /// Whether the caller may.
    pub allowed: bool,
}

/// Who wants to know of decisions.
type Listener = Box<dyn Fn(Decision) + Send + Sync>;

/// Decides who may do what.
#[derive(Default)]
pub(crate) struct Auth {
    /// Who is told of each decision.
    pub listener: ArcSwapOption<Listener>,
    pub policy: Policy,
    pub owners: bound::Owners,
}

impl Auth {
    /// Whether `caller` may do something to objects.
    pub fn may(&self, caller: &Caller, wish: &Attributes) -> bool {
        caller.is_master() || self.policy.allows(caller, wish)
    }

    /// What `caller` may do in a namespace, as `SubjectRulesReviewStatus` lists it.
    pub fn rules_of(&self, caller: &Caller, namespace: &str) -> Value {
        if caller.is_master() {
            let all = json!(["*"]);
            return json!({"resourceRules": [{"verbs": all, "apiGroups": all, "resources": all}],
                "nonResourceRules": [{"verbs": all, "nonResourceURLs": all}], "incomplete": false});
        }
        self.policy.rules_of(caller, namespace)
    }

    /// 403 unless `caller` may.
    pub fn allow(&self, caller: &Caller, wish: &Attributes) -> Result<(), ApiError> {
        let allowed = self.may(caller, wish);
        self.tell(caller, wish, allowed);
        if allowed {
            return Ok(());
        }
        let place = if wish.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {:?}", wish.namespace)
        };
        let why = format!(
            "User {:?} cannot {} resource {:?} in API group {:?} {place}",
            caller.user, wish.verb, wish.resource, wish.group
        );
        let resource = wish.resource.split('/').next().unwrap_or_default();
        Err(ApiError::forbidden(&wish.group, resource, &wish.name, why))
    }

    fn tell(&self, caller: &Caller, wish: &Attributes, allowed: bool) {
        let Some(listener) = &*self.listener.load() else { return };
        let Attributes { verb, group, resource, namespace, name } = wish.clone();
        listener(Decision { user: caller.user.clone(), verb, group, resource, namespace, name, allowed });
    }

    /// Whether `caller` may do something to a path that isn't an object's.
    pub fn may_path(&self, caller: &Caller, verb: &str, path: &str) -> bool {
        caller.is_master() || self.policy.allows_path(caller, verb, path) || (verb == "get" && is_discovery(path))
    }

    /// 403 unless `caller` may use a path that isn't an object's.
    pub fn allow_path(&self, caller: &Caller, method: &Method, path: &str) -> Result<(), ApiError> {
        let verb = match *method {
            Method::GET | Method::HEAD => "get",
            _ => return Err(ApiError::method_not_allowed()),
        };
        if self.may_path(caller, verb, path) {
            return Ok(());
        }
        let why = format!("User {:?} cannot {verb} path {path:?}", caller.user);
        Err(ApiError::new(http::StatusCode::FORBIDDEN, "Forbidden", format!("forbidden: {why}")))
    }
}

/// What everyone who is known may read: how to talk to this server.
fn is_discovery(path: &str) -> bool {
    ["/api", "/apis", "/openapi", "/version"]
        .iter()
        .any(|p| path.strip_prefix(p).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}
