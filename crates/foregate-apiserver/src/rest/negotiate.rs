//! What a client wants to be answered with.

use http::HeaderMap;
use http::header::ACCEPT;

use crate::error::ApiError;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum View {
    /// The objects.
    #[default]
    Object,
    /// `meta.k8s.io/v1` Table: what `kubectl get` prints.
    Table,
    /// `meta.k8s.io/v1` PartialObjectMetadata.
    Partial,
}

/// The form and encoding of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Accept {
    /// Its form.
    pub view: View,
    /// YAML instead of JSON.
    pub yaml: bool,
}

/// Reads the `Accept` header: the first alternative that is possible wins.
///
/// # Errors
/// 406 when none is.
pub fn accept(headers: &HeaderMap) -> Result<Accept, ApiError> {
    let Some(header) = headers.get(ACCEPT) else { return Ok(Accept::default()) };
    let text = header.to_str().unwrap_or_default();
    if text.trim().is_empty() {
        return Ok(Accept::default());
    }
    text.split(',').find_map(alternative).ok_or_else(ApiError::not_acceptable)
}

fn alternative(text: &str) -> Option<Accept> {
    let mut parts = text.split(';').map(str::trim);
    let yaml = match parts.next()? {
        "application/json" | "*/*" | "application/*" => false,
        "application/yaml" => true,
        _ => return None,
    };
    let mut accept = Accept { view: View::Object, yaml };
    let mut group = None;
    for part in parts {
        match part.split_once('=')? {
            ("as", "Table") => accept.view = View::Table,
            ("as", "PartialObjectMetadata" | "PartialObjectMetadataList") => accept.view = View::Partial,
            ("as", _) => return None,
            ("g", g) => group = Some(g),
            ("v", v) if v != "v1" => return None,
            ("stream", _) => return None,
            _ => {}
        }
    }
    (accept.view == View::Object || group == Some("meta.k8s.io")).then_some(accept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(text: &str) -> Option<(View, bool)> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, http::HeaderValue::from_str(text).ok()?);
        accept(&headers).ok().map(|a| (a.view, a.yaml))
    }

    #[test]
    fn the_first_possible_alternative_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(view(table), Some((View::Table, false)));
        assert_eq!(
            view("application/json;as=Table;v=v1beta1;g=meta.k8s.io, application/json"),
            Some((View::Object, false))
        );
        assert_eq!(view("application/vnd.kubernetes.protobuf"), None);
        assert_eq!(view("application/vnd.kubernetes.protobuf,application/json"), Some((View::Object, false)));
        assert_eq!(view("application/yaml"), Some((View::Object, true)));
        assert_eq!(view("*/*"), Some((View::Object, false)));
    }
}
