//! One encoding for one content: map entries in the order of their keys.
//!
//! Maps are hash maps in every Rust message type, so that plain encoding gives other bytes in every process; but the
//! version of a resource is the hash of its bytes, and replicas must agree on it.

use std::ops::Range;

use prost::Message as _;
use prost_reflect::{DynamicMessage, ReflectMessage as _};

use crate::plan::{self, Plan, Scalar, Shape, Special};
use crate::validate::any_parts;
use crate::wire::{Malformed, Raw, Reader};

/// Messages inside messages, as protobuf decoders limit them.
const MAX_DEPTH: usize = 100;

/// Encodes a message canonically.
pub fn encode(message: &DynamicMessage) -> Vec<u8> {
    let mut body = message.encode_to_vec();
    // What has just been encoded is well-formed.
    let _ = sort_message(plan::of(&message.descriptor()), &mut body, 0);
    body
}

/// Brings an encoded message of that type (a full name or a type URL) into canonical form, in place, through Anys.
///
/// Sorting changes no length. A type that isn't known, and what doesn't decode, is left as it is.
pub fn sort(type_name: &str, body: &mut [u8]) {
    if let Some(plan) = plan::by_name(type_name) {
        let _ = sort_message(plan, body, 0);
    }
}

fn sort_message(plan: &'static Plan, body: &mut [u8], depth: usize) -> Result<(), Malformed> {
    if depth >= MAX_DEPTH {
        return Ok(());
    }
    if plan.special == Special::Any {
        let (url, value) = any_parts(body)?;
        let (Some(plan), Some(range)) = (plan::by_name(url), range_within(body, value)) else { return Ok(()) };
        return body.get_mut(range).map_or(Ok(()), |inner| sort_message(plan, inner, depth + 1));
    }
    // Where nested messages and map entries lie; sorting must not begin while the reader borrows the bytes.
    let mut nested: Vec<(usize, Range<usize>)> = Vec::new();
    let mut entries: Vec<(usize, Range<usize>)> = Vec::new();
    let mut reader = Reader::new(body);
    while let Some((number, raw, whole)) = reader.field()? {
        let (Some(at), Raw::Bytes(bytes)) = (plan.field(number), raw) else { continue };
        let field = &plan.fields[at];
        let inner = whole.end - bytes.len()..whole.end;
        match field.shape {
            Shape::Map => {
                if field.scalar == Scalar::Message {
                    nested.extend(map_value(bytes)?.map(|range| (at, shift(range, inner.start))));
                }
                entries.push((at, whole));
            }
            _ if field.scalar == Scalar::Message => nested.push((at, inner)),
            _ => {}
        }
    }
    for (at, range) in nested {
        if let (Some(plan), Some(inner)) = (plan.fields[at].message(), body.get_mut(range)) {
            sort_message(plan, inner, depth + 1)?;
        }
    }
    for run in entries.chunk_by(|a, b| a.0 == b.0 && a.1.end == b.1.start) {
        if run.len() > 1 {
            sort_run(body, run)?;
        }
    }
    Ok(())
}

/// Sorts the entries of one map, which lie one after another.
fn sort_run(body: &mut [u8], run: &[(usize, Range<usize>)]) -> Result<(), Malformed> {
    let (Some((_, first)), Some((_, last))) = (run.first(), run.last()) else { return Ok(()) };
    let mut keyed: Vec<(Vec<u8>, &Range<usize>)> = Vec::with_capacity(run.len());
    for (_, range) in run {
        keyed.push((key_bytes(body.get(range.clone()).ok_or(Malformed)?)?, range));
    }
    if keyed.is_sorted_by(|a, b| a.0 <= b.0) {
        return Ok(());
    }
    keyed.sort_by(|a, b| a.0.cmp(&b.0));
    let sorted: Vec<u8> = keyed.iter().filter_map(|(_, range)| body.get((*range).clone())).flatten().copied().collect();
    if let Some(target) = body.get_mut(first.start..last.end).filter(|target| target.len() == sorted.len()) {
        target.copy_from_slice(&sorted);
    }
    Ok(())
}

/// The key of an encoded map field, as bytes that sort.
fn key_bytes(field: &[u8]) -> Result<Vec<u8>, Malformed> {
    let Some((_, Raw::Bytes(entry), _)) = Reader::new(field).field()? else { return Err(Malformed) };
    let mut key = Vec::new();
    let mut reader = Reader::new(entry);
    while let Some((number, raw, _)) = reader.field()? {
        if number == 1 {
            key = match raw {
                Raw::Bytes(bytes) => bytes.to_vec(),
                Raw::Varint(bits) | Raw::Fixed64(bits) => bits.to_be_bytes().to_vec(),
                Raw::Fixed32(bits) => bits.to_be_bytes().to_vec(),
            };
        }
    }
    Ok(key)
}

/// Where the value of a map entry lies in it.
fn map_value(entry: &[u8]) -> Result<Option<Range<usize>>, Malformed> {
    let mut value = None;
    let mut reader = Reader::new(entry);
    while let Some((number, raw, whole)) = reader.field()? {
        if let (2, Raw::Bytes(bytes)) = (number, raw) {
            value = Some(whole.end - bytes.len()..whole.end);
        }
    }
    Ok(value)
}

fn shift(range: Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

/// Where a part of a slice lies in it.
fn range_within(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    (start + part.len() <= whole.len()).then_some(start..start + part.len())
}
