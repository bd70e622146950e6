//! The common part of CEL as a tree that is quick to evaluate.

use std::sync::Arc;

use kube_cel::cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};
use regex::Regex;

use super::super::pattern;

/// A variable's place: first the roots (`self` is 0, `oldSelf` 1), then the macros' variables from outside in.
pub(super) type Slot = usize;

/// A translated expression.
#[derive(Debug)]
pub(super) enum Expression {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Box<str>),
    Variable(Slot),
    /// An expression that has a name of its own (`variables.name`), by its place.
    Named(usize),
    Select {
        operand: Box<Self>,
        field: Field,
        test: bool,
    },
    Conditional(Box<[Self; 3]>),
    And(Box<[Self; 2]>),
    Or(Box<[Self; 2]>),
    Not(Box<Self>),
    Negate(Box<Self>),
    Binary(Operator, Box<[Self; 2]>),
    List(Vec<Self>),
    Macro {
        kind: Macro,
        range: Box<Self>,
        filter: Option<Box<Self>>,
        body: Box<Self>,
        slot: Slot,
    },
    Matches(Box<Self>, Arc<Regex>),
    Call(Function, Vec<Self>),
}

/// A field's name as written in CEL, and unescaped where that differs.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    pub(super) raw: Option<Box<str>>,
}

/// Binary operators that need both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Index,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

/// The comprehension macros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Macro {
    All,
    Exists,
    ExistsOne,
    /// `filter`, and `map` with or without a filter.
    Collect,
}

/// Functions and methods; a method's target is its first value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    StartsWith,
    EndsWith,
    Contains,
    LowerAscii,
    Trim,
    String,
    Int,
    Duration,
    UpperAscii,
    Split,
    Substring,
    IsIp,
}

const BINARY: &[(&str, Operator)] = &[
    (operators::EQUALS, Operator::Equal),
    (operators::NOT_EQUALS, Operator::NotEqual),
    (operators::LESS, Operator::Less),
    (operators::LESS_EQUALS, Operator::LessEqual),
    (operators::GREATER, Operator::Greater),
    (operators::GREATER_EQUALS, Operator::GreaterEqual),
    (operators::IN, Operator::In),
    (operators::INDEX, Operator::Index),
    (operators::ADD, Operator::Add),
    (operators::SUBSTRACT, Operator::Subtract),
    (operators::MULTIPLY, Operator::Multiply),
    (operators::DIVIDE, Operator::Divide),
    (operators::MODULO, Operator::Modulo),
];

/// Name, function, number of values with the target.
const FUNCTIONS: &[(&str, Function, usize)] = &[
    ("size", Function::Size, 1),
    ("startsWith", Function::StartsWith, 2),
    ("endsWith", Function::EndsWith, 2),
    ("contains", Function::Contains, 2),
    ("lowerAscii", Function::LowerAscii, 1),
    ("trim", Function::Trim, 1),
    ("string", Function::String, 1),
    ("int", Function::Int, 1),
    ("duration", Function::Duration, 1),
    ("upperAscii", Function::UpperAscii, 1),
    ("split", Function::Split, 2),
    ("substring", Function::Substring, 2),
    ("substring", Function::Substring, 3),
    ("isIP", Function::IsIp, 1),
];

impl Expression {
    /// Translates a parsed rule; `None` if it uses something that only the interpreter knows. `roots` are the names of
    /// what it sees, `named` those of the expressions that it may refer to.
    pub(super) fn translate(expression: &IdedExpr, roots: &[&str], named: &[String]) -> Option<Self> {
        let slots = roots.iter().map(ToString::to_string).collect();
        translate(expression, &mut Names { slots, named })
    }
}

/// The names that an expression may use.
struct Names<'n> {
    /// By slot.
    slots: Vec<String>,
    /// Of `variables`.
    named: &'n [String],
}

impl Names<'_> {
    fn slot(&self, name: &str) -> Option<Slot> {
        self.slots.iter().rposition(|known| known == name)
    }

    /// The expression that `operand.field` refers to, if `operand` is `variables`.
    fn named(&self, operand: &IdedExpr, field: &str) -> Option<usize> {
        let is_variables = matches!(&operand.expr, Expr::Ident(name) if name == VARIABLES);
        (is_variables && self.slot(VARIABLES).is_none())
            .then(|| self.named.iter().position(|known| known == field))
            .flatten()
    }
}

/// What named expressions are fields of.
pub(super) const VARIABLES: &str = "variables";

fn translate(expression: &IdedExpr, names: &mut Names<'_>) -> Option<Expression> {
    match &expression.expr {
        Expr::Literal(literal) => constant(literal),
        Expr::Ident(name) => names.slot(name).map(Expression::Variable),
        Expr::Select(select) => {
            if !select.test
                && let Some(at) = names.named(&select.operand, &select.field)
            {
                return Some(Expression::Named(at));
            }
            let operand = Box::new(translate(&select.operand, names)?);
            Some(Expression::Select { operand, field: Field::new(&select.field), test: select.test })
        }
        Expr::List(list) if list.optional_indices.is_empty() => {
            list.elements.iter().map(|item| translate(item, names)).collect::<Option<_>>().map(Expression::List)
        }
        Expr::Call(call) => translate_call(call, names),
        Expr::Comprehension(comprehension) => translate_macro(comprehension, names),
        _ => None,
    }
}

