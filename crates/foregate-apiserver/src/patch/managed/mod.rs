//! `metadata.managedFields`: who owns which field.

mod apply;
mod entries;
mod update;

use crate::schema::Schema;

pub use super::conflict::{Conflict, Conflicts};
pub use super::typed::TypeError;
pub use apply::{ApplyError, apply};
pub use update::update;

/// Who writes, where, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The schema of the object's kind and version.
    pub schema: &'a Schema,
    /// The manager's name: [`manager`].
    pub manager: &'a str,
    /// The request's `apiVersion`.
    pub api_version: &'a str,
    /// The subresource that is written, for instance `status`; `None` for the object itself.
    pub subresource: Option<&'a str>,
    /// Whether the kind has a status subresource: writes to the object then don't own `status`,
    /// and writes to `status` own nothing else.
    pub has_status: bool,
    /// The time of the write, RFC 3339 in UTC with seconds.
    pub now: &'a str,
}

/// Longest name of a manager, in bytes.
pub const MANAGER_BYTES: usize = 128;

/// The manager's name of a write: `?fieldManager=`, or else the start of the user agent.
pub fn manager(field_manager: Option<&str>, user_agent: &str) -> String {
    if let Some(name) = field_manager.filter(|name| !name.is_empty()) {
        return name.to_string();
    }
    let name = user_agent.split('/').next().unwrap_or_default();
    let mut out = String::new();
    for c in name.chars().filter(|c| !c.is_control()) {
        if out.len() + c.len_utf8() > MANAGER_BYTES {
            break;
        }
        out.push(c);
    }
    if out.is_empty() { "unknown".to_string() } else { out }
}

/// What is wrong with a `?fieldManager=`, if anything is.
pub fn manager_fault(name: &str) -> Option<String> {
    if name.len() > MANAGER_BYTES {
        return Some(format!("fieldManager may not be longer than {MANAGER_BYTES} bytes"));
    }
    let bad = name.chars().position(char::is_control)?;
    Some(format!("fieldManager should only contain printable characters: character {bad} is not"))
}
