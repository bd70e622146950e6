//! Parsing and rendering, on the engine of the crate `gotmpl`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, LazyLock};

use gotmpl::parse::{ListNode, Node, Parser, TextNode};
use gotmpl::{MissingKey, Value, ValueFunc};
use regex::Regex;
use serde_json::Value as Json;

use crate::error::{Problem, TemplateError};
use crate::functions;
use crate::meter::{Exceeded, Limits, MAX_VALUE_DEPTH, Metered, Output, charge_values};
use crate::prepare::{Marks, Prepare};
use crate::value::{depth_within, from_json, to_json};

/// Ends the text that the engine parses: the engine drops what follows a stray `end`, and takes an unclosed block as
/// closed at the end. Where this character turns up in the tree shows both.
const SENTINEL: char = '\u{1}';
/// The engine parses `else if` by recursion without a limit.
const MAX_ELSE_IFS: usize = 500;
/// Name of the template's own tree among the trees that it defines; no `define` can have it.
const ROOT: &str = "\u{1}root";

/// Functions that a caller adds, by name. They may hide a standard one.
#[derive(Clone, Default)]
pub struct Functions(BTreeMap<String, Function>);

type Function = Arc<dyn Fn(&[Json]) -> Result<Json, String> + Send + Sync>;

impl Functions {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one: it takes the call's arguments, and yields a value or says what is wrong with them.
    #[must_use]
    pub fn with(
        mut self,
        name: &str,
        function: impl Fn(&[Json]) -> Result<Json, String> + Send + Sync + 'static,
    ) -> Self {
        self.0.insert(name.to_owned(), Arc::new(function));
        self
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A parsed template.
pub struct Template {
    name: String,
    engine: gotmpl::Template,
    marks: Marks,
    limits: Limits,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Template {
    /// Parses a template; `name` is for errors only.
    ///
    /// # Errors
    /// The first mistake in its syntax, or a call of a function or template that doesn't exist.
    pub fn parse(name: &str, text: &str) -> Result<Self, TemplateError> {
        Self::parse_with(name, text, Functions::new())
    }

    /// Parses a template that may also call the caller's own functions.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn parse_with(name: &str, text: &str, functions: Functions) -> Result<Self, TemplateError> {
        Self::parse_limited(name, text, functions, Limits::default())
    }

    /// Parses a template with limits of its own.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn parse_limited(name: &str, text: &str, functions: Functions, limits: Limits) -> Result<Self, TemplateError> {
        let (mut root, defines) = parse_trees(name, text, &limits)?;
        let known: BTreeSet<String> =
            functions::names().map(str::to_owned).chain(functions.0.keys().cloned()).collect();
        let templates: BTreeSet<String> = defines.iter().map(|(name, _)| name.clone()).collect();
        let mut prepare = Prepare {
            name,
            source: text,
            functions: &known,
            templates: &templates,
            marks: Marks::default(),
            lines: Prepare::line_starts(text),
        };
        let mut engine = gotmpl::Template::new("")
            .missing_key(MissingKey::Error)
            .max_range_iters(limits.steps)
            .funcs(functions::table())
            .funcs(functions.0.into_iter().map(|(name, function)| (name.clone(), wrap(name, function))).collect());
        for (name, mut tree) in defines {
            prepare.list(&mut tree)?;
            engine = engine.add_parse_tree(&name, tree);
        }
        prepare.list(&mut root)?;
        let engine = engine.add_parse_tree(ROOT, root);
        Ok(Self { name: name.to_owned(), engine, marks: prepare.marks, limits })
    }

    /// The name that it was parsed with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Renders it; `data` is `.` and `$`.
    ///
    /// # Errors
    /// What the template does wrong with this data, and where.
    pub fn render(&self, data: &Json) -> Result<String, TemplateError> {
        let _metered = Metered::start(&self.limits);
        if !depth_within(data, MAX_VALUE_DEPTH) {
            return Err(self.whole(Problem::TooDeep));
        }
        let data = from_json(data);
        if charge_values(std::slice::from_ref(&data)).is_err() {
            return Err(self.whole(Problem::TooLarge { what: "the data", limit: self.limits.value }));
        }
        let mut output = Output::new(&self.marks, &self.limits);
        match self.engine.execute_template_fmt(&mut output, ROOT, &data) {
            Ok(()) => Ok(output.text),
            Err(error) => Err(self.failed(&output, error)),
        }
    }

    fn whole(&self, problem: Problem) -> TemplateError {
        TemplateError { template: self.name.clone(), position: None, action: String::new(), problem: Box::new(problem) }
    }

    fn failed(&self, output: &Output<'_>, error: gotmpl::TemplateError) -> TemplateError {
        let problem = match output.exceeded.or_else(Metered::exceeded) {
            Some(Exceeded::Work) => Problem::TooMuchWork(self.limits.steps),
            Some(Exceeded::Value) => Problem::TooLarge { what: "a value", limit: self.limits.value },
            Some(Exceeded::Depth) => Problem::TooDeep,
            Some(Exceeded::Output) => Problem::TooLarge { what: "the output", limit: self.limits.output },
            Some(Exceeded::Null) => Problem::Null,
            None => problem_of(error, &self.limits),
        };
        TemplateError {
            template: self.name.clone(),
            position: output.at.map(|mark| (mark.line, mark.column)),
            action: output.at.map(|mark| mark.action.clone()).unwrap_or_default(),
            problem: Box::new(problem),
        }
    }
}

fn problem_of(error: gotmpl::TemplateError, limits: &Limits) -> Problem {
    use gotmpl::TemplateError as Engine;
    match error {
        Engine::MissingKey { key } => Problem::MissingKey(key),
        Engine::RecursionLimit => Problem::TooDeep,
        Engine::RangeIterLimit => Problem::TooMuchWork(limits.steps),
        Engine::UndefinedTemplate(name) => Problem::UnknownTemplate(name),
        Engine::UndefinedFunction(name) => Problem::UnknownFunction { name, suggestion: None },
        Engine::UndefinedVariable(name) => Problem::UnknownVariable(name),
        Engine::Exec(message) => functions::problem(message),
        other => Problem::Other(other.to_string()),
    }
}

fn wrap(name: String, function: Function) -> ValueFunc {
    Arc::new(move |args: &[Value]| {
        let checked = charge_values(args).and_then(|()| {
            let args: Vec<Json> = args.iter().map(to_json).collect();
            let result = function(&args)?;
            if !depth_within(&result, MAX_VALUE_DEPTH) {
                return Err("its result is nested too deeply".to_owned());
            }
            let result = from_json(&result);
            charge_values(std::slice::from_ref(&result))?;
            Ok(result)
        });
        checked.map_err(|message| functions::failure(&name, &message))
    })
}

type Trees = (ListNode, Vec<(String, ListNode)>);

fn parse_trees(name: &str, text: &str, limits: &Limits) -> Result<Trees, TemplateError> {
    static ELSE_IF: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"else\s+(if|with)").ok());
    let error = |position, problem| TemplateError {
        template: name.to_owned(),
        position,
        action: String::new(),
        problem: Box::new(problem),
    };
    if text.len() > limits.template {
        return Err(error(None, Problem::TooLarge { what: "the template", limit: limits.template }));
    }
    if ELSE_IF.as_ref().is_some_and(|regex| regex.find_iter(text).count() > MAX_ELSE_IFS) {
        return Err(error(None, Problem::Syntax(format!("more than {MAX_ELSE_IFS} `else if` in one template"))));
    }
    let marked = format!("{text}{SENTINEL}");
    let parsed = Parser::new(&marked, "{{", "}}").and_then(Parser::parse);
    let (mut root, defines) = parsed.map_err(|failure| match failure {
        gotmpl::TemplateError::Parse { line, col, message, .. }
        | gotmpl::TemplateError::Lex { line, col, message, .. } => {
            let ends = message.contains(SENTINEL) || message.contains("\\u{1}");
            let message = if ends { "the text ends inside an action".to_owned() } else { message };
            error((line > 0).then_some((line, col)), Problem::Syntax(message))
        }
        other => error(None, Problem::Syntax(other.to_string())),
    })?;
    if !strip_sentinel(&mut root) {
        let all = defines.iter().map(|define| (define.pos, &define.body));
        let open = unclosed(&root).or_else(|| {
            all.clone().find(|(_, body)| holds_sentinel(body)).map(|(pos, body)| unclosed(body).unwrap_or(pos))
        });
        let (pos, message) = match open {
            Some(pos) => (Some(pos), "this block has no {{end}}"),
            None => (root.nodes.last().map(pos_of), "after this there is an {{end}} or {{else}} without its block"),
        };
        let position = pos.map(|pos| {
            let before = text.get(..pos.offset).unwrap_or_default();
            let start = before.rfind('\n').map_or(0, |at| at + 1);
            (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
        });
        return Err(error(position, Problem::Syntax(message.to_owned())));
    }
    let mut trees: Vec<(String, ListNode)> = Vec::new();
    for define in defines {
        if trees.iter().any(|(name, body)| name == define.name.as_str() && !body.is_empty_tree()) {
            let message = format!("template {:?} is defined twice", define.name.as_str());
            return Err(error(Some((define.pos.line, 1)), Problem::Syntax(message)));
        }
        trees.push((define.name.to_string(), define.body));
    }
    Ok((root, trees))
}

