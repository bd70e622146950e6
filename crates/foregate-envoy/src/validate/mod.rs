//! Envoy's own validation rules (protoc-gen-validate), checked on encoded messages.
//!
//! What Envoy refuses at its door is refused here, before it is published: with every violation at once, the path of
//! each field, and through every Any and TypedStruct. The checker walks the wire format with compiled plans (`plan`)
//! and builds no message, as it runs on the path of every change.

mod check;
pub(crate) mod compile;
mod forms;
pub(crate) mod rules;
mod values;

use std::fmt;

use smallvec::SmallVec;

use crate::parse::from_node;
use crate::path::Path;
use crate::plan::{self, Field, Plan, Scalar, Shape, Special};
use crate::validate::rules::{FieldRules, ListRules, MapRules, ValueRules};
use crate::wire::{Malformed, Raw, Reader};
use crate::{canonical, descriptors, node};
pub(crate) use values::any_parts;
use values::{bytes, default, float, integer, nanoseconds, now, shown_key, unwrapped};

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field, e.g. `routes[0].route.weighted_clusters.clusters[1].weight`; empty for the message itself.
    pub path: String,
    /// The rule by its name in validate.proto, e.g. `string.min_len`, `oneof.required`.
    pub rule: String,
    /// What is wrong. The values of fields that Envoy marks as sensitive aren't in it.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{} ({})", self.message, self.rule)
    }
}

/// Violations after which looking for more is no help.
const MAX_VIOLATIONS: usize = 100;
/// Messages inside messages, as protobuf decoders limit them.
const MAX_DEPTH: usize = 100;

/// Checks an encoded message of that type (a full name or a type URL) by Envoy's rules; empty when it keeps them all.
///
/// Bytes that aren't such a message, and a type that Envoy doesn't have, are violations as well (rules `decode` and
/// `type`). A message of unknown type inside an Any is left alone: a build of Envoy may know it.
pub fn validate(type_name: &str, body: &[u8]) -> Vec<Violation> {
    let mut checker = Checker::default();
    match plan::by_name(type_name) {
        Some(plan) => checker.message(plan, body),
        None => checker.report("type", format!("{type_name:?} is not a message type of Envoy's API")),
    }
    checker.violations
}

#[derive(Default)]
struct Checker {
    path: Path,
    violations: Vec<Violation>,
    depth: usize,
    /// Inside a sensitive field.
    hidden: bool,
}

/// What has been read of one field.
#[derive(Clone, Default)]
struct Seen<'a> {
    count: u64,
    raw: Option<Raw<'a>>,
    /// A message field that came in several pieces, which protobuf merges.
    joined: Option<Vec<u8>>,
    /// Items of a list that must be unique.
    items: Vec<Raw<'a>>,
}

impl Checker {
    fn report(&mut self, rule: &str, message: String) {
        if self.violations.len() < MAX_VIOLATIONS {
            let path = self.path.as_str().to_owned();
            self.violations.push(Violation { path, rule: rule.to_owned(), message });
        }
    }

    fn message(&mut self, plan: &'static Plan, body: &[u8]) {
        if self.depth >= MAX_DEPTH {
            self.report("decode", format!("messages are nested deeper than {MAX_DEPTH} levels"));
            return;
        }
        if plan.disabled || self.violations.len() >= MAX_VIOLATIONS {
            return;
        }
        self.depth += 1;
        let (mark, hidden) = (self.path.mark(), self.hidden);
        let read = match plan.special {
            Special::Any => self.any(body),
            Special::TypedStruct => self.fields(plan, body).and_then(|()| self.typed_struct(body)),
            Special::No => self.fields(plan, body),
        };
        self.depth -= 1;
        // What failed may have left them where it was.
        self.path.cut(mark);
        self.hidden = hidden;
        if read.is_err() {
            self.report("decode", format!("the bytes are not a message of type {}", plan.name));
        }
    }

