//! Several expressions over the same values, with variables: what an admission policy is made of.
//!
//! All of a script runs on one evaluator: on ours when every expression of it can, else on the interpreter.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use kube_cel::cel::common::ast::{EntryExpr, Expr, IdedExpr};
use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, Program, Value as Cel};
use serde_json::Value;

use super::evaluate::{Budget, Machine};
use super::expression::{Expression, VARIABLES};
use super::{foreign, limits};

/// A named expression, and its source.
pub(crate) type Named<'a> = (&'a str, &'a str);

/// Compiled expressions.
pub(crate) struct Script {
    roots: &'static [&'static str],
    names: Vec<String>,
    code: Code,
    /// Whether one of them looks at the last root.
    pub(crate) uses_last: bool,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("native", &self.is_native()).finish_non_exhaustive()
    }
}

enum Code {
    Native { named: Vec<Expression>, expressions: Vec<Expression> },
    Foreign { named: Vec<Program>, expressions: Vec<Program> },
}

/// Compiles one expression, to see what is wrong with it. It may use `roots` and `names`.
///
/// # Errors
/// What is wrong.
pub(crate) fn check(source: &str, roots: &[&str], names: &[String]) -> Result<Program, String> {
    limits::text(source)?;
    let program = Program::compile(source).map_err(|error| format!("{source:?} does not parse: {error}"))?;
    limits::tree(program.expression())?;
    match unknown(program.expression(), roots, names) {
        Some(name) => Err(format!("undeclared reference to {name:?}: there are {}", roots.join(", "))),
        None => Ok(program),
    }
}

/// The first name that is neither in `scope`, nor a variable of `names`, nor a macro's own.
fn unknown(expression: &IdedExpr, scope: &[&str], names: &[String]) -> Option<String> {
    match &expression.expr {
        Expr::Ident(name) => (!scope.contains(&name.as_str())).then(|| name.clone()),
        Expr::Select(select) => {
            let of_variables = matches!(&select.operand.expr, Expr::Ident(name) if name == VARIABLES);
            if of_variables && !scope.contains(&VARIABLES) {
                let known = names.contains(&select.field);
                return (!known).then(|| format!("{VARIABLES}.{}", select.field));
            }
            unknown(&select.operand, scope, names)
        }
        Expr::Call(call) => {
            call.target.iter().map(|it| &**it).chain(&call.args).find_map(|it| unknown(it, scope, names))
        }
        Expr::List(list) => list.elements.iter().find_map(|it| unknown(it, scope, names)),
        Expr::Map(map) => map.entries.iter().find_map(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => {
                [&entry.key, &entry.value].into_iter().find_map(|it| unknown(it, scope, names))
            }
            EntryExpr::StructField(field) => unknown(&field.value, scope, names),
        }),
        Expr::Comprehension(it) => unknown(&it.iter_range, scope, names).or_else(|| {
            let mut inner = scope.to_vec();
            inner.extend([it.iter_var.as_str(), it.accu_var.as_str()]);
            inner.extend(it.iter_var2.as_deref());
            let parts = [&it.accu_init, &it.loop_cond, &it.loop_step, &it.result];
            parts.into_iter().find_map(|part| unknown(part, &inner, names))
        }),
        Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => None,
    }
}

impl Script {
    /// Compiles expressions over `roots`. Each of `named` may use those before it, as `variables.name`.
    ///
    /// # Errors
    /// What is wrong with the first bad one.
    pub(crate) fn compile(
        roots: &'static [&'static str],
        named: &[Named<'_>],
        expressions: &[&str],
    ) -> Result<Self, String> {
        let names: Vec<String> = named.iter().map(|(name, _)| (*name).to_owned()).collect();
        let variables = named.iter().enumerate().map(|(at, (_, source))| check(source, roots, &names[..at]));
        let variables = variables.collect::<Result<Vec<Program>, _>>()?;
        let programs = expressions.iter().map(|source| check(source, roots, &names));
        let programs = programs.collect::<Result<Vec<Program>, _>>()?;
        let last = roots.last().copied().unwrap_or_default();
        let uses_last = variables.iter().chain(&programs).any(|it| it.references().has_variable(last));
        let native = || {
            let named = variables.iter().enumerate();
            let named = named.map(|(at, it)| Expression::translate(it.expression(), roots, &names[..at]));
            let own = programs.iter().map(|it| Expression::translate(it.expression(), roots, &names));
            Some(Code::Native { named: named.collect::<Option<_>>()?, expressions: own.collect::<Option<_>>()? })
        };
        let code = match native() {
            Some(code) => code,
            None => Code::Foreign { named: variables, expressions: programs },
        };
        Ok(Self { roots, names, code, uses_last })
    }

    /// Whether our own evaluator runs it.
    pub(crate) fn is_native(&self) -> bool {
        matches!(self.code, Code::Native { .. })
    }

