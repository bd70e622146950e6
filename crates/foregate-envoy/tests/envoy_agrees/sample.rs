//! The messages that both judge.

use std::collections::BTreeMap;

use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor};

use super::carriers::{Carrier, Carriers};
use super::live::Question;
use super::minimal::{Minimal, violations};
use super::reach;
use super::values::candidates;

/// One message.
pub struct Sample {
    /// The field or oneof that it is about, e.g. `envoy.config.route.v3.Route.match`.
    pub target: String,
    /// The value, for people.
    pub shown: String,
    /// The message that Envoy checks, its type, and what Envoy is sent.
    pub carried: String,
    pub message: Vec<u8>,
    pub question: Question,
}

/// Where a message type is found.
struct Found<'a> {
    carrier: &'a Carrier,
    desc: MessageDescriptor,
    way: Vec<FieldDescriptor>,
}

/// For each field with rules that is found: messages with every value worth trying.
pub fn all(carriers: &Carriers, minimal: &mut Minimal) -> Vec<Sample> {
    let mut found: BTreeMap<String, Found<'_>> = BTreeMap::new();
    for carrier in &carriers.all {
        for (desc, way) in reach::inside(&carrier.desc, minimal) {
            // Rather where Envoy accepts, then the shorter way.
            let rank = |found: &Found<'_>| (!found.carrier.accepted, found.way.len());
            let new = Found { carrier, desc: desc.clone(), way };
            match found.get(desc.full_name()) {
                Some(old) if rank(old) <= rank(&new) => {}
                _ => drop(found.insert(desc.full_name().to_owned(), new)),
            }
        }
    }
    let mut samples = Vec::new();
    for found in found.values() {
        of_fields(carriers, found, minimal, &mut samples);
        of_oneofs(carriers, found, minimal, &mut samples);
    }
    samples
}

fn of_fields(carriers: &Carriers, found: &Found<'_>, minimal: &mut Minimal, samples: &mut Vec<Sample>) {
    for field in found.desc.fields() {
        let Some(rules) = minimal.rules.of(&field) else { continue };
        for candidate in candidates(&field, Some(&rules), minimal) {
            let mut message = minimal.of(&found.desc);
            let shown = candidate.as_ref().map_or_else(|| "absent".to_owned(), ToString::to_string);
            let shown = shown.chars().take(80).collect();
            match candidate {
                Some(value) => message.set_field(&field, value),
                None => message.clear_field(&field),
            }
            add(carriers, found, field.name(), shown, message, minimal, samples);
        }
    }
}

fn of_oneofs(carriers: &Carriers, found: &Found<'_>, minimal: &mut Minimal, samples: &mut Vec<Sample>) {
    for oneof in found.desc.oneofs() {
        if !minimal.rules.is_required(&oneof) {
            continue;
        }
        let mut none = minimal.of(&found.desc);
        oneof.fields().for_each(|field| none.clear_field(&field));
        add(carriers, found, oneof.name(), "nothing".to_owned(), none.clone(), minimal, samples);
        for field in oneof.fields() {
            let rules = minimal.rules.of(&field);
            // The first that keeps its rules shows that the oneof is content with this member.
            let values = candidates(&field, rules.as_ref(), minimal).into_iter().flatten();
            let message = values
                .map(|value| {
                    let mut message = none.clone();
                    message.set_field(&field, value);
                    message
                })
                .find(|message| violations(message).is_empty());
            if let Some(message) = message {
                add(carriers, found, oneof.name(), field.name().to_owned(), message, minimal, samples);
            }
        }
    }
}

fn add(
    carriers: &Carriers,
    found: &Found<'_>,
    name: &str,
    shown: String,
    message: DynamicMessage,
    minimal: &mut Minimal,
    samples: &mut Vec<Sample>,
) {
    let message = reach::put(&found.carrier.desc, &found.way, message, minimal).encode_to_vec();
    samples.push(Sample {
        target: format!("{}.{name}", found.desc.full_name()),
        shown,
        carried: found.carrier.desc.full_name().to_owned(),
        question: carriers.question(found.carrier, &message),
        message,
    });
}
