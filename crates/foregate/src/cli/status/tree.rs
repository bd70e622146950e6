//! A status as a tree, and how it is drawn.

use serde::Serialize;

use crate::cli::table::{BAD, DIM, GOOD, STRONG, WARN, styled, width, wrap};

/// How something fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// It serves.
    #[default]
    Serving,
    /// It serves, but is to be looked at.
    Attention,
    /// It doesn't serve.
    Broken,
}

/// One thing with what it consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// What, e.g. `HTTPRoute default/web`.
    pub what: String,
    /// How it fares.
    pub state: State,
    /// What is to be known of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub says: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What it consists of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Node>,
}

impl Node {
    /// Something that serves.
    pub fn new(what: impl Into<String>, says: impl Into<String>) -> Self {
        Self { what: what.into(), says: says.into(), ..Self::default() }
    }

    /// The same in another state.
    pub fn state(self, state: State) -> Self {
        Self { state, ..self }
    }

    /// The same with what to do.
    pub fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }

    /// Whether it and all of its parts serve.
    pub fn is_well(&self) -> bool {
        self.state != State::Broken && self.parts.iter().all(Self::is_well)
    }
}

/// The whole tree.
pub fn render(nodes: &[Node]) -> String {
    if nodes.is_empty() {
        return "there is no Gateway yet; `kubectl apply -f examples/demo/` makes one\n".to_owned();
    }
    let room = width().unwrap_or(200);
    let mut out = String::new();
    for node in nodes {
        draw(&mut out, node, ("", ""), room);
    }
    let broken: usize = nodes.iter().map(count).sum();
    if broken > 0 {
        let what =
            if broken == 1 { "1 thing doesn't serve".to_owned() } else { format!("{broken} things don't serve") };
        out.push_str(&format!("\n{}\n", styled(BAD, what)));
    }
    out
}

fn count(node: &Node) -> usize {
    let parts = node.parts.iter().map(count).sum::<usize>();
    // What is broken because a part of it is counts once.
    if parts > 0 { parts } else { usize::from(node.state == State::Broken) }
}

/// `own` stands before the node's first line, `below` before all others.
fn draw(out: &mut String, node: &Node, (own, below): (&str, &str), room: usize) {
    let (sign, style) = match node.state {
        State::Serving => ("✓", GOOD),
        State::Attention => ("!", WARN),
        State::Broken => ("✗", BAD),
    };
    let what = if own.is_empty() { styled(STRONG, &node.what) } else { node.what.clone() };
    let head = own.chars().count() + 2 + node.what.chars().count() + 2;
    let broken = node.state != State::Serving;
    let says = node.says.trim_end();
    let fits = head + says.chars().count() <= room && !says.contains('\n');
    let tone = if broken { style } else { DIM };
    // Writing to a string can't fail.
    let inline = if fits && !says.is_empty() { format!("  {}", styled(tone, says)) } else { String::new() };
    out.push_str(&format!("{}{} {what}{inline}\n", styled(DIM, own), styled(style, sign)));
    let bar = if node.parts.is_empty() { format!("{below}  ") } else { format!("{below}│ ") };
    let mut told = |text: &str, style: anstyle::Style, lead: &str| {
        let gap = " ".repeat(lead.chars().count());
        for (at, line) in wrap(text, room.saturating_sub(bar.chars().count() + 2 + gap.len())).iter().enumerate() {
            let lead = if at == 0 { lead } else { &gap };
            out.push_str(&format!("{}  {}{}\n", styled(DIM, &bar), styled(style, lead), styled(style, line)));
        }
    };
    if !fits {
        told(says, tone, "");
    }
    if let Some(next) = &node.next {
        told(next, STRONG, "→ ");
    }
    for (at, part) in node.parts.iter().enumerate() {
        let last = at + 1 == node.parts.len();
        let (own, below) = if last {
            (format!("{below}└ "), format!("{below}  "))
        } else {
            (format!("{below}├ "), format!("{below}│ "))
        };
        draw(out, part, (&own, &below), room);
    }
}
