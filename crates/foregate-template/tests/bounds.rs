//! Hostile templates end soon, with an error, on the small stack of a test's thread.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::time::{Duration, Instant};

use foregate_template::{Problem, Template};
use proptest::prelude::*;
use serde_json::json;

/// Generous: debug builds on a busy machine.
const SOON: Duration = Duration::from_secs(60);

fn problem(text: &str) -> Problem {
    let start = Instant::now();
    let result = Template::parse("t", text).and_then(|template| template.render(&json!({"s": "x"})));
    assert!(start.elapsed() < SOON, "took {:?}", start.elapsed());
    *result.expect_err("it must be refused").problem
}

#[test]
fn nesting() {
    for (open, close) in [("(", ")"), ("", "")] {
        let text = format!("{{{{ {}1{} }}}}", open.repeat(20_000), close.repeat(20_000));
        if !open.is_empty() {
            assert!(matches!(problem(&text), Problem::Syntax(_)));
        }
    }
    let blocks = format!("{}{}", "{{if 1}}".repeat(20_000), "{{end}}".repeat(20_000));
    assert!(matches!(problem(&blocks), Problem::Syntax(_)));
    let chain = format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if 0}}".repeat(70_000));
    assert!(matches!(problem(&chain), Problem::Syntax(_)));
    // As long as it may be: parsed, prepared and dropped without trouble.
    let longest = format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if 0}}".repeat(500));
    assert_eq!(problem(&longest), Problem::TooDeep);
}

#[test]
fn recursion() {
    assert_eq!(problem(r#"{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}"#), Problem::TooDeep);
    let deep = r#"{{ define "a" }}{{ if 1 }}{{ with 1 }}{{ range 1 }}{{ template "a" . }}{{ end }}{{ end }}{{ end }}{{ end }}{{ template "a" . }}"#;
    assert_eq!(problem(deep), Problem::TooDeep);
    // As deep as blocks and parentheses go at once.
    let parens = format!("{}1{}", "(".repeat(90), ")".repeat(90));
    let both = format!(
        r#"{{{{ define "a" }}}}{{{{ if {parens} }}}}{{{{ template "a" {parens} }}}}{{{{ end }}}}{{{{ end }}}}{{{{ template "a" }}}}"#
    );
    assert_eq!(problem(&both), Problem::TooDeep);
    // Doubles 60 levels deep: no level too many, and far too many calls.
    let mut text = String::new();
    for level in 0..60 {
        text += &format!(
            r#"{{{{ define "t{level}" }}}}{{{{ template "t{0}" }}}}{{{{ template "t{0}" }}}}{{{{ end }}}}"#,
            level + 1
        );
    }
    text += r#"{{ define "t60" }}{{ end }}{{ template "t0" }}"#;
    assert!(matches!(problem(&text), Problem::TooMuchWork(_)));
}

#[test]
fn size() {
    let too_large = |what| move |problem: &Problem| matches!(problem, Problem::TooLarge { what: w, .. } if *w == what);
    let value = too_large("a value");
    for text in [
        r#"{{ repeat 1000000000 "x" }}"#,
        r#"{{ until 1000000000 }}"#,
        r#"{{ untilStep 0 9223372036854775807 1 }}"#,
        r#"{{ indent 1000000000 "x" }}"#,
        r#"{{ $s := repeat 100000 "a" }}{{ replace "a" $s $s }}"#,
        r#"{{ $s := repeat 100000 "a" }}{{ regexReplaceAll "a" $s $s }}"#,
        r#"{{ $s := repeat 1000000 "a" }}{{ join $s (until 1000) }}"#,
        r#"{{ $s := "xx" }}{{ range until 100 }}{{ $s = print $s $s }}{{ end }}"#,
        r#"{{ $l := list 1 }}{{ range until 100 }}{{ $l = list $l $l }}{{ end }}"#,
        r#"{{ $f := repeat 9000 "%999s" }}{{ printf $f "x" }}"#,
        r#"{{ $f := repeat 9000 "%*d" }}{{ printf $f 60000 1 }}"#,
        r#"{{ $s := repeat 1000000 "x" }}{{ printf "%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s" $s }}"#,
    ] {
        let got = problem(text);
        assert!(value(&got), "{text}: {got:?}");
    }
    assert!(too_large("the output")(&problem("{{ range until 100000 }}0123456789abcdef{{ end }}")));
    assert!(too_large("the template")(&problem(&"x".repeat(2 << 20))));
    assert_eq!(problem(r#"{{ $l := list }}{{ range until 1000 }}{{ $l = list $l }}{{ end }}"#), Problem::TooDeep);
}

#[test]
fn work() {
    for text in [
        "{{ range 1000000000 }}{{ end }}",
        "{{ range until 10000 }}{{ range until 10000 }}{{ end }}{{ end }}",
        r#"{{ $s := repeat 1000000 "a" }}{{ range until 100000 }}{{ $x := upper $s }}{{ end }}"#,
        r#"{{ range until 100000 }}{{ $x := regexMatch "(a|b)*c" "aaaa" }}{{ end }}"#,
        r#"{{ $s := repeat 1000000 "a" }}{{ range until 100000 }}{{ if eq $s $s }}{{ end }}{{ end }}"#,
    ] {
        let got = problem(text);
        assert!(matches!(got, Problem::TooMuchWork(_)), "{text}: {got:?}");
    }
}

#[test]
fn a_failed_rendering_leaves_no_trace() {
    let template =
        Template::parse("t", r#"{{ if .big }}{{ repeat 1000000000 "x" }}{{ end }}{{ upper "ok" }}"#).unwrap();
    for _ in 0..3 {
        assert!(template.render(&json!({"big": true})).is_err());
        assert_eq!(template.render(&json!({"big": false})).as_deref(), Ok("OK"));
    }
}

#[test]
fn templates_are_shared_between_threads() {
    let template = Template::parse("t", r#"{{ range until 50 }}{{ . }}{{ end }}"#).unwrap();
    let want = template.render(&json!({})).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(template.render(&json!({})).as_ref(), Ok(&want)));
        }
    });
}

/// Pieces from which templates are made, right and wrong.
fn soup() -> impl Strategy<Value = String> {
    let pieces = [
        "{{", "}}", "{{-", "-}}", "if", "else", "end", "range", "with", "define", "template", "block", "break",
        "\"x\"", "`", "\"", "'", ".", "$", "$x", ":=", "=", "|", "(", ")", ",", ".s", ".a.b", "1", "-", "0x", "1e9",
        "list", "dict", "printf", "\"%d\"", "until", "upper", "index", "nil", "/*", "*/", " ", " ", "\n", "é", "\u{1}",
        "text",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_text_is_parsed_or_refused(text in any::<String>()) {
        let _ = Template::parse("t", &text).and_then(|template| template.render(&json!({})));
    }

    #[test]
    fn arbitrary_templates_are_rendered_or_refused(text in soup()) {
        let _ = Template::parse("t", &text).and_then(|template| template.render(&json!({"s": [1, "x"], "a": {"b": 1}})));
    }

    #[test]
    fn plain_text_is_printed_as_it_is(text in "[^{\u{1}]{0,200}") {
        prop_assert_eq!(Template::parse("t", &text).unwrap().render(&json!({})).unwrap(), text);
    }

    #[test]
    fn quoted_values_are_read_back(value in "\\PC{0,40}") {
        let template = Template::parse("t", "{{ (fromYaml (print \"k: \" (quote .v))).k }}").unwrap();
        prop_assert_eq!(template.render(&json!({"v": value})).unwrap(), value);
    }
}
