//! What a rule may be, so that neither parser nor interpreters run out of stack.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{EntryExpr, Expr};

/// Length of a rule, in bytes.
const BYTES: usize = 16 << 10;
/// Brackets within brackets.
const BRACKETS: usize = 48;
/// Operators, dots and brackets of one rule.
const OPERATORS: usize = 2_000;
/// Nesting of the parsed rule.
const DEPTH: usize = 120;

/// Checks a rule before it is parsed.
pub(super) fn text(source: &str) -> Result<(), String> {
    if source.len() > BYTES {
        return Err(format!("the rule has {} bytes; at most {BYTES} are allowed", source.len()));
    }
    let (mut open, mut deepest, mut operators) = (0usize, 0, 0);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
        operators += usize::from(b".+-*/%<>=!&|?:([{".contains(&byte));
    }
    if deepest > BRACKETS || operators > OPERATORS {
        return Err(format!(
            "the rule is too complex: at most {BRACKETS} nested brackets and {OPERATORS} operators are allowed"
        ));
    }
    Ok(())
}

/// Checks a parsed rule: its nesting, and that it has no messages, which Kubernetes' CEL lacks and
/// the interpreter can't make.
pub(super) fn tree(expression: &IdedExpr) -> Result<(), String> {
    walk(expression, 0)
}

fn walk(expression: &IdedExpr, depth: usize) -> Result<(), String> {
    if depth > DEPTH {
        return Err(format!("the rule is nested too deeply: at most {DEPTH} levels are allowed"));
    }
    let mut below = |part: &IdedExpr| walk(part, depth + 1);
    match &expression.expr {
        Expr::Unspecified | Expr::Struct(_) => Err("the rule makes a message, which rules can't".into()),
        Expr::Ident(_) | Expr::Literal(_) => Ok(()),
        Expr::Select(select) => below(&select.operand),
        Expr::Call(call) => call.target.iter().map(|target| &**target).chain(&call.args).try_for_each(below),
        Expr::List(list) => list.elements.iter().try_for_each(below),
        Expr::Comprehension(c) => {
            [&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result].into_iter().try_for_each(below)
        }
        Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => [&entry.key, &entry.value].into_iter().try_for_each(&mut below),
            EntryExpr::StructField(_) => Err("the rule makes a message, which rules can't".into()),
        }),
    }
}
