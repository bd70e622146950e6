//! Problems of objects, told when they change.

use foregate_envoy::Owner;

use super::Translator;
use super::ingest::{BACKEND, PROXY, ROUTE, SECRET, SLICE, owner_of};
use crate::index::Proxy;
use crate::resolve::endpoints;
use crate::{Key, ObjectRef, Report};

impl Translator {
    /// Compares an object's problem with what was reported of it.
    pub(super) fn report(&mut self, object: ObjectRef) -> Option<Report> {
        let Some((owner, problem)) = self.judge(&object) else {
            // The object is gone, and its status with it.
            self.problems.remove(&object);
            return None;
        };
        let known = self.problems.get(&object);
        match (&problem, known) {
            (None, None) => return None,
            (Some(problem), Some((of, known))) if *of == owner && known == problem => return None,
            _ => {}
        }
        match &problem {
            Some(problem) => self.problems.insert(object.clone(), (owner.clone(), problem.clone())),
            None => self.problems.remove(&object),
        };
        Some(Report { object, owner, problem })
    }

    /// An object's owner and problem; none: there is no such object.
    fn judge(&self, object: &ObjectRef) -> Option<(Owner, Option<String>)> {
        let key = &object.key;
        match object.kind {
            ROUTE => self.index.routes.get(key).map(|it| (it.tracked.owner.clone(), it.tracked.complaint())),
            BACKEND => self.index.backends.get(key).map(|it| (it.tracked.owner.clone(), it.tracked.complaint())),
            SECRET => self.index.secrets.get(key).map(|it| (it.tracked.owner.clone(), it.tracked.complaint())),
            SLICE => self.index.slices.get(key).map(|it| (owner_of(&it.spec.origin), endpoints::check(&it.spec))),
            PROXY => self.index.proxies.get(key).map(|it| (it.owner(), self.complaint_of(key, it))),
            _ => None,
        }
    }

    /// All that is wrong with a gateway, one line each.
    fn complaint_of(&self, _key: &Key, proxy: &Proxy) -> Option<String> {
        let rendered = grouped(proxy);
        let statics = proxy.statics.iter().filter_map(|it| it.rendered.problem.clone());
        let patches = proxy.patch_problems.iter().map(|(what, problem)| format!("{what}: {problem}"));
        let missing = proxy.secrets.iter().filter(|secret| !self.has_certificate(secret));
        let missing = missing.map(|secret| format!("Secret {secret} isn't there or has no usable certificate"));
        let mut lines: Vec<String> = proxy.templates.complaint().into_iter().collect();
        if !proxy.plan.filters.is_empty() && !proxy.can_ask() {
            lines.push(NO_PLACE.to_owned());
        }
        // Equal for every listener when the template doesn't parse.
        for line in rendered.into_iter().chain(statics).chain(patches).chain(proxy.plan.problems.clone()).chain(missing)
        {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

/// Said of a template from before listeners had filters.
const NO_PLACE: &str = "spec.template.envoy.listener has no place for .requestFilters and .routeFilters: listeners with \
                        filters answer 500; take both over from the GatewayTemplate that the platform comes with";

/// What is wrong with rendered listeners: each cause once, with the listeners that have it, unless all of several do.
fn grouped(proxy: &Proxy) -> Vec<String> {
    let mut causes: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, rendered) in &proxy.listeners {
        let Some(problem) = rendered.problem.as_deref() else { continue };
        match causes.iter_mut().find(|(cause, _)| *cause == problem) {
            Some((_, names)) => names.push(name),
            None => causes.push((problem, vec![name])),
        }
    }
    let of_template = proxy.templates.problem.as_deref();
    let line = |(cause, names): (&str, Vec<&str>)| {
        let says_enough = of_template == Some(cause) || names.len() == proxy.listeners.len();
        if says_enough { cause.to_owned() } else { format!("{cause} (listener {})", names.join(", ")) }
    };
    causes.into_iter().map(line).collect()
}