    fn fields(&mut self, plan: &'static Plan, body: &[u8]) -> Result<(), Malformed> {
        let mut present = Present::default();
        let mut reader = Reader::new(body);
        while let Some((number, raw, _)) = reader.field()? {
            let Some(at) = plan.field(number) else { continue };
            let field = &plan.fields[at];
            if let Some(choice) = field.choice {
                present.retain(|(other, _)| *other == at || plan.fields[*other].choice != Some(choice));
            }
            let seen = seen_of(&mut present, at);
            match field.shape {
                Shape::Single => single(field, seen, raw),
                Shape::List => self.list_items(field, seen, raw)?,
                Shape::Map => self.map_entry(field, seen, raw)?,
            }
        }
        for at in &plan.checked_when_absent {
            seen_of(&mut present, *at);
        }
        present.sort_by_key(|(at, _)| *at);
        for (at, seen) in &present {
            let field = &plan.fields[*at];
            let mark = self.path.mark();
            self.path.field(&field.name);
            let hidden = self.hidden;
            self.hidden |= field.sensitive;
            match field.shape {
                Shape::Single => self.single(field, seen)?,
                Shape::List => self.list(field, seen),
                Shape::Map => self.map(field, seen),
            }
            self.hidden = hidden;
            self.path.cut(mark);
        }
        for rule in &plan.unknown_rules {
            self.report("unsupported", format!("{} has a rule that can't be checked: {rule}", plan.name));
        }
        for required in &plan.required {
            if !present.iter().any(|(at, seen)| seen.count > 0 && required.members.contains(at)) {
                let mut names: Vec<&str> =
                    required.members.iter().filter_map(|at| plan.fields.get(*at)).map(|f| f.name.as_str()).collect();
                names.sort_unstable();
                let message = format!("one of {} must be set (choice {:?})", names.join(", "), required.name);
                self.report("oneof.required", message);
            }
        }
        Ok(())
    }

    /// A field that comes once: its value, or what its absence means.
    fn single(&mut self, field: &Field, seen: &Seen<'_>) -> Result<(), Malformed> {
        let raw = match (&seen.joined, seen.raw) {
            (Some(joined), _) => Some(Raw::Bytes(joined)),
            (None, raw) => raw,
        };
        match raw {
            Some(raw) => self.value(field, field.scalar, field.rules.as_ref(), raw),
            None => {
                let Some(rules) = field.rules.as_ref().filter(|_| field.choice.is_none()) else { return Ok(()) };
                if let Some(rule) = rules.required {
                    self.report(rule, "must be set".to_owned());
                } else if !field.presence {
                    self.value_rules(field, field.scalar, &rules.value, default(field.scalar))?;
                }
                Ok(())
            }
        }
    }

    fn value(
        &mut self,
        field: &Field,
        scalar: Scalar,
        rules: Option<&FieldRules>,
        raw: Raw<'_>,
    ) -> Result<(), Malformed> {
        if let Some(rules) = rules {
            self.value_rules(field, scalar, &rules.value, raw)?;
        }
        if scalar != Scalar::Message || rules.is_some_and(|rules| rules.skip) {
            return Ok(());
        }
        let (Some(plan), Raw::Bytes(body)) = (field.message(), raw) else { return Err(Malformed) };
        self.message(plan, body);
        Ok(())
    }