fn constant(literal: &LiteralValue) -> Option<Expression> {
    Some(match literal {
        LiteralValue::Null => Expression::Null,
        LiteralValue::Boolean(value) => Expression::Bool(*value.inner()),
        LiteralValue::Int(value) => Expression::Int(*value.inner()),
        LiteralValue::Double(value) => Expression::Double(*value.inner()),
        LiteralValue::String(value) => Expression::Text(value.inner().into()),
        LiteralValue::UInt(_) | LiteralValue::Bytes(_) => return None,
    })
}

fn translate_call(call: &CallExpr, names: &mut Names<'_>) -> Option<Expression> {
    if call.func_name == "matches" {
        return translate_matches(call, names);
    }
    let mut values = Vec::with_capacity(call.args.len() + 1);
    for value in call.target.iter().map(|target| &**target).chain(&call.args) {
        values.push(translate(value, names)?);
    }
    let name = call.func_name.as_str();
    let found = FUNCTIONS.iter().find(|(known, _, count)| *known == name && *count == values.len());
    if let Some((_, function, _)) = found {
        return Some(Expression::Call(*function, values));
    }
    if let Some((_, operator)) = BINARY.iter().find(|(known, _)| *known == name) {
        return Some(Expression::Binary(*operator, Box::new(values.try_into().ok()?)));
    }
    match name {
        operators::CONDITIONAL => Some(Expression::Conditional(Box::new(values.try_into().ok()?))),
        operators::LOGICAL_AND => Some(Expression::And(Box::new(values.try_into().ok()?))),
        operators::LOGICAL_OR => Some(Expression::Or(Box::new(values.try_into().ok()?))),
        operators::LOGICAL_NOT => Some(Expression::Not(Box::new(values.pop()?))),
        operators::NEGATE => Some(Expression::Negate(Box::new(values.pop()?))),
        _ => None,
    }
}

/// Patterns are nearly always literals: those are compiled here.
fn translate_matches(call: &CallExpr, names: &mut Names<'_>) -> Option<Expression> {
    let (subject, pattern) = match (&call.target, call.args.as_slice()) {
        (Some(target), [pattern]) => (&**target, pattern),
        (None, [subject, pattern]) => (subject, pattern),
        _ => return None,
    };
    let Expr::Literal(LiteralValue::String(pattern)) = &pattern.expr else { return None };
    let pattern = pattern::compile(pattern.inner()).ok()?;
    Some(Expression::Matches(Box::new(translate(subject, names)?), pattern))
}

/// The parser has expanded the macros; their shapes tell which they were.
fn translate_macro(comprehension: &ComprehensionExpr, names: &mut Names<'_>) -> Option<Expression> {
    if comprehension.iter_var2.is_some() {
        return None;
    }
    let range = Box::new(translate(&comprehension.iter_range, names)?);
    let Expr::Call(step) = &comprehension.loop_step.expr else { return None };
    let args = step.args.as_slice();
    let (kind, filter, body) = match (&comprehension.accu_init.expr, step.func_name.as_str(), args) {
        (Expr::Literal(LiteralValue::Boolean(_)), operators::LOGICAL_AND, [_, body]) => (Macro::All, None, body),
        (Expr::Literal(LiteralValue::Boolean(_)), operators::LOGICAL_OR, [_, body]) => (Macro::Exists, None, body),
        (Expr::Literal(LiteralValue::Int(_)), operators::CONDITIONAL, [body, _, _]) => (Macro::ExistsOne, None, body),
        (Expr::List(_), operators::CONDITIONAL, [filter, add, _]) => {
            (Macro::Collect, Some(filter), appended(&add.expr)?)
        }
        (Expr::List(_), operators::ADD, _) => (Macro::Collect, None, appended(&comprehension.loop_step.expr)?),
        _ => return None,
    };
    let slot = names.slots.len();
    names.slots.push(comprehension.iter_var.clone());
    let filter = filter.map(|filter| translate(filter, names).map(Box::new));
    let body = translate(body, names);
    names.slots.truncate(slot);
    let filter = match filter {
        Some(None) => return None,
        Some(found) => found,
        None => None,
    };
    Some(Expression::Macro { kind, range, filter, body: Box::new(body?), slot })
}

/// `x` in `@result + [x]`.
fn appended(step: &Expr) -> Option<&IdedExpr> {
    match step {
        Expr::Call(call) if call.func_name == operators::ADD => match &call.args.get(1)?.expr {
            Expr::List(list) => list.elements.first(),
            _ => None,
        },
        _ => None,
    }
}

impl Field {
    fn new(name: &str) -> Self {
        let plain = unescape(name);
        if plain == name {
            Self { name: name.into(), raw: None }
        } else {
            Self { name: plain.into(), raw: Some(name.into()) }
        }
    }
}

/// CEL's words that can't be field names unless escaped as `__word__`.
pub(in super::super) const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Kubernetes' escapes for characters that CEL's identifiers lack.
pub(super) const ESCAPES: &[(&str, &str)] =
    &[("__underscores__", "__"), ("__dot__", "."), ("__dash__", "-"), ("__slash__", "/")];

fn unescape(name: &str) -> String {
    let word = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
    if let Some(word) = word
        && RESERVED.contains(&word)
    {
        return word.to_string();
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    'outer: while let Some(first) = rest.chars().next() {
        for (escape, plain) in ESCAPES {
            if let Some(after) = rest.strip_prefix(escape) {
                out.push_str(plain);
                rest = after;
                continue 'outer;
            }
        }
        out.push(first);
        rest = &rest[first.len_utf8()..];
    }
    out
}
