//! The kinds that an API serves, by every name that they have.

use serde::Serialize;
use serde_json::Value;

use super::api::ApiServer;
use super::error::CliError;

/// Aggregated discovery (KEP-3352).
const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kind {
    /// Its group; empty for the core's.
    pub group: String,
    /// Its version.
    pub version: String,
    /// E.g. `Gateway`.
    pub kind: String,
    /// E.g. `gateways`.
    pub plural: String,
    /// E.g. `gateway`.
    pub singular: String,
    /// E.g. `gtw`.
    pub short_names: Vec<String>,
    /// E.g. `foregate`.
    pub categories: Vec<String>,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

impl Kind {
    /// E.g. `gateway.networking.k8s.io/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The path of its objects, of all namespaces or of one.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.group) };
        let place = namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
        format!("{root}/{}{place}/{}", self.version, self.plural)
    }

    fn answers_to(&self, asked: &str) -> bool {
        let asked = asked.to_lowercase();
        let (name, group) = asked.split_once('.').map_or((asked.as_str(), None), |(name, group)| (name, Some(group)));
        let named = [&self.plural, &self.singular, &self.kind.to_lowercase()].into_iter().any(|own| own == name)
            || self.short_names.iter().any(|own| own == name);
        named && group.is_none_or(|group| self.group == group || self.group.starts_with(&format!("{group}.")))
    }
}

/// Every kind that can be listed, the first version of each group.
///
/// # Errors
/// When the API can't be read.
pub async fn all(api: &ApiServer) -> Result<Vec<Kind>, CliError> {
    let mut kinds = Vec::new();
    for path in ["/api", "/apis"] {
        let groups = api.get_json(path, DISCOVERY).await?;
        for group in groups["items"].as_array().into_iter().flatten() {
            let name = group["metadata"]["name"].as_str().unwrap_or_default();
            let version = &group["versions"][0];
            for resource in version["resources"].as_array().into_iter().flatten() {
                kinds.extend(read(name, version, resource));
            }
        }
    }
    kinds.sort_by(|a, b| (&a.group, &a.plural).cmp(&(&b.group, &b.plural)));
    Ok(kinds)
}

fn read(group: &str, version: &Value, resource: &Value) -> Option<Kind> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
    texts(&resource["verbs"]).iter().any(|verb| verb == "list").then(|| Kind {
        group: group.to_owned(),
        version: text(&version["version"]),
        kind: text(&resource["responseKind"]["kind"]),
        plural: text(&resource["resource"]),
        singular: text(&resource["singularResource"]),
        short_names: texts(&resource["shortNames"]),
        categories: texts(&resource["categories"]),
        namespaced: resource["scope"] == "Namespaced",
    })
}

/// The kinds that are asked for, by any of their names, or by a category.
///
/// # Errors
/// When there is none, or a name means several.
pub fn choose<'a>(known: &'a [Kind], asked: &str) -> Result<Vec<&'a Kind>, CliError> {
    let mut chosen: Vec<&Kind> = Vec::new();
    for name in asked.split(',').filter(|name| !name.is_empty()) {
        let named: Vec<&Kind> = known.iter().filter(|kind| kind.answers_to(name)).collect();
        let found = match named.len() {
            0 => known.iter().filter(|kind| kind.categories.iter().any(|it| it == name)).collect(),
            1 => named,
            _ => {
                let full: Vec<String> = named.iter().map(|it| format!("{}.{}", it.plural, it.group)).collect();
                let next = format!("name one of {}", full.join(", "));
                return Err(CliError::usage(format!("{name} may be several kinds"), next));
            }
        };
        if found.is_empty() {
            return Err(unknown(known, name));
        }
        chosen.extend(found);
    }
    if chosen.is_empty() {
        return Err(CliError::usage("no kind is named", "name one, such as gateways"));
    }
    Ok(chosen)
}

fn unknown(known: &[Kind], name: &str) -> CliError {
    let start = name.to_lowercase().chars().take(3).collect::<String>();
    let near: Vec<&str> =
        known.iter().filter(|kind| kind.plural.contains(&start)).map(|kind| kind.plural.as_str()).take(8).collect();
    let next = match near.as_slice() {
        [] => "`foregate get` lists the kinds that there are".to_owned(),
        near => format!("perhaps {}; `foregate get` lists all kinds", near.join(", ")),
    };
    CliError::usage(format!("the API has no kind {name:?}"), next)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn kind(group: &str, kind: &str, short: &str) -> Kind {
        let singular = kind.to_lowercase();
        Kind {
            group: group.into(),
            version: "v1".into(),
            kind: kind.into(),
            plural: format!("{singular}s"),
            singular,
            short_names: vec![short.into()],
            categories: vec!["all".into()],
            namespaced: true,
        }
    }

    #[test]
    fn kinds_answer_to_all_of_their_names() {
        let known = [kind("g.io", "Gateway", "gtw"), kind("h.io", "Gateway", "gw"), kind("", "Service", "svc")];
        let plurals = |asked: &str| choose(&known, asked).map(|it| it.len()).map_err(|error| error.to_string());
        for (asked, count) in
            [("svc", 1), ("Service", 1), ("services,gtw", 2), ("gateways.g.io", 1), ("gateway.h", 1), ("all", 3)]
        {
            assert_eq!(plurals(asked), Ok(count), "{asked}");
        }
        assert_eq!(plurals("gateways"), Err("gateways may be several kinds".to_owned()));
        assert_eq!(plurals("pods"), Err("the API has no kind \"pods\"".to_owned()));
        assert!(choose(&known, "servce").unwrap_err().next.unwrap().contains("services"));
        assert_eq!(known[0].path(Some("a")), "/apis/g.io/v1/namespaces/a/gateways");
        assert_eq!(known[2].path(None), "/api/v1/services");
    }
}