    /// The rules of one value that isn't a list or map.
    fn value_rules(
        &mut self,
        field: &Field,
        scalar: Scalar,
        rules: &ValueRules,
        raw: Raw<'_>,
    ) -> Result<(), Malformed> {
        if matches!(rules, ValueRules::None | ValueRules::List(_) | ValueRules::Map(_)) {
            return Ok(());
        }
        let (scalar, raw) = if scalar == Scalar::Message { unwrapped(field, raw)? } else { (scalar, raw) };
        let hidden = self.hidden;
        let mut report = |rule: String, message: String| self.report(&rule, message);
        match rules {
            ValueRules::Int(kind, rules) => {
                check::number(kind, rules, integer(scalar, raw)?, &|n| n.to_string(), &mut report);
            }
            ValueRules::Float(kind, rules) => {
                check::number(kind, rules, float(scalar, raw)?, &|n| n.to_string(), &mut report);
            }
            ValueRules::Bool(constant) => check::boolean(*constant, integer(scalar, raw)? != 0, &mut report),
            ValueRules::String(rules) => {
                let text = std::str::from_utf8(bytes(raw)?).map_err(|_| Malformed)?;
                check::string(rules, text, hidden, &mut report);
            }
            ValueRules::Bytes(rules) => check::bytes(rules, bytes(raw)?, &mut report),
            ValueRules::Enum(rules) => {
                let number = i32::try_from(integer(Scalar::Int32, raw)?).map_err(|_| Malformed)?;
                check::enumeration(rules, number, &field.defined, &mut report);
            }
            ValueRules::Any(rules) => check::any(rules, any_parts(bytes(raw)?)?.0, &mut report),
            ValueRules::Duration(rules) => {
                check::number("duration", rules, nanoseconds(bytes(raw)?)?, &check::seconds, &mut report);
            }
            ValueRules::Timestamp(rules) => check::timestamp(rules, nanoseconds(bytes(raw)?)?, now(), &mut report),
            ValueRules::None | ValueRules::List(_) | ValueRules::Map(_) => {}
        }
        Ok(())
    }

