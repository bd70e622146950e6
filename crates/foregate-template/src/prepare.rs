//! Prepares a parsed template: names checked, marks planted, `set` made to assign.
//!
//! The engine says neither where it is when something fails nor when it goes on. So a *mark*, a text node that is
//! never printed, is planted before every node; the writer recognises it by its address and learns the position.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use gotmpl::parse::{ActionNode, BranchNode, Expr, ListNode, Node, PipeNode, Pos, TextNode};

use crate::error::{Problem, TemplateError};

/// A position in the template's text.
#[derive(Debug)]
pub(crate) struct Mark {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) action: String,
    /// Whether plain text follows.
    pub(crate) text: bool,
}

/// The marks of one template, by the address of their text.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    by_address: HashMap<usize, Mark>,
    /// Keeps every mark's text, and so its address, alive as long as the table.
    texts: Vec<Arc<str>>,
}

impl Marks {
    pub(crate) fn get(&self, text: &str) -> Option<&Mark> {
        if text.len() != 1 {
            return None;
        }
        self.by_address.get(&text.as_ptr().addr())
    }

    fn plant(&mut self, mark: Mark) -> Node {
        let text: Arc<str> = Arc::from("@");
        self.by_address.insert(text.as_ptr().addr(), mark);
        self.texts.push(Arc::clone(&text));
        Node::Text(TextNode { pos: Pos::new(0, 0), text })
    }
}

/// Functions that Go changes their first argument with.
const MUTATING: [&str; 6] = ["set", "unset", "merge", "mergeOverwrite", "mustMerge", "mustMergeOverwrite"];

/// One pass over all trees of a template.
pub(crate) struct Prepare<'a> {
    pub(crate) name: &'a str,
    pub(crate) source: &'a str,
    pub(crate) functions: &'a BTreeSet<String>,
    pub(crate) templates: &'a BTreeSet<String>,
    pub(crate) marks: Marks,
    /// Byte offset at which each line starts.
    pub(crate) lines: Vec<usize>,
}

impl Prepare<'_> {
    /// Offsets at which lines start.
    pub(crate) fn line_starts(source: &str) -> Vec<usize> {
        std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect()
    }

    pub(crate) fn list(&mut self, list: &mut ListNode) -> Result<(), TemplateError> {
        let mut nodes = Vec::with_capacity(list.nodes.len() * 2);
        // An empty body is a step as well.
        nodes.push(self.mark(list.pos, true));
        for mut node in std::mem::take(&mut list.nodes) {
            let (pos, text) = match &node {
                Node::Text(text) => (text.pos, true),
                Node::Action(action) => (action.pos, false),
                Node::If(branch) | Node::Range(branch) | Node::With(branch) => (branch.pos, false),
                Node::Template(call) => (call.pos, false),
                Node::List(inner) => (inner.pos, true),
                Node::Define(define) => (define.pos, true),
                Node::Break(pos) | Node::Continue(pos) => (*pos, false),
            };
            nodes.push(self.mark(pos, text));
            self.node(&mut node)?;
            nodes.push(node);
        }
        list.nodes = nodes;
        Ok(())
    }

    fn node(&mut self, node: &mut Node) -> Result<(), TemplateError> {
        match node {
            Node::Action(action) => {
                self.pipe(&action.pipe)?;
                self.assign_changed(action)
            }
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => self.branch(branch),
            Node::Template(call) => {
                if !self.templates.contains(call.name.as_str()) {
                    return Err(self.error(call.pos, Problem::UnknownTemplate(call.name.to_string())));
                }
                call.pipe.as_ref().map_or(Ok(()), |pipe| self.pipe(pipe))
            }
            Node::List(list) => self.list(list),
            Node::Define(define) => self.list(&mut define.body),
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => Ok(()),
        }
    }

    fn branch(&mut self, branch: &mut BranchNode) -> Result<(), TemplateError> {
        self.pipe(&branch.pipe)?;
        self.list(&mut branch.body)?;
        branch.else_body.as_mut().map_or(Ok(()), |body| self.list(body))
    }

    fn pipe(&self, pipe: &PipeNode) -> Result<(), TemplateError> {
        pipe.commands.iter().flat_map(|command| &command.args).try_for_each(|arg| self.expr(arg))
    }

    fn expr(&self, expr: &Expr) -> Result<(), TemplateError> {
        match expr {
            Expr::Identifier(pos, name) if !self.functions.contains(name.as_str()) => {
                let suggestion = nearest(name, self.functions);
                Err(self.error(*pos, Problem::UnknownFunction { name: name.to_string(), suggestion }))
            }
            Expr::Pipe(_, pipe) => self.pipe(pipe),
            Expr::Chain(_, inner, _) => self.expr(inner),
            _ => Ok(()),
        }
    }

    /// `$_ := set $d …` drops its result, because Go changes `$d` itself: so assign it to `$d`.
    fn assign_changed(&self, action: &mut ActionNode) -> Result<(), TemplateError> {
        let pipe = &mut action.pipe;
        let ([result], [command]) = (pipe.decl.as_slice(), pipe.commands.as_slice()) else { return Ok(()) };
        let [Expr::Identifier(pos, function), first, ..] = command.args.as_slice() else { return Ok(()) };
        if result != "$_" || !MUTATING.contains(&function.as_str()) {
            return Ok(());
        }
        match first {
            Expr::Variable(_, variable, fields) if fields.is_empty() && variable != "$" => {
                pipe.decl = vec![variable.clone()];
                pipe.is_assign = true;
                Ok(())
            }
            _ => Err(self.error(
                *pos,
                Problem::Syntax(format!(
                    "{function} can change a variable only: write `$d := …` and `$d = {function} $d …`"
                )),
            )),
        }
    }

    fn mark(&mut self, pos: Pos, text: bool) -> Node {
        let (line, column) = self.position(pos);
        let action = if text { String::new() } else { self.action(pos) };
        self.marks.plant(Mark { line, column, action, text })
    }

    fn position(&self, pos: Pos) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= pos.offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let column = self.source.get(start..pos.offset).map_or(0, |before| before.chars().count()) + 1;
        (line, column)
    }

    /// The action's text, cut where it ends or gets long.
    fn action(&self, pos: Pos) -> String {
        const LONGEST: usize = 60;
        let rest = self.source.get(pos.offset..).unwrap_or_default();
        let mut end = rest.len().min(LONGEST);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let mut action = rest.get(..end).unwrap_or_default();
        for stop in ["}}", "\n"] {
            action = action.split(stop).next().unwrap_or_default();
        }
        action.trim_end_matches('-').trim().to_owned()
    }

    fn error(&self, pos: Pos, problem: Problem) -> TemplateError {
        let position = Some(self.position(pos));
        TemplateError { template: self.name.to_owned(), position, action: String::new(), problem: Box::new(problem) }
    }
}

/// The name with the fewest edits, if they are few.
fn nearest(name: &str, names: &BTreeSet<String>) -> Option<String> {
    let best = names.iter().map(|other| (distance(name, other), other)).min()?;
    (best.0 <= 1 + name.len() / 4).then(|| best.1.clone())
}

/// Levenshtein distance, case folded.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().flat_map(char::to_lowercase).take(64).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
