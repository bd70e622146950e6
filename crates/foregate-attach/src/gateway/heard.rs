//! What is known of what became of a claim: what its platform says of it, or, as long as the platform hasn't been heard
//! since this controller started, what the status of its Gateway or ListenerSet still says.

use foregate_api::claim::GatewayClaimStatus;
use foregate_api::condition::{MAX_MESSAGE, find, unknown};
use foregate_api::gateway::conditions::{PROGRAMMED, reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};

use super::ParentId;
use super::listener_status::Stamp;
use crate::Attach;
use crate::output::DerivedKind;
use crate::target::{ClaimFeedback, Health};

/// Between why nothing new is heard and the message that was heard last.
const LAST: &str = ". What is shown may be out of date; the platform said last: ";
/// Reasons of Programmed=False that are this controller's own: they are found anew.
const OWN_REASONS: [&str; 2] = [reason::INVALID, reason::PARENT_NOT_PROGRAMMED];

/// What is known of what became of a claim.
pub(super) struct Heard<'a> {
    /// What the platform says, of whichever generation.
    pub feedback: Option<&'a ClaimFeedback>,
    /// What it says of this generation.
    pub current: Option<&'a GatewayClaimStatus>,
    /// Whether it hasn't been heard yet: what it said to an earlier controller counts.
    pub is_unheard: bool,
    health: Option<&'a Health>,
}

impl Attach {
    /// What is known of the claim of an object.
    pub(super) fn heard(&self, parent: &ParentId, object: &ObjectMeta) -> Heard<'_> {
        let id = self.target_of(parent);
        let (target, name) = (self.targets.get(id), self.claim_name(id, object));
        let feedback = target.feedback.claims.get(&name);
        let current = feedback.filter(|f| {
            f.status.origin_generation == object.generation.unwrap_or_default()
                && f.generation.is_none_or(|g| g == f.status.observed_generation)
                && target.book.is_settled(&(DerivedKind::Claim, name))
        });
        Heard {
            feedback,
            current: current.map(|f| &f.status),
            is_unheard: feedback.is_none() && !target.is_open(),
            health: target.health.as_ref(),
        }
    }
}

impl Heard<'_> {
    /// Programmed as a status has it that was written before, if that may still be what the platform would say.
    pub fn kept<'c>(&self, stamp: &Stamp<'_>, before: &'c [Condition]) -> Option<&'c Condition> {
        let kept = find(before, PROGRAMMED).filter(|_| self.is_unheard)?;
        let is_theirs = match kept.status.as_str() {
            "True" => true,
            "False" => !OWN_REASONS.contains(&kept.reason.as_str()),
            _ => false,
        };
        (is_theirs && kept.observed_generation == Some(stamp.generation)).then_some(kept)
    }

    /// What the platform said, with why it may have become untrue.
    pub fn doubted(&self, mut theirs: Condition) -> Condition {
        let said = theirs.message.split_once(LAST).map_or(theirs.message.as_str(), |(_, said)| said);
        theirs.message = match self.health {
            // Nobody has asked yet.
            None => return theirs,
            Some(Health::Refused(why) | Health::Disowned(why))
                if why.len() + LAST.len() + said.len() <= MAX_MESSAGE =>
            {
                let said = if said.is_empty() { &theirs.reason } else { said };
                format!("{why}{LAST}{said}")
            }
            Some(_) => said.to_owned(),
        };
        theirs
    }

    /// Programmed of what the platform hasn't taken yet.
    pub fn pending(&self, stamp: &Stamp<'_>) -> Condition {
        let message = "the platform hasn't taken this generation yet";
        let message = match self.health {
            Some(Health::Refused(why) | Health::Disowned(why) | Health::Away(why)) => format!("{message}: {why}"),
            Some(Health::Good { .. }) | None => message.to_owned(),
        };
        unknown(PROGRAMMED, reason::PENDING, message, stamp.generation, stamp.now)
    }
}