    fn list_items<'a>(&mut self, field: &Field, seen: &mut Seen<'a>, raw: Raw<'a>) -> Result<(), Malformed> {
        let rules = list_rules(field);
        let mut packed = match (raw, field.element()) {
            (Raw::Bytes(bytes), Some(element)) => Some((Reader::new(bytes), element)),
            _ => None,
        };
        let mut next = match &mut packed {
            Some((reader, element)) => reader.packed(*element)?,
            None => Some(raw),
        };
        let mark = self.path.mark();
        self.path.field(&field.name);
        let hidden = self.hidden;
        self.hidden |= field.sensitive;
        while let Some(item) = next {
            let inner = self.path.mark();
            self.path.index(usize::try_from(seen.count).unwrap_or(usize::MAX));
            self.value(field, field.scalar, rules.map(|rules| &rules.items), item)?;
            self.path.cut(inner);
            seen.count += 1;
            if rules.is_some_and(|rules| rules.unique) {
                seen.items.push(item);
            }
            next = match &mut packed {
                Some((reader, element)) => reader.packed(*element)?,
                None => None,
            };
        }
        self.hidden = hidden;
        self.path.cut(mark);
        Ok(())
    }

    fn list(&mut self, field: &Field, seen: &Seen<'_>) {
        let Some(rules) = list_rules(field) else { return };
        if seen.count == 0 && rules.ignore_empty {
            return;
        }
        if let Some(least) = rules.min_items.filter(|least| seen.count < *least) {
            self.report("repeated.min_items", format!("needs at least {least} items, it has {}", seen.count));
        }
        if let Some(most) = rules.max_items.filter(|most| seen.count > *most) {
            self.report("repeated.max_items", format!("may have at most {most} items, it has {}", seen.count));
        }
        if let Some((first, second)) = check::repeated(&seen.items) {
            self.report("repeated.unique", format!("items {first} and {second} are equal, each may come only once"));
        }
    }

    fn map_entry(&mut self, field: &Field, seen: &mut Seen<'_>, raw: Raw<'_>) -> Result<(), Malformed> {
        let (mut key, mut value) = (default(field.key), None);
        let mut reader = Reader::new(bytes(raw)?);
        while let Some((number, raw, _)) = reader.field()? {
            match number {
                1 => key = raw,
                2 => value = Some(raw),
                _ => {}
            }
        }
        seen.count += 1;
        let rules = map_rules(field);
        let mark = self.path.mark();
        self.path.field(&field.name);
        self.path.key(&shown_key(field.key, key));
        let hidden = self.hidden;
        self.hidden |= field.sensitive;
        if let Some(rules) = rules {
            self.value_rules(field, field.key, &rules.keys.value, key)?;
            if rules.no_sparse && value.is_none() && field.scalar == Scalar::Message {
                self.report("map.no_sparse", "the key has no value".to_owned());
            }
        }
        let value = value.unwrap_or_else(|| default(field.scalar));
        self.value(field, field.scalar, rules.map(|rules| &rules.values), value)?;
        self.hidden = hidden;
        self.path.cut(mark);
        Ok(())
    }

    fn map(&mut self, field: &Field, seen: &Seen<'_>) {
        let Some(rules) = map_rules(field) else { return };
        if seen.count == 0 && rules.ignore_empty {
            return;
        }
        if let Some(least) = rules.min_pairs.filter(|least| seen.count < *least) {
            self.report("map.min_pairs", format!("needs at least {least} entries, it has {}", seen.count));
        }
        if let Some(most) = rules.max_pairs.filter(|most| seen.count > *most) {
            self.report("map.max_pairs", format!("may have at most {most} entries, it has {}", seen.count));
        }
    }

    fn any(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let (url, value) = any_parts(body)?;
        if let Some(plan) = (!url.is_empty()).then(|| plan::by_name(url)).flatten() {
            self.message(plan, value);
        }
        Ok(())
    }

    /// Maps the struct to the type that it names, where Envoy has it, as Envoy does.
    fn typed_struct(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let (url, value) = any_parts(body)?;
        let Some(desc) = descriptors::message(url).filter(|_| !url.is_empty()) else { return Ok(()) };
        let structure = crate::print::decode("google.protobuf.Struct", value).map_err(|_| Malformed)?;
        let json = crate::print::message_to_json(&structure);
        let mark = self.path.mark();
        self.path.field("value");
        match node::Node::from_json(&json).map_err(|one| vec![one]).and_then(|node| from_node(&desc, &node)) {
            Ok(message) => self.message(plan::of(&desc), &canonical::encode(&message)),
            Err(diagnostics) => {
                for diagnostic in diagnostics {
                    let inner = self.path.mark();
                    if !diagnostic.path.is_empty() {
                        self.path.field(&diagnostic.path);
                    }
                    self.report("typed_struct", diagnostic.message);
                    self.path.cut(inner);
                }
            }
        }
        self.path.cut(mark);
        Ok(())
    }
}

/// The fields that a message has, by index; few, so that a search is faster than a table.
type Present<'a> = SmallVec<[(usize, Seen<'a>); 8]>;

fn seen_of<'p, 'a>(present: &'p mut Present<'a>, at: usize) -> &'p mut Seen<'a> {
    let place = present.iter().position(|(other, _)| *other == at).unwrap_or_else(|| {
        present.push((at, Seen::default()));
        present.len() - 1
    });
    &mut present[place].1
}

/// Takes a singular value: the last one wins, but messages merge.
fn single<'a>(field: &Field, seen: &mut Seen<'a>, raw: Raw<'a>) {
    if let (Scalar::Message, Some(Raw::Bytes(before)), Raw::Bytes(more)) = (field.scalar, seen.raw, raw) {
        seen.joined.get_or_insert_with(|| before.to_vec()).extend_from_slice(more);
    }
    seen.raw = Some(raw);
    seen.count += 1;
}

fn list_rules(field: &Field) -> Option<&ListRules> {
    match field.rules.as_ref()?.value {
        ValueRules::List(ref rules) => Some(rules),
        _ => None,
    }
}

fn map_rules(field: &Field) -> Option<&MapRules> {
    match field.rules.as_ref()?.value {
        ValueRules::Map(ref rules) => Some(rules),
        _ => None,
    }
}
