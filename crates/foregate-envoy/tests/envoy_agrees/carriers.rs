//! Which messages an Envoy takes, and where.

use foregate_envoy::{ResourceKind, descriptors};
use prost::Message as _;
use prost_reflect::MessageDescriptor;

use super::live::{Answer, Live, Question};
use super::minimal::{Minimal, violations};
use super::slots::{self, Slot};
use super::verdict::{Verdict, read};

/// A message that Envoy checks by itself: a resource, or an extension's configuration in one.
pub struct Carrier {
    pub desc: MessageDescriptor,
    pub kind: ResourceKind,
    /// None: the message is the resource.
    pub slot: Option<usize>,
    /// Whether Envoy accepts its smallest message.
    pub accepted: bool,
}

pub struct Carriers {
    pub slots: Vec<Slot>,
    pub all: Vec<Carrier>,
}

impl Carriers {
    /// An encoded message in its resource.
    pub fn question(&self, carrier: &Carrier, message: &[u8]) -> Question {
        let body = match carrier.slot {
            Some(slot) => self.slots[slot].filled(carrier.desc.full_name(), message),
            None => message.to_vec(),
        };
        Question { kind: carrier.kind, body }
    }
}

/// Tries every message of a slot's packages in it, with a message that keeps all rules.
pub async fn discover(live: &mut Live, minimal: &mut Minimal) -> Carriers {
    let types: Vec<MessageDescriptor> =
        descriptors::pool().all_messages().filter(|desc| desc.parent_message().is_none()).collect();
    let mut carriers = Carriers { slots: slots::all(), all: Vec::new() };
    let mut tried = Vec::new();
    for kind in [ResourceKind::Listener, ResourceKind::Cluster] {
        let desc = descriptors::message(kind.type_url()).unwrap();
        tried.push(Carrier { desc, kind, slot: None, accepted: true });
    }
    for (at, slot) in carriers.slots.iter().enumerate() {
        let fits =
            |desc: &&MessageDescriptor| slot.packages.iter().any(|package| desc.full_name().starts_with(package));
        for desc in types.iter().filter(fits) {
            tried.push(Carrier { desc: desc.clone(), kind: slot.kind, slot: Some(at), accepted: false });
        }
    }
    let mut questions = Vec::new();
    for carrier in &tried {
        let message = minimal.of(&carrier.desc);
        assert_eq!(violations(&message), [], "{} can't be made", carrier.desc.full_name());
        let mut message = message.encode_to_vec();
        // An empty message of a wrong type passes as one of the right type. A field that nobody knows is ignored.
        message.extend([0xf8, 0xff, 0xff, 0xff, 0x0f, 1]);
        questions.push(carriers.question(carrier, &message));
    }
    let answers = live.ask(&questions).await;
    for (mut carrier, answer) in tried.into_iter().zip(answers) {
        if takes(&answer) || carrier.slot.is_none() {
            carrier.accepted |= answer == Answer::Accepted;
            carriers.all.push(carrier);
        }
    }
    carriers
}

/// Whether Envoy took a message for what it is. One that it refuses for its constraints, though it keeps them, it took
/// for another extension's.
fn takes(answer: &Answer) -> bool {
    const UNKNOWN: [&str; 6] = [
        "find a registered",
        "Unable to unpack",
        "doesn't support virtual host or route specific",
        "Failed to get certificate validator factory",
        "No supported endpoint picking policy",
        "requirement violation while creating",
    ];
    // What is asked for inside of it isn't there: it was read itself.
    const INSIDE: &str = "with type URL: 'google.protobuf.Empty'";
    match answer {
        Answer::Refused(text) if text.contains(INSIDE) => true,
        Answer::Accepted => true,
        Answer::Died => false,
        Answer::Refused(text) => {
            !matches!(read(Some(text)), Verdict::Broken(_)) && !UNKNOWN.iter().any(|unknown| text.contains(unknown))
        }
    }
}
