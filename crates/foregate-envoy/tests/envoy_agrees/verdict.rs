//! Envoy's words, read.

/// What Envoy's answer says about constraints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Taken.
    Accepted,
    /// A broken constraint; the field, from the message that Envoy checked on; empty if it isn't said.
    Broken(Vec<String>),
    /// Refused for another reason, which only a message that keeps all constraints can be.
    Otherwise,
}

const MARK: &str = "Proto constraint validation failed (";

/// Reads an answer.
pub fn read(refusal: Option<&str>) -> Verdict {
    let Some(text) = refusal else { return Verdict::Accepted };
    let Some((_, rest)) = text.split_once(MARK) else {
        // A message that is too long to be shown cuts off what follows it; nothing else is said after a message.
        let shown = text.split_once("(s) x: ").map_or(text, |(_, shown)| shown);
        let cut = shown.starts_with("goo.gle/debug") && text.trim_end().ends_with("...(truncated)");
        return if cut { Verdict::Broken(Vec::new()) } else { Verdict::Otherwise };
    };
    Verdict::Broken(rest.split("| caused by ").map(field).collect())
}

/// `FooValidationError.BarBaz: …`, `FooValidationError.BarBaz[1]: …` or `field: "bar_baz", …`.
fn field(segment: &str) -> String {
    let named = segment.trim_start().strip_prefix("field: ").map(|rest| rest.split(',').next().unwrap_or(rest));
    let named = named.or_else(|| segment.split_once("ValidationError.")?.1.split([':', '[']).next());
    plain(named.unwrap_or(segment))
}

/// A name without what languages write differently.
pub fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The fields of one of our paths.
pub fn fields(path: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut depth = 0;
    let mut current = String::new();
    for c in path.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            '.' if depth == 0 => fields.push(plain(&std::mem::take(&mut current))),
            _ if depth == 0 => current.push(c),
            _ => {}
        }
    }
    if !current.is_empty() {
        fields.push(plain(&current));
    }
    fields
}

#[test]
fn words_are_read() {
    let text = "Error adding/updating listener(s) x: goo.gle/debugstr\n: Proto constraint validation failed \
        (RouterValidationError.StrictCheckHeaders[0]: embedded message failed validation | caused by \
        field: \"override\", reason: is required)\n";
    assert_eq!(read(Some(text)), Verdict::Broken(vec!["strictcheckheaders".to_owned(), "override".to_owned()]));
    assert_eq!(read(Some("no")), Verdict::Otherwise);
    assert_eq!(fields(r#"a_b[0].c["x.y"].d"#), ["ab", "c", "d"]);
}