    /// Begins to evaluate over values, in the order of the roots; none is null.
    pub(crate) fn run<'a, 'b>(&'a self, values: &[Option<&'a Value>], budget: &'b mut Budget) -> Run<'a, 'b> {
        match &self.code {
            Code::Native { named, expressions } => {
                Run(Runner::Native { machine: Machine::new(values, named, budget), expressions })
            }
            Code::Foreign { named, expressions } => {
                let roots: Vec<(&str, Option<&Value>)> =
                    self.roots.iter().copied().zip(values.iter().copied()).collect();
                let mut context = foreign::context(&roots);
                let start = Instant::now();
                let mut found = HashMap::new();
                for (name, program) in self.names.iter().zip(named) {
                    // One that has no value is missed by who uses it.
                    if let Ok(value) = program.execute(&context) {
                        found.insert(Key::String(Arc::new(name.clone())), value);
                        let map = Map { map: Arc::new(found.clone()) };
                        context.add_variable_from_value(VARIABLES, Cel::Map(map));
                    }
                }
                budget.foreign = budget.foreign.saturating_sub(start.elapsed());
                Run(Runner::Foreign { context: Box::new(context), expressions, budget })
            }
        }
    }
}

/// A script at work.
pub(crate) struct Run<'a, 'b>(Runner<'a, 'b>);

enum Runner<'a, 'b> {
    Native { machine: Machine<'a, 'b>, expressions: &'a [Expression] },
    Foreign { context: Box<Context<'static>>, expressions: &'a [Program], budget: &'b mut Budget },
}

impl Run<'_, '_> {
    /// Whether the expression at a place holds.
    ///
    /// # Errors
    /// Why it has no value.
    pub(crate) fn condition(&mut self, at: usize) -> Result<bool, String> {
        match &mut self.0 {
            Runner::Native { machine, expressions } => machine.condition(&expressions[at]),
            Runner::Foreign { context, expressions, budget } => match execute(context, &expressions[at], budget)? {
                Cel::Bool(holds) => Ok(holds),
                _ => Err("the rule is not true or false".to_string()),
            },
        }
    }

    /// The text that the expression at a place gives, if it gives one.
    pub(crate) fn message(&mut self, at: usize) -> Option<String> {
        match &mut self.0 {
            Runner::Native { machine, expressions } => machine.message(&expressions[at]),
            Runner::Foreign { context, expressions, budget } => match execute(context, &expressions[at], budget) {
                Ok(Cel::String(text)) => Some(text.to_string()),
                _ => None,
            },
        }
    }
}

fn execute(context: &Context<'static>, program: &Program, budget: &mut Budget) -> Result<Cel, String> {
    if budget.foreign.is_zero() {
        return Err("the rules' time is used up: shorten the object's lists".to_string());
    }
    let start = Instant::now();
    let result = program.execute(context).map_err(|error| error.to_string());
    budget.foreign = budget.foreign.saturating_sub(start.elapsed());
    result
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    const ROOTS: &[&str] = &["object", "oldObject", "namespaceObject"];

    fn holds(named: &[Named<'_>], source: &str, object: &Value, native: bool) -> Result<bool, String> {
        let script = Script::compile(ROOTS, named, &[source])?;
        assert_eq!(script.is_native(), native, "{source}");
        let mut budget = Budget::new();
        script.run(&[Some(object), None, None], &mut budget).condition(0)
    }

    #[test]
    fn variables_are_what_they_were_given() {
        let object = json!({"metadata": {"name": "a-1", "labels": {"x.y/z": "a"}}, "list": ["p", "q"]});
        let named =
            [("own", "object.metadata.labels['x.y/z']"), ("prefix", "variables.own + '-'"), ("bad", "object.none")];
        for (source, expected) in [
            ("object.metadata.name.startsWith(variables.prefix)", Ok(true)),
            ("oldObject == null", Ok(true)),
            ("object.list.all(item, item in ['p', 'q'])", Ok(true)),
            ("object.list.all(own, variables.own == 'a')", Ok(true)),
            ("object.list.exists(object, variables.own == 'b' || object == 'q')", Ok(true)),
            ("true || variables.bad == 1", Ok(true)),
            ("variables.bad == 1", Err(())),
            ("variables.own", Err(())),
        ] {
            assert_eq!(holds(&named, source, &object, true).map_err(|_| ()), expected, "{source}");
            // The interpreter thinks the same.
            let foreign = format!("({source}) && quantity('1').isInteger()");
            if expected.is_ok() {
                assert_eq!(holds(&named, &foreign, &object, false).map_err(|_| ()), expected, "{foreign}");
            } else {
                assert!(holds(&named, &foreign, &object, false).is_err(), "{foreign}");
            }
        }
    }

    #[test]
    fn what_is_unknown_is_refused_at_once() {
        let named = [("a", "variables.b"), ("b", "1")];
        assert!(Script::compile(ROOTS, &named, &[]).is_err(), "no variable before it is called b");
        let stray = "object.list.all(x, x == 'p') && x == 'p'";
        for source in ["objct.x", "variables.a", "variables.c == 1", "authorizer.group('')", "(", "params.x", stray] {
            assert!(Script::compile(ROOTS, &[("b", "1")], &[source]).is_err(), "{source}");
        }
        let script = Script::compile(ROOTS, &[], &["namespaceObject.metadata.name == 'a'", "true"]).unwrap();
        assert!(script.uses_last);
        assert!(!Script::compile(ROOTS, &[], &["object.x"]).unwrap().uses_last);
    }
}
