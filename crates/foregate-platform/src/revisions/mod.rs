//! What a gateway's kept ConfigRevisions tell: a list, the difference between two, and the whole configuration at one.
//!
//! Pure. A ConfigRevision has the old text of each resource that it changed, so an older configuration follows from what
//! is served now by undoing the steps since, newest first ([`rebuild()`]). A pinned revision has a [`Snapshot`](foregate_api::revision::Snapshot) besides,
//! which needs no step. Endpoints and secrets are never among the resources: at any revision they are the present ones.
//!
//! ```text
//! web-3 ── web-4 ── web-5 ── web-6 ── now
//!                     ◀─undo──◀─undo──┘    rebuild(web-4)
//! ```

mod diff;
mod rebuild;
mod snapshot;

use std::collections::BTreeMap;
use std::fmt;

use foregate_api::Origin;
use foregate_api::revision::ConfigRevision;
use jiff::Timestamp;
use kube::ResourceExt as _;

pub use diff::{ResourceDiff, Side, diff};
pub use rebuild::{Kept, rebuild};
pub(crate) use snapshot::parts;

/// Sum over all resources that were served after a step. A step that is too large for one object is written as several:
/// only the last of them has it.
pub(crate) const DIGEST: &str = "foregate.dev/config-digest";

/// Type URL and name of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Named {
    /// Type URL, e.g. `type.googleapis.com/envoy.config.listener.v3.Listener`.
    pub type_url: String,
    /// Name.
    pub name: String,
}

impl Named {
    /// Of a type URL and a name.
    pub fn new(type_url: impl Into<String>, name: impl Into<String>) -> Self {
        Self { type_url: type_url.into(), name: name.into() }
    }

    /// The message's short name, e.g. `Listener`.
    pub fn kind(&self) -> &str {
        self.type_url.rsplit(['.', '/']).next().unwrap_or(&self.type_url)
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.name)
    }
}

/// Versions (content hashes) of what a gateway serves now, without endpoints and secrets.
pub type Versions = BTreeMap<Named, String>;

/// Why a revision can't be looked at. Each says what can be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    /// There is no such revision (any more).
    #[error("ConfigRevision {name} isn't kept (any more); {kept}")]
    Gone {
        /// Its name.
        name: String,
        /// Which there are, in words.
        kept: String,
    },
    /// It is the beginning of a step that was too large for one object: it was never served by itself.
    #[error("{name} is a part of a step that ends with {last}; take {last}, or the revision before {name}")]
    Part {
        /// Its name.
        name: String,
        /// The last of the step.
        last: String,
    },
    /// Something has changed that no revision tells.
    #[error("what was served at {name} can't be told: {reason}")]
    Broken {
        /// Its name.
        name: String,
        /// Where the chain of revisions ends.
        reason: String,
    },
    /// A resource of the revision can't be made from its text.
    #[error(
        "{resource} of {name} can't be made again from what was kept: its text leaves out what Envoy calls sensitive"
    )]
    Unreadable {
        /// The revision's name.
        name: String,
        /// Kind and name.
        resource: String,
    },
}

/// One kept revision, for a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Its name, e.g. `web-7`.
    pub name: String,
    /// Its number, counting up per gateway.
    pub number: u64,
    /// When it was published.
    pub time: Timestamp,
    /// Whose changes it was.
    pub causes: Vec<Origin>,
    /// What changed.
    pub changes: Vec<Named>,
    /// What was refused: origin and why.
    pub refusals: Vec<(Origin, String)>,
    /// Whether what was before it isn't known: something had changed while the platform was away.
    pub cut: bool,
    /// Whether it is the beginning of a step that goes on with the next, and was never served by itself.
    pub partial: bool,
}

/// A gateway's kept revisions, oldest first.
pub fn list(revisions: &[ConfigRevision], proxy: &str) -> Vec<Summary> {
    let steps = steps(revisions, proxy);
    let oldest = steps.first().map(|step| step.spec.number);
    let summary = |step: &&ConfigRevision| Summary {
        name: step.name_any(),
        number: step.spec.number,
        time: step.spec.time.0,
        causes: step.spec.causes.clone(),
        changes: step.spec.changes.iter().map(|change| Named::new(&change.type_url, &change.name)).collect(),
        refusals: step.spec.refusals.iter().map(|it| (it.origin.clone(), it.message.clone())).collect(),
        cut: step.spec.parent.is_none() && Some(step.spec.number) != oldest,
        partial: is_partial(step),
    };
    steps.iter().map(summary).collect()
}

/// The steps of a gateway, in order; without the parts of snapshots.
fn steps<'a>(revisions: &'a [ConfigRevision], proxy: &str) -> Vec<&'a ConfigRevision> {
    let ours = |it: &&ConfigRevision| it.spec.proxy == proxy && it.spec.snapshot.is_none();
    let mut steps: Vec<_> = revisions.iter().filter(ours).collect();
    steps.sort_by_key(|step| step.spec.number);
    steps
}

fn is_partial(step: &ConfigRevision) -> bool {
    !step.annotations().contains_key(DIGEST)
}

/// The place of a revision among the steps, if every step after it follows from the one before.
fn place(steps: &[&ConfigRevision], name: &str) -> Result<usize, RevisionError> {
    let at = steps.iter().position(|step| step.name_any() == name);
    let at = at.ok_or_else(|| gone(steps, name))?;
    let mut rest = steps.get(at..).unwrap_or_default().iter();
    if rest.clone().next().is_some_and(|step| is_partial(step)) {
        let last = rest.find(|step| !is_partial(step)).or(steps.last()).map(|step| step.name_any()).unwrap_or_default();
        return Err(RevisionError::Part { name: name.to_owned(), last });
    }
    for pair in steps.get(at..).unwrap_or_default().windows(2) {
        let [before, after] = pair else { continue };
        if after.spec.parent.as_deref() != Some(&*before.name_any()) {
            let (before, after) = (before.name_any(), after.name_any());
            let reason = format!("what changed between {before} and {after} isn't known");
            return Err(RevisionError::Broken { name: name.to_owned(), reason });
        }
    }
    Ok(at)
}

fn gone(steps: &[&ConfigRevision], name: &str) -> RevisionError {
    let kept = match (steps.first(), steps.last()) {
        (Some(first), Some(last)) if steps.len() > 1 => {
            format!("kept are {} to {}", first.name_any(), last.name_any())
        }
        (Some(only), _) => format!("kept is {}", only.name_any()),
        _ => "none is kept".to_owned(),
    };
    RevisionError::Gone { name: name.to_owned(), kept }
}

#[cfg(test)]
mod tests;
