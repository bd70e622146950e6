//! Validation errors in the words that Kubernetes clients know.

use std::fmt;

use serde_json::Value;

/// What is wrong with a field. The names of the variants are Kubernetes' causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// A required field is missing.
    Required,
    /// The same value or list key twice.
    Duplicate,
    /// A value out of its range, pattern or rule.
    Invalid,
    /// A value of the wrong type.
    TypeInvalid,
    /// A value that is not in the enumeration.
    NotSupported,
    /// A field that may not be set or changed.
    Forbidden,
    /// A string that is too long.
    TooLong,
    /// A list or map with too many entries.
    TooMany,
}

impl FieldErrorKind {
    /// The machine-readable reason of a `StatusCause`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
        }
    }

    fn shows_value(self) -> bool {
        !matches!(self, Self::Required | Self::Forbidden | Self::TooLong)
    }
}

/// One thing that is wrong with an object.
///
/// `Display` gives `<path>: <what>: <value>: <detail>`; [`FieldError::body`] leaves the path out,
/// as `StatusCause.message` does.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// What kind of fault it is.
    pub kind: FieldErrorKind,
    /// Where, for instance `spec.listeners[0].port`; `<nil>` is the object itself.
    pub field: String,
    /// The value as it is shown (scalars as JSON, else the type's name), where one is shown.
    pub value: Option<String>,
    /// What would be right.
    pub detail: String,
}

impl FieldError {
    /// An error at `field` that shows `value`, if its kind shows values.
    pub fn new(kind: FieldErrorKind, field: impl fmt::Display, value: &Value, detail: impl Into<String>) -> Self {
        let field = field.to_string();
        Self {
            kind,
            field: if field.is_empty() { "<nil>".into() } else { field },
            value: kind.shows_value().then(|| shown(value)),
            detail: detail.into(),
        }
    }

    /// A missing field.
    pub fn required(field: impl fmt::Display, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Required, field, &Value::Null, detail)
    }

    /// A value that breaks a rule.
    pub fn invalid(field: impl fmt::Display, value: &Value, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, field, value, detail)
    }

    /// A field that may not be set or changed.
    pub fn forbidden(field: impl fmt::Display, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, field, &Value::Null, detail)
    }

    /// The message without the path.
    pub fn body(&self) -> String {
        let mut out = self.kind.text().to_string();
        for part in self.value.iter().chain((!self.detail.is_empty()).then_some(&self.detail)) {
            out.push_str(": ");
            out.push_str(part);
        }
        out
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl std::error::Error for FieldError {}

/// At most this much of a value is repeated in a message.
const SHOWN_BYTES: usize = 256;

fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "\"object\"".into(),
        Value::Array(_) => "\"array\"".into(),
        scalar => {
            let mut text = scalar.to_string();
            if text.len() > SHOWN_BYTES {
                let end = (0..=SHOWN_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
                text.truncate(end);
                text.push('…');
            }
            text
        }
    }
}
