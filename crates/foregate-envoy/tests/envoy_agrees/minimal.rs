//! The smallest message of a type that keeps all rules.

use std::collections::HashMap;

use foregate_envoy::{Violation, validate};
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, ReflectMessage as _};

use super::values::{Rules, candidates};

/// Smallest messages, each made once.
pub struct Minimal {
    pub rules: Rules,
    made: HashMap<String, DynamicMessage>,
    making: Vec<String>,
}

impl Minimal {
    pub fn new() -> Self {
        Self { rules: Rules::new(), made: HashMap::new(), making: Vec::new() }
    }

    /// The smallest of a type; a type inside itself is left empty.
    pub fn of(&mut self, desc: &MessageDescriptor) -> DynamicMessage {
        let name = desc.full_name().to_owned();
        if let Some(made) = self.made.get(&name) {
            return made.clone();
        }
        let mut message = DynamicMessage::new(desc.clone());
        if self.making.contains(&name) {
            return message;
        }
        self.making.push(name.clone());
        for oneof in desc.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            if self.rules.is_required(&oneof) {
                // A member of a type that is being made already can't be kept; another can.
                let _kept = oneof.fields().any(|field| self.set(&mut message, &field, true));
            }
        }
        let fields: Vec<_> =
            desc.fields().filter(|field| field.containing_oneof().is_none_or(|it| it.is_synthetic())).collect();
        for field in fields {
            self.set(&mut message, &field, false);
        }
        self.making.pop();
        if self.making.is_empty() {
            self.made.insert(name, message.clone());
        }
        message
    }

    /// Gives a field the first value that keeps its rules; whether there is one.
    fn set(&mut self, message: &mut DynamicMessage, field: &FieldDescriptor, must: bool) -> bool {
        let rules = self.rules.of(field);
        if rules.is_none() && !must {
            return true;
        }
        for candidate in candidates(field, rules.as_ref(), self) {
            match candidate {
                None if must => continue,
                None => message.clear_field(field),
                Some(value) => message.set_field(field, value),
            }
            if !violations(message).iter().any(|violation| is_at(violation, field)) {
                return true;
            }
        }
        message.clear_field(field);
        false
    }
}

/// Whether a violation is at a field of the message, or in it.
fn is_at(violation: &Violation, field: &FieldDescriptor) -> bool {
    let rest = violation.path.strip_prefix(field.name());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// What our checker says to a message.
pub fn violations(message: &DynamicMessage) -> Vec<Violation> {
    validate(message.descriptor().full_name(), &message.encode_to_vec())
}
