//! Limits: what a rendering may use, and the writer that holds it to them.
//!
//! The engine calls the writer for every node that it visits (see `prepare`), and functions charge what they read and
//! build. Both meet in a meter of the thread, since the engine hands functions nothing but their arguments.

use std::cell::Cell;
use std::fmt;

use gotmpl::Value;

use crate::prepare::{Mark, Marks};

/// What one template may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of template text; 1 MiB.
    pub template: usize,
    /// Bytes of output; 1 MiB.
    pub output: usize,
    /// Bytes of any value that a function reads or builds, and of the data; 8 MiB.
    pub value: usize,
    /// Nodes visited, each turn of a loop included; 1,000,000.
    pub steps: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { template: 1 << 20, output: 1 << 20, value: 8 << 20, steps: 1_000_000 }
    }
}

/// Depth of values, data included.
pub(crate) const MAX_VALUE_DEPTH: usize = 100;
/// Functions may touch this many bytes for each allowed step.
const BYTES_PER_STEP: u64 = 256;

/// What is left to the rendering that runs on this thread.
#[derive(Clone, Copy)]
struct Meter {
    work: u64,
    value: usize,
    exceeded: Option<Exceeded>,
}

/// The limit that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exceeded {
    Work,
    Value,
    Depth,
    Output,
    Null,
}

thread_local! {
    static METER: Cell<Meter> = const { Cell::new(Meter { work: 0, value: 0, exceeded: None }) };
}

/// Sets the thread's meter for one rendering, and restores the outer one's: a caller's function may render as well.
pub(crate) struct Metered(Meter);

impl Metered {
    pub(crate) fn start(limits: &Limits) -> Self {
        let work = limits.steps.saturating_mul(BYTES_PER_STEP);
        Self(METER.replace(Meter { work, value: limits.value, exceeded: None }))
    }

    /// The limit that a function met.
    pub(crate) fn exceeded() -> Option<Exceeded> {
        METER.get().exceeded
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        METER.set(self.0);
    }
}

fn exceed(what: Exceeded) -> String {
    let mut meter = METER.get();
    meter.exceeded.get_or_insert(what);
    METER.set(meter);
    "limit exceeded".to_owned()
}

/// Charges work by bytes.
pub(crate) fn charge(bytes: usize) -> Result<(), String> {
    let mut meter = METER.get();
    let left = meter.work.checked_sub(bytes as u64);
    meter.work = left.unwrap_or(0);
    METER.set(meter);
    left.map(|_| ()).ok_or_else(|| exceed(Exceeded::Work))
}

/// Charges what reading these values costs, and refuses values that are too large or too deep.
pub(crate) fn charge_values(values: &[Value]) -> Result<(), String> {
    let limit = METER.get().value;
    let mut size = 0;
    for value in values {
        measure(value, limit, MAX_VALUE_DEPTH, &mut size)?;
    }
    charge(size)
}

/// Refuses a string or list that takes so many bytes; nothing is charged.
pub(crate) fn within(bytes: usize) -> Result<(), String> {
    if bytes > METER.get().value { Err(exceed(Exceeded::Value)) } else { Ok(()) }
}

/// Refuses to build a string or list of so many bytes, and charges it otherwise.
pub(crate) fn fits(bytes: usize) -> Result<(), String> {
    within(bytes)?;
    charge(bytes)
}

fn measure(value: &Value, limit: usize, depth: usize, size: &mut usize) -> Result<(), String> {
    let Some(below) = depth.checked_sub(1) else {
        return Err(exceed(Exceeded::Depth));
    };
    *size += 16;
    match value {
        Value::String(text) => *size += text.len(),
        Value::List(items) => {
            for item in items.iter() {
                measure(item, limit, below, size)?;
            }
        }
        Value::Map(map) => {
            for (key, item) in map.iter() {
                *size += key.len();
                measure(item, limit, below, size)?;
            }
        }
        _ => {}
    }
    if *size > limit { Err(exceed(Exceeded::Value)) } else { Ok(()) }
}

/// Collects the output; knows where in the template the engine is.
pub(crate) struct Output<'a> {
    pub(crate) text: String,
    pub(crate) exceeded: Option<Exceeded>,
    pub(crate) at: Option<&'a Mark>,
    marks: &'a Marks,
    steps: u64,
    limit: usize,
}

impl<'a> Output<'a> {
    pub(crate) fn new(marks: &'a Marks, limits: &Limits) -> Self {
        Self { text: String::new(), exceeded: None, at: None, marks, steps: limits.steps, limit: limits.output }
    }

    fn stop(&mut self, why: Exceeded) -> fmt::Result {
        self.exceeded = Some(why);
        Err(fmt::Error)
    }
}

impl fmt::Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Some(mark) = self.marks.get(text) {
            self.at = Some(mark);
            if self.steps == 0 {
                return self.stop(Exceeded::Work);
            }
            self.steps -= 1;
            return Ok(());
        }
        // The engine prints null so. A text node is never mistaken for it: its mark says that it is one.
        if text == "<no value>" && self.at.is_some_and(|mark| !mark.text) {
            return self.stop(Exceeded::Null);
        }
        if self.text.len() + text.len() > self.limit {
            return self.stop(Exceeded::Output);
        }
        self.text.push_str(text);
        Ok(())
    }
}
