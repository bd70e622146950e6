//! Every function, by a table: template, output. The data is the same for all.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use foregate_template::{Functions, Template};
use serde_json::{Value, json};

fn data() -> Value {
    json!({
        "name": "edge", "empty": "", "zero": 0, "null": null, "flag": true, "port": 8080, "ratio": 0.5,
        "hosts": ["b.example", "a.example", "b.example"],
        "labels": {"app": "web", "tier": "front"},
        "deep": {"a": {"b": {"c": 7}}},
        "text": "one\ntwo",
    })
}

#[track_caller]
fn check(table: &[(&str, &str)]) {
    for (text, want) in table {
        let got = Template::parse("t", text).and_then(|template| template.render(&data()));
        assert_eq!(got.as_deref().map_err(ToString::to_string), Ok(*want), "{text}");
    }
}

#[test]
fn strings() {
    check(&[
        (r#"{{ upper "aé" }}{{ lower "BÉ" }}"#, "AÉbé"),
        (r#"{{ title "hello wide world" }}"#, "Hello Wide World"),
        (r#"{{ untitle "Hello World" }}"#, "hello world"),
        (r#"[{{ trim "  a b " }}]"#, "[a b]"),
        (r#"{{ trimAll "$" "$5.00$" }} {{ trimPrefix "a" "ab" }} {{ trimSuffix ".x" "a.x" }}"#, "5.00 b a"),
        (r#"{{ nospace "a b\tc" }}"#, "abc"),
        (r#"{{ swapcase "aBß" }} {{ plural "one" "many" 1 }} {{ plural "one" "many" 2 }}"#, "Abß one many"),
        (r#"{{ wrap 5 "aa bb cc" }} {{ wrapWith 2 "|" "aa bb" }}"#, "aa bb\ncc aa|bb"),
        (
            r#"{{ base "/a/b.c" }} {{ dir "/a/b.c" }} {{ dir "x" }} {{ ext "a/b.c" }} {{ isAbs "/a" }}"#,
            "b.c /a . .c true",
        ),
        (r#"{{ replace " " "-" "a b c" }}"#, "a-b-c"),
        (r#"{{ contains "cat" "concat" }} {{ hasPrefix "a" "ab" }} {{ hasSuffix "a" "ab" }}"#, "true true false"),
        (r#"{{ (split "$" "foo$bar")._1 }}"#, "bar"),
        (r#"{{ (splitn "$" 2 "a$b$c")._1 }}"#, "b$c"),
        (r#"{{ splitList "," "a,b" | join "+" }}"#, "a+b"),
        (r#"{{ join "_" (list 1 "a" true) }} {{ join "," "x" }}"#, "1_a_true x"),
        (r#"{{ cat "a" 1 nil "b" }}"#, "a 1 b"),
        (r#"{{ indent 2 .text }}"#, "  one\n  two"),
        (r#"x:{{ nindent 2 .text }}"#, "x:\n  one\n  two"),
        (r#"{{ repeat 3 "ab" }}{{ repeat 0 "x" }}"#, "ababab"),
        (r#"{{ substr 0 5 "hello world" }} {{ substr 2 -1 "hello" }} {{ substr 1 3 "äöü" }}"#, "hello llo öü"),
        (r#"{{ trunc 3 "hello" }} {{ trunc -3 "hello" }} {{ trunc 9 "hi" }}"#, "hel llo hi"),
        (r#"{{ abbrev 6 "hello world" }} {{ initials "First Try" }}"#, "hel... FT"),
        (r#"{{ quote "a\"b" 1 nil }} {{ squote "it's" }}"#, r#""a\"b" "1" 'it''s'"#),
        (
            r#"{{ snakecase "fooBarBaz" }} {{ kebabcase "fooBar x" }} {{ camelcase "foo_bar" }}"#,
            "foo_bar_baz foo-bar-x FooBar",
        ),
        (r#"{{ toString 12 }}{{ toString .null }} {{ toStrings (list 1 2) | join "," }}"#, "12 1,2"),
        (r#"{{ html "<a>" }} {{ js "it's" }} {{ urlquery "a b&c" }}"#, r"&lt;a&gt; it\'s a+b%26c"),
    ]);
}

#[test]
fn numbers() {
    check(&[
        (r#"{{ add 1 2 3 }} {{ add1 4 }} {{ sub 5 7 }} {{ mul 2 3 4 }} {{ div 7 2 }} {{ mod 7 3 }}"#, "6 5 -2 24 3 1"),
        (r#"{{ max 1 9 3 }} {{ min 4 2 8 }} {{ biggest 1 2 }}"#, "9 2 2"),
        (
            r#"{{ int "42" }} {{ int64 3.9 }} {{ int "x" }} {{ atoi "7" }} {{ float64 "1.5" }} {{ float 2 }}"#,
            "42 3 0 7 1.5 2",
        ),
        (r#"{{ floor 1.7 }} {{ ceil 1.2 }} {{ round 1.255 1 }}"#, "1 2 1.3"),
        (
            r#"{{ addf 1.5 2 }} {{ subf 3 1.5 }} {{ mulf 2 1.5 }} {{ divf 3 2 }} {{ maxf 1 2.5 }} {{ minf 1.5 2 }}"#,
            "3.5 1.5 3 1.5 2.5 1.5",
        ),
        (r#"{{ add .port 1 }} {{ mul .ratio 4 }}"#, "8081 0"),
    ]);
}

#[test]
fn lists() {
    check(&[
        (r#"{{ list 1 "a" true }} {{ tuple 1 2 }}"#, "[1 a true] [1 2]"),
        (
            r#"{{ first .hosts }} {{ last .hosts }} {{ rest .hosts }} {{ initial .hosts }}"#,
            "b.example b.example [a.example b.example] [b.example a.example]",
        ),
        (
            r#"{{ append (list 1) 2 }} {{ push (list 1) 2 }} {{ prepend (list 1) 0 }} {{ concat (list 1) (list 2 3) }}"#,
            "[1 2] [1 2] [0 1] [1 2 3]",
        ),
        (
            r#"{{ reverse (list 1 2) }} {{ uniq .hosts }} {{ compact (list 0 1 "" "a") }} {{ without (list 1 2 3) 2 3 }}"#,
            "[2 1] [b.example a.example] [1 a] [1]",
        ),
        (
            r#"{{ has 2 (list 1 2) }} {{ has "x" .hosts }} {{ sortAlpha .hosts }}"#,
            "true false [a.example b.example b.example]",
        ),
        (r#"{{ chunk 2 (list 1 2 3) }} {{ slice (list 1 2 3) 1 }} {{ slice "abcd" 1 3 }}"#, "[[1 2] [3]] [2 3] bc"),
        (
            r#"{{ until 3 }} {{ until -2 }} {{ untilStep 3 10 3 }} {{ untilStep 3 0 -1 }} {{ untilStep 1 5 0 }}"#,
            "[0 1 2] [0 -1] [3 6 9] [3 2 1] []",
        ),
        (r#"{{ seq 3 }}, {{ seq 2 4 }}, {{ seq 0 2 4 }}, {{ seq 3 1 }}"#, "1 2 3, 2 3 4, 0 2 4, 3 2 1"),
        (r#"{{ all 1 "a" }} {{ all 1 0 }} {{ any 0 "" }} {{ any 0 1 }}"#, "true false false true"),
        (r#"{{ len .hosts }} {{ index .hosts 1 }} {{ first .null | empty }}"#, "3 a.example true"),
    ]);
}

#[test]
fn dictionaries() {
    check(&[
        (r#"{{ $d := dict "a" 1 "b" 2 }}{{ $d.a }}{{ get $d "b" }}{{ get $d "c" }}"#, "12"),
        (
            r#"{{ hasKey .labels "app" }} {{ hasKey .labels "x" }} {{ keys .labels }} {{ values .labels }}"#,
            "true false [app tier] [web front]",
        ),
        (r#"{{ dig "a" "b" "c" 0 .deep }} {{ dig "a" "x" "none" .deep }}"#, "7 none"),
        (
            r#"{{ pick .labels "app" }} {{ omit .labels "app" }} {{ pluck "a" (dict "a" 1) (dict "b" 2) (dict "a" 3) }}"#,
            "map[app:web] map[tier:front] [1 3]",
        ),
        (
            r#"{{ merge (dict "a" 1) (dict "a" 2 "b" 3) }} {{ mergeOverwrite (dict "a" 1) (dict "a" 2) }}"#,
            "map[a:1 b:3] map[a:2]",
        ),
        (r#"{{ merge (dict "x" (dict "a" 1)) (dict "x" (dict "b" 2)) }}"#, "map[x:map[a:1 b:2]]"),
        (r#"{{ mergeOverwrite (dict "x" (dict "a" 1 "b" 1)) (dict "x" (dict "b" 2)) }}"#, "map[x:map[a:1 b:2]]"),
        // The form that Go changes in place.
        (
            r#"{{ $d := dict }}{{ $_ := set $d "k" 1 }}{{ $_ := set $d "l" 2 }}{{ $_ := unset $d "k" }}{{ $d }}"#,
            "map[l:2]",
        ),
        (
            r#"{{ $d := dict "a" 1 }}{{ range until 2 }}{{ $_ := set $d (toString .) true }}{{ end }}{{ $d }}"#,
            "map[0:true 1:true a:1]",
        ),
        (r#"{{ $d := dict "a" 1 }}{{ $e := set $d "b" 2 }}{{ $d }} {{ $e }}"#, "map[a:1] map[a:1 b:2]"),
        (
            r#"{{ deepEqual (dict "a" (list 1)) (dict "a" (list 1.0)) }} {{ deepCopy .labels }}"#,
            "true map[app:web tier:front]",
        ),
    ]);
}

#[test]
fn choice_and_comparison() {
    check(&[
        (r#"{{ default "d" .empty }} {{ default "d" .name }} {{ default "d" .null }} {{ default "d" }}"#, "d edge d d"),
        (r#"{{ .zero | default 5 }} {{ empty .zero }} {{ empty .name }}"#, "5 true false"),
        (r#"{{ coalesce .empty .zero "x" }} {{ ternary "a" "b" .flag }} {{ ternary "a" "b" false }}"#, "x a b"),
        (
            r#"{{ eq .port 8080 }} {{ eq .port 8080.0 }} {{ eq .name "a" "edge" }} {{ ne 1 2 }} {{ eq .null nil }}"#,
            "true true true true true",
        ),
        (r#"{{ lt 1 2 }} {{ le 2 2.0 }} {{ gt 1 2 }} {{ ge "b" "a" }} {{ lt .ratio 1 }}"#, "true true false true true"),
        (
            r#"{{ kindOf .labels }} {{ kindOf .hosts }} {{ kindOf .port }} {{ kindIs "string" .name }}"#,
            "map slice int true",
        ),
        (r#"{{ typeOf .name }} {{ typeIs "bool" .flag }} {{ typeIsLike "*string" .name }}"#, "string true true"),
        (
            r#"{{ required "need it" .name }} {{ and .flag .name }} {{ or .empty "y" }} {{ not .flag }}"#,
            "edge edge y false",
        ),
    ]);
}

#[test]
fn encodings_and_patterns() {
    check(&[
        (r#"{{ toJson .labels }} {{ toRawJson "<" }} {{ mustToJson 1 }}"#, r#"{"app":"web","tier":"front"} "<" 1"#),
        (r#"{{ toPrettyJson (dict "a" 1) }}"#, "{\n  \"a\": 1\n}"),
        (r#"{{ (fromJson "{\"a\": [1, 2.0]}").a }} {{ (mustFromJson "[3]") }}"#, "[1 2] [3]"),
        (r#"{{ toYaml .labels }}"#, "app: web\ntier: front"),
        (r#"{{ (fromYaml "a:\n  b: yes").a.b }}"#, "yes"),
        (r#"{{ b64enc "hi" }} {{ b64dec "aGk=" }}"#, "aGk= hi"),
        (r#"{{ sha256sum "" | trunc 8 }}"#, "e3b0c442"),
        (
            r#"{{ regexMatch "^a+$" "aaa" }} {{ mustRegexMatch "b" "a" }} {{ regexFind "[0-9]+" "a12b3" }}"#,
            "true false 12",
        ),
        (r#"{{ regexFindAll "[0-9]" "1a2b3" 2 }} {{ regexSplit "," "a,b,c" -1 }}"#, "[1 2] [a b c]"),
        (r#"{{ regexReplaceAll "a(x*)b" "-ab-axxb-" "${1}W" }} {{ mustRegexReplaceAll "a" "aa" "b" }}"#, "-W-xxW- bb"),
        (r#"{{ regexReplaceAllLiteral "a(x*)b" "-ab-" "${1}" }} {{ regexQuoteMeta "1.5" }}"#, r"-${1}- 1\.5"),
        (r#"{{ printf "%s-%04d-%v-%q" "a" 7 .hosts "x" }}"#, r#"a-0007-[b.example a.example b.example]-"x""#),
        (r#"{{ print 1 2 "a" "b" }}|{{ println "x" 1 }}"#, "1 2ab|x 1\n"),
    ]);
}

#[test]
fn yaml_keeps_types() {
    let odd = json!({"v": ["yes", "1", "null", "a: b", "line\nbreak", "", " x", 1, true, null, {"k": []}]});
    let template = Template::parse("t", "{{ toYaml .v | nindent 2 }}").unwrap();
    let text = template.render(&odd).unwrap();
    let back = Template::parse("t", "{{ fromYaml .text | toJson }}").unwrap().render(&json!({"text": text})).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&back).unwrap(), odd["v"]);
}

#[test]
fn own_functions() {
    let functions = Functions::new().with("routes", |args| {
        let name = args.first().and_then(Value::as_str).ok_or("wants a name")?;
        Ok(json!({"rds": {"route_config_name": name}}))
    });
    let template = Template::parse_with("t", "{{ routes \"http-8080\" | toJson }}", functions.clone()).unwrap();
    assert_eq!(template.render(&json!({})).unwrap(), r#"{"rds":{"route_config_name":"http-8080"}}"#);
    let template = Template::parse_with("t", "\n {{ routes 5 }}", functions).unwrap();
    let error = template.render(&json!({})).unwrap_err();
    assert_eq!(error.to_string(), r#"template "t", line 2, column 5, at `routes 5`: routes: wants a name"#);
}

#[test]
fn templates_and_control_flow() {
    check(&[
        (
            r#"{{ define "x" }}<{{ . }}>{{ end }}{{ range .hosts }}{{ template "x" . }}{{ end }}"#,
            "<b.example><a.example><b.example>",
        ),
        (r#"{{ range $i, $h := .hosts }}{{ if $i }},{{ end }}{{ $h }}{{ end }}"#, "b.example,a.example,b.example"),
        (r#"{{ range $k, $v := .labels }}{{ $k }}={{ $v }};{{ end }}"#, "app=web;tier=front;"),
        (r#"{{ range .null }}x{{ else }}none{{ end }}"#, "none"),
        (r#"{{ with .deep.a }}{{ .b.c }}{{ end }}{{ with .empty }}x{{ else with .name }}{{ . }}{{ end }}"#, "7edge"),
        (
            r#"{{ range until 9 }}{{ if eq . 2 }}{{ continue }}{{ else if gt . 3 }}{{ break }}{{ end }}{{ . }}{{ end }}"#,
            "013",
        ),
        ("a {{- 1 -}} b {{/* note */}}c", "a1b c"),
        (r#"{{ block "b" .name }}[{{ . }}]{{ end }}"#, "[edge]"),
        ("<no value>", "<no value>"),
    ]);
}

/// Every second name leads to a function, and nothing that depends on more than the data has a name at all.
#[test]
fn names() {
    check(&[
        (r#"{{ mustFirst (list 1) }}{{ mustUniq (list 1 1) }}{{ trimall "x" "xax" }}{{ mustToYaml 1 }}"#, "1[1]a1"),
        (r#"{{ $d := dict }}{{ $_ := mustMerge $d (dict "a" 1) }}{{ $d }}"#, "map[a:1]"),
    ]);
    for name in ["now", "env", "expandenv", "randAlpha", "uuidv4", "genCA", "getHostByName", "call", "lookup", "tpl"] {
        assert!(Template::parse("t", &format!("{{{{ {name} }}}}")).is_err(), "{name}");
    }
}
