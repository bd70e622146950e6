//! Evaluates translated rules on JSON in place.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use smallvec::SmallVec;

use super::expression::{Expression, Macro};
use super::operations::{binary, call, item, length, select};

/// Steps that the rules of one object may take together.
pub(crate) struct Budget {
    steps: u64,
    /// What the interpreter, which can't count steps, may still take.
    pub(super) foreign: Duration,
}

impl Budget {
    /// Some 0.1 to 0.5 s of work: far above what honest rules need.
    pub(crate) const STEPS: u64 = 10_000_000;
    /// Time of all rules on the interpreter together; it is checked between rules.
    const FOREIGN: Duration = Duration::from_secs(1);

    pub(crate) fn new() -> Self {
        Self { steps: Self::STEPS, foreign: Self::FOREIGN }
    }

    /// Takes one step.
    pub(super) fn step(&mut self) -> Outcome<'static, ()> {
        self.steps = self.steps.checked_sub(1).ok_or(Fault::Budget)?;
        Ok(())
    }
}

/// Why an expression has no value.
#[derive(Debug)]
pub(super) enum Fault<'a> {
    Budget,
    NoSuchKey(&'a str),
    NoSuchOverload,
    Index,
    Overflow,
    Zero,
    Duration(String),
    Number(String),
    /// Of a named expression, which has been told of.
    Named,
}

impl std::fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Budget => f.write_str("the rules' budget is used up: shorten the object's lists"),
            Self::NoSuchKey(name) => write!(f, "no such key: {name}"),
            Self::NoSuchOverload => f.write_str("no such overload"),
            Self::Index => f.write_str("index out of bounds"),
            Self::Overflow => f.write_str("integer overflow"),
            Self::Zero => f.write_str("division by zero"),
            Self::Duration(text) => write!(f, "invalid duration {text:?}"),
            Self::Number(text) => write!(f, "{text:?} is not a number"),
            Self::Named => f.write_str("a variable that it uses has no value"),
        }
    }
}

/// A value or why there is none.
pub(super) type Outcome<'a, T> = Result<T, Fault<'a>>;