/// Takes the sentinel off the end of the root's text; false when it isn't there.
fn strip_sentinel(root: &mut ListNode) -> bool {
    let Some(Node::Text(TextNode { text, .. })) = root.nodes.last_mut() else { return false };
    let Some(own) = text.strip_suffix(SENTINEL).map(Arc::from) else { return false };
    *text = own;
    true
}

fn holds_sentinel(list: &ListNode) -> bool {
    match list.nodes.last() {
        Some(Node::Text(text)) => text.text.ends_with(SENTINEL),
        Some(_) => unclosed(list).is_some(),
        None => false,
    }
}

/// The innermost block that the sentinel is in.
fn unclosed(list: &ListNode) -> Option<gotmpl::parse::Pos> {
    let Some(Node::If(branch) | Node::Range(branch) | Node::With(branch)) = list.nodes.last() else { return None };
    let body = branch.else_body.as_ref().unwrap_or(&branch.body);
    unclosed(body).or_else(|| holds_sentinel(body).then_some(branch.pos))
}

fn pos_of(node: &Node) -> gotmpl::parse::Pos {
    match node {
        Node::Text(text) => text.pos,
        Node::Action(action) => action.pos,
        Node::If(branch) | Node::Range(branch) | Node::With(branch) => branch.pos,
        Node::Template(call) => call.pos,
        Node::List(list) => list.pos,
        Node::Define(define) => define.pos,
        Node::Break(pos) | Node::Continue(pos) => *pos,
    }
}
