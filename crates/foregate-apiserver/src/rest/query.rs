//! Query parameters.

use super::path::percent;
use crate::error::ApiError;
use crate::schema::FieldValidation;

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part after `?`.
    pub fn parse(text: Option<&str>) -> Self {
        let text = text.unwrap_or_default();
        let decode = |s: &str| percent(s.replace('+', " ").as_bytes()).unwrap_or_default();
        Self(
            text.split('&')
                .filter(|p| !p.is_empty())
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key), decode(value))
                })
                .collect(),
        )
    }

    /// The first value of a parameter, if it is there and not empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// A boolean parameter: `true` and `1`.
    pub fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some("true" | "1" | "True"))
    }

    /// A number.
    ///
    /// # Errors
    /// 400 when it is not one.
    pub fn number(&self, key: &str) -> Result<Option<u64>, ApiError> {
        self.get(key)
            .map(|v| v.parse().map_err(|_| ApiError::bad_request(format!("invalid {key}: {v:?} is not a number"))))
            .transpose()
    }

    /// Whether nothing is to be stored.
    ///
    /// # Errors
    /// 400 for anything but `All`.
    pub fn dry_run(&self) -> Result<bool, ApiError> {
        match self.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(ApiError::bad_request(format!("invalid dryRun: {other:?}: only \"All\" is supported"))),
        }
    }

    /// `fieldValidation`
    ///
    /// # Errors
    /// 400 for an unknown one.
    pub fn field_validation(&self) -> Result<FieldValidation, ApiError> {
        let text = self.get("fieldValidation").unwrap_or_default();
        FieldValidation::parse(text).ok_or_else(|| {
            ApiError::bad_request(format!("invalid fieldValidation: {text:?}: use Ignore, Warn or Strict"))
        })
    }
}
