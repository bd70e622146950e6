//! What a kind's schema does to a request.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};

use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::builtin::Builtin;
use crate::error::{ApiError, Cause};
use crate::schema::{NameRule, Schema, validate_metadata};

/// Compiled schemas are kept while a kind uses them; at most this many without one: a definition is checked by
/// compiling its schemas, and most of those are never written to.
const SPARE: usize = 2;

type Fingerprint = [u8; 32];

/// Compiling the rules of a schema takes milliseconds: a definition's is compiled once, whoever asks.
static COMPILED: LazyLock<Mutex<HashMap<Fingerprint, Arc<Schema>>>> = LazyLock::new(Mutex::default);

/// Schema and everything that follows from it.
#[derive(Debug)]
pub enum Rules {
    /// Of a built-in kind.
    Builtin(&'static Builtin),
    /// Of a definition's version; compiled when it is first needed.
    Definition(Box<Lazy>),
}

/// A definition's schema.
#[derive(Debug)]
pub struct Lazy {
    /// `openAPIV3Schema` as JSON: a fifth of what it takes when read, and it is seldom wanted.
    source: Box<str>,
    fingerprint: Fingerprint,
    compiled: OnceLock<Result<Arc<Schema>, String>>,
}

impl Lazy {
    /// `openAPIV3Schema`
    pub fn source(&self) -> Value {
        // Written by this process from a value, so it can be read.
        serde_json::from_str(&self.source).unwrap_or_default()
    }
}

impl Rules {
    /// For a definition's `openAPIV3Schema`.
    pub fn definition(source: &Value) -> Self {
        let source = source.to_string();
        let fingerprint = Sha256::digest(&source).into();
        Self::Definition(Box::new(Lazy { source: source.into(), fingerprint, compiled: OnceLock::new() }))
    }

    /// The compiled schema.
    ///
    /// # Errors
    /// When it can't be compiled; definitions are refused then, so this is a stored one that an older server took.
    pub fn schema(&self) -> Result<&Schema, ApiError> {
        match self {
            Self::Builtin(builtin) => {
                builtin.schema().map_err(|e| ApiError::internal(format!("the schema of {}: {e}", builtin.kind)))
            }
            Self::Definition(lazy) => {
                let compiled = lazy.compiled.get_or_init(|| compile(&lazy.source(), lazy.fingerprint));
                match compiled {
                    Ok(schema) => Ok(schema),
                    Err(error) => Err(ApiError::internal(format!("the definition's schema can't be used: {error}"))),
                }
            }
        }
    }

    /// What fills in fields that no schema has a default for.
    pub fn complete(&self, object: &mut Value) {
        if let Self::Builtin(builtin) = self {
            builtin.complete(object);
        }
    }

    /// Everything that is wrong with `new`.
    ///
    /// # Errors
    /// As [`Rules::schema`].
    pub fn validate(&self, new: &Value, old: Option<&Value>, namespaced: bool) -> Result<Vec<Cause>, ApiError> {
        let names = match self {
            Self::Builtin(builtin) => builtin.names,
            Self::Definition(_) => NameRule::Subdomain,
        };
        let mut errors = validate_metadata(new, names, namespaced);
        errors.extend(self.schema()?.validate(new, old));
        if let Self::Builtin(builtin) = self {
            errors.extend(builtin.validate(new, old));
        }
        Ok(errors.into_iter().map(Cause::from).collect())
    }

    /// Differs when the schema does.
    pub fn fingerprint(&self) -> &[u8] {
        match self {
            // Built-in schemas change with the server only, whose version is hashed as well.
            Self::Builtin(builtin) => builtin.definition.as_bytes(),
            Self::Definition(lazy) => &lazy.fingerprint,
        }
    }
}

/// Whether a definition's schema can be used; why not.
///
/// # Errors
/// What is wrong with it.
pub fn check(source: &Value) -> Result<(), String> {
    compile(source, fingerprint(source)).map(drop)
}

fn fingerprint(source: &Value) -> Fingerprint {
    Sha256::digest(source.to_string()).into()
}

fn compile(source: &Value, fingerprint: Fingerprint) -> Result<Arc<Schema>, String> {
    if let Some(schema) = COMPILED.lock().get(&fingerprint) {
        return Ok(schema.clone());
    }
    let schema = Arc::new(Schema::compile(source).map_err(|e| e.to_string())?);
    let mut compiled = COMPILED.lock();
    if compiled.values().filter(|s| Arc::strong_count(s) == 1).count() > SPARE {
        compiled.retain(|_, s| Arc::strong_count(s) > 1);
    }
    compiled.insert(fingerprint, schema.clone());
    Ok(schema)
}