/// A CEL value. Objects and arrays of the input stay where they are.
#[derive(Clone, Debug)]
pub(super) enum Datum<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'a, str>),
    Json(&'a Value),
    List(Rc<Vec<Datum<'a>>>),
    /// Nanoseconds.
    Duration(i128),
}

/// Evaluates expressions over the same values.
pub(super) struct Machine<'a, 'b> {
    slots: Vec<Datum<'a>>,
    /// How many of the slots are roots.
    roots: usize,
    named: &'a [Expression],
    /// What named expressions gave, each evaluated when it is first needed.
    found: Vec<Option<Result<Datum<'a>, ()>>>,
    budget: &'b mut Budget,
}

impl<'a, 'b> Machine<'a, 'b> {
    /// `roots` in the order that expressions were translated with; none is null.
    pub(super) fn new(roots: &[Option<&'a Value>], named: &'a [Expression], budget: &'b mut Budget) -> Self {
        let slots: Vec<Datum<'a>> = roots.iter().map(|value| value.map_or(Datum::Null, Datum::of)).collect();
        Self { roots: slots.len(), slots, named, found: vec![None; named.len()], budget }
    }

    /// Whether the rule holds.
    pub(super) fn condition(&mut self, expression: &'a Expression) -> Result<bool, String> {
        match self.value(expression) {
            Ok(Datum::Bool(holds)) => Ok(holds),
            Ok(_) => Err("the rule is not true or false".to_string()),
            Err(fault) => Err(fault.to_string()),
        }
    }

    /// The text that a `messageExpression` gives.
    pub(super) fn message(&mut self, expression: &'a Expression) -> Option<String> {
        match self.value(expression) {
            Ok(Datum::Text(text)) => Some(text.into_owned()),
            _ => None,
        }
    }

    fn named(&mut self, at: usize) -> Outcome<'a, Datum<'a>> {
        let expression = self.named.get(at).ok_or(Fault::NoSuchOverload)?;
        if let Some(found) = &self.found[at] {
            return found.clone().map_err(|()| Fault::Named);
        }
        // It sees the roots only, wherever it is used.
        let inner = self.slots.split_off(self.roots);
        let value = self.value(expression);
        self.slots.truncate(self.roots);
        self.slots.extend(inner);
        if !matches!(value, Err(Fault::Budget)) {
            self.found[at] = Some(value.as_ref().cloned().map_err(|_| ()));
        }
        value
    }

    fn value(&mut self, expression: &'a Expression) -> Outcome<'a, Datum<'a>> {
        self.budget.step()?;
        Ok(match expression {
            Expression::Null => Datum::Null,
            Expression::Bool(value) => Datum::Bool(*value),
            Expression::Int(value) => Datum::Int(*value),
            Expression::Double(value) => Datum::Double(*value),
            Expression::Text(value) => Datum::Text(Cow::Borrowed(value)),
            Expression::Variable(slot) => self.slots.get(*slot).cloned().ok_or(Fault::NoSuchOverload)?,
            Expression::Named(at) => self.named(*at)?,
            Expression::Select { operand, field, test } => {
                let operand = self.value(operand)?;
                select(&operand, field, *test)?
            }
            Expression::Conditional(parts) => {
                let [condition, yes, no] = &**parts;
                if self.truth(condition)? { self.value(yes)? } else { self.value(no)? }
            }
            Expression::And(sides) => Datum::Bool(self.either(&sides[0], &sides[1], false)?),
            Expression::Or(sides) => Datum::Bool(self.either(&sides[0], &sides[1], true)?),
            Expression::Not(operand) => Datum::Bool(!self.truth(operand)?),
            Expression::Negate(operand) => negate(&self.value(operand)?)?,
            Expression::Binary(operator, sides) => {
                let (left, right) = (self.value(&sides[0])?, self.value(&sides[1])?);
                binary(*operator, &left, &right, self.budget)?
            }
            Expression::List(items) => {
                let items = items.iter().map(|item| self.value(item)).collect::<Outcome<'a, Vec<_>>>()?;
                Datum::List(Rc::new(items))
            }
            Expression::Macro { kind, range, filter, body, slot } => {
                let range = self.value(range)?;
                self.comprehension(*kind, range, filter.as_deref(), body, *slot)?
            }
            Expression::Matches(subject, pattern) => match self.value(subject)? {
                Datum::Text(text) => Datum::Bool(pattern.is_match(&text)),
                _ => return Err(Fault::NoSuchOverload),
            },
            Expression::Call(function, values) => {
                let values = values.iter().map(|value| self.value(value)).collect::<Outcome<'a, SmallVec<[_; 3]>>>()?;
                call(*function, &values)?
            }
        })
    }

    fn truth(&mut self, expression: &'a Expression) -> Outcome<'a, bool> {
        match self.value(expression)? {
            Datum::Bool(value) => Ok(value),
            _ => Err(Fault::NoSuchOverload),
        }
    }

    /// `&&` and `||`: one deciding side is enough, even if the other one fails.
    fn either(&mut self, left: &'a Expression, right: &'a Expression, decides: bool) -> Outcome<'a, bool> {
        match self.truth(left) {
            Ok(value) if value == decides => Ok(decides),
            Ok(_) => self.truth(right),
            Err(fault) => match self.truth(right) {
                Ok(value) if value == decides => Ok(decides),
                _ => Err(fault),
            },
        }
    }

    fn comprehension(
        &mut self,
        kind: Macro,
        range: Datum<'a>,
        filter: Option<&'a Expression>,
        body: &'a Expression,
        slot: usize,
    ) -> Outcome<'a, Datum<'a>> {
        let mut found = 0usize;
        let mut failed: Option<Fault<'a>> = None;
        let mut collected = Vec::new();
        for index in 0..length(&range)? {
            self.slots.truncate(slot);
            self.slots.push(item(&range, index)?);
            match kind {
                Macro::All | Macro::Exists => match self.truth(body) {
                    Ok(value) if value == (kind == Macro::Exists) => {
                        self.slots.truncate(slot);
                        return Ok(Datum::Bool(value));
                    }
                    Ok(_) => {}
                    Err(Fault::Budget) => return Err(Fault::Budget),
                    Err(fault) => failed = Some(fault),
                },
                Macro::ExistsOne => found += usize::from(self.truth(body)?),
                Macro::Collect => {
                    let keep = filter.map_or(Ok(true), |filter| self.truth(filter))?;
                    if keep {
                        let value = self.value(body)?;
                        collected.push(value);
                    }
                }
            }
        }
        self.slots.truncate(slot);
        match (kind, failed) {
            (_, Some(fault)) => Err(fault),
            (Macro::All, None) => Ok(Datum::Bool(true)),
            (Macro::Exists, None) => Ok(Datum::Bool(false)),
            (Macro::ExistsOne, None) => Ok(Datum::Bool(found == 1)),
            (Macro::Collect, None) => Ok(Datum::List(Rc::new(collected))),
        }
    }
}

fn negate<'a>(operand: &Datum<'a>) -> Outcome<'a, Datum<'a>> {
    match operand {
        Datum::Int(value) => value.checked_neg().map(Datum::Int).ok_or(Fault::Overflow),
        Datum::Double(value) => Ok(Datum::Double(-value)),
        _ => Err(Fault::NoSuchOverload),
    }
}

impl<'a> Datum<'a> {
    /// A value of the object.
    pub(super) fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => {
                number.as_i64().map_or_else(|| Self::Double(number.as_f64().unwrap_or(f64::NAN)), Self::Int)
            }
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            other => Self::Json(other),
        }
    }
}
