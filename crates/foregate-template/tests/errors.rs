//! Errors say where and what.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use foregate_template::{Functions, Limits, Problem, Template};
use serde_json::{Value, json};

fn render(text: &str, data: &Value) -> Result<String, String> {
    let template = Template::parse("listener", text).map_err(|error| error.to_string())?;
    template.render(data).map_err(|error| error.to_string())
}

#[test]
fn messages() {
    let data = json!({"a": {"b": 1}, "n": null, "s": "x"});
    let table = [
        (
            "x\n  {{ .a.c }}",
            r#"template "listener", line 2, column 6, at `.a.c`: the data has no key "c": for an optional value use `get`, `dig` or `hasKey`"#,
        ),
        (
            "{{ .n }}",
            r#"template "listener", line 1, column 4, at `.n`: the value is null, which can't be printed: give it a value, or use `default`"#,
        ),
        (
            "{{ uper .s }}",
            r#"template "listener", line 1, column 4: there is no function "uper"; did you mean "upper"?"#,
        ),
        ("{{ zzzzzz .s }}", r#"template "listener", line 1, column 4: there is no function "zzzzzz""#),
        (
            "\n\n{{ template \"x\" }}",
            r#"template "listener", line 3, column 4: there is no template "x": define it in the same text"#,
        ),
        (
            "{{ upper 1 }}",
            r#"template "listener", line 1, column 4, at `upper 1`: upper: argument 1 must be a string, it is int"#,
        ),
        ("{{ trunc 1 }}", r#"template "listener", line 1, column 4, at `trunc 1`: trunc: takes 2 arguments, got 1"#),
        ("{{ div 1 0 }}", r#"template "listener", line 1, column 4, at `div 1 0`: div: division by zero"#),
        (
            "{{ mul 9223372036854775807 2 }}",
            r#"template "listener", line 1, column 4, at `mul 9223372036854775807 2`: mul: the result doesn't fit 64 bits"#,
        ),
        ("{{ fail \"no port\" }}", r#"template "listener", line 1, column 4, at `fail "no port"`: no port"#),
        (
            "{{ required \"give .n\" .n }}",
            r#"template "listener", line 1, column 4, at `required "give .n" .n`: give .n"#,
        ),
        (
            "{{ eq .a .s }}",
            r#"template "listener", line 1, column 4, at `eq .a .s`: eq: can't compare map with string"#,
        ),
        ("{{ .s.x }}", r#"template "listener", line 1, column 4, at `.s.x`: can't evaluate field x in type string"#),
        (
            "{{ fromYaml \"a: [\" }}",
            r#"template "listener", line 1, column 4, at `fromYaml "a: ["`: fromYaml: not YAML"#,
        ),
        ("{{ regexMatch \"(\" .s }}", "is not a regular expression"),
        ("{{ $_ := set .a \"k\" 1 }}", "set can change a variable only"),
        ("{{ $x }}", "variable $x is not declared here"),
        ("{{ b64dec \"?\" }}", "b64dec: not base64"),
    ];
    for (text, want) in table {
        let got = render(text, &data).unwrap_err();
        assert!(got.contains(want), "{text}\n got {got}\nwant {want}");
    }
}

#[test]
fn unbalanced_blocks() {
    let table = [
        ("a{{ if .s }}b", Some((1, 5)), "no {{end}}"),
        ("\n{{ if .s }}{{ range .x }}b{{ end }}", Some((2, 4)), "no {{end}}"),
        ("{{ range .s }}\n{{ with .x }}", Some((2, 4)), "no {{end}}"),
        ("{{ if .s }}b{{ else }}c", Some((1, 4)), "no {{end}}"),
        ("{{ define \"x\" }}b", None, "{{end}}"),
        ("a{{ end }}b", Some((1, 1)), "without its block"),
        ("a{{ else }}b", Some((1, 1)), "without its block"),
        ("{{ if .s }}{{ end }}{{ end }}", Some((1, 4)), "without its block"),
        ("{{ if }}x{{ end }}", Some((1, 9)), "empty command"),
        ("{{ \"a }}", Some((1, 10)), "unterminated string"),
        ("{{ define \"x\" }}a{{ end }}{{ define \"x\" }}b{{ end }}", Some((1, 1)), "twice"),
        ("{{", Some((1, 3)), "the text ends inside an action"),
    ];
    for (text, position, want) in table {
        let error = Template::parse("t", text).unwrap_err();
        let Problem::Syntax(message) = error.problem.as_ref() else { panic!("{text}: {error}") };
        assert!(message.contains(want), "{text}: {error}");
        if position.is_some() {
            assert_eq!(error.position, position, "{text}: {error}");
        }
    }
}

#[test]
fn a_position_in_a_called_template() {
    let text = "{{ define \"x\" }}\n  {{ .missing }}{{ end }}\n{{ template \"x\" . }}";
    let error = Template::parse("t", text).unwrap().render(&json!({})).unwrap_err();
    assert_eq!((error.position, *error.problem), (Some((2, 6)), Problem::MissingKey("missing".into())));
}

#[test]
fn limits_of_a_caller() {
    let limits = Limits { template: 20, output: 4, value: 1000, steps: 10 };
    let parse = |text| Template::parse_limited("t", text, Functions::new(), limits);
    assert_eq!(
        *parse("12345").unwrap().render(&json!({})).unwrap_err().problem,
        Problem::TooLarge { what: "the output", limit: 4 }
    );
    assert_eq!(
        *parse("123456789012345678901").unwrap_err().problem,
        Problem::TooLarge { what: "the template", limit: 20 }
    );
    let data = json!("x".repeat(1001));
    assert_eq!(
        *parse("x").unwrap().render(&data).unwrap_err().problem,
        Problem::TooLarge { what: "the data", limit: 1000 }
    );
    assert_eq!(
        *parse("{{range 99}}{{end}}").unwrap().render(&json!({})).unwrap_err().problem,
        Problem::TooMuchWork(10)
    );
    assert_eq!(parse("1234").unwrap().render(&json!({})).as_deref(), Ok("1234"));
}
