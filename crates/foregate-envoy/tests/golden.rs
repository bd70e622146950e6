//! Golden files: `<name>.in.yaml` names its type in its first line; `<name>.out.yaml` is the message printed again, or
//! for `bad-*` the list of mistakes. `UPDATE_GOLDEN=1` writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::{Path, PathBuf};

use foregate_envoy::{from_json, from_yaml, message_to_json, message_to_yaml, validate};
use prost::Message as _;

fn inputs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.to_str().unwrap().ends_with(".in.yaml"));
    files.sort();
    files
}

fn type_of(text: &str) -> &str {
    text.lines().next().unwrap().trim_start_matches("# ")
}

#[test]
fn golden() {
    let mut different = Vec::new();
    for path in inputs() {
        let text = std::fs::read_to_string(&path).unwrap();
        let bad = path.file_name().unwrap().to_str().unwrap().starts_with("bad-");
        let got = match from_yaml(type_of(&text), &text) {
            Ok(message) => {
                assert!(!bad, "{path:?} must be refused");
                message_to_yaml(&message).unwrap()
            }
            Err(diagnostics) => {
                assert!(bad, "{path:?}: {diagnostics:#?}");
                diagnostics.iter().map(|diagnostic| format!("- {diagnostic}\n")).collect()
            }
        };
        let out = PathBuf::from(path.to_str().unwrap().replace(".in.yaml", ".out.yaml"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&out, &got).unwrap();
        }
        if std::fs::read_to_string(&out).unwrap_or_default() != got {
            different.push(format!("{}:\n{got}", out.display()));
        }
    }
    assert!(different.is_empty(), "refresh with UPDATE_GOLDEN=1:\n{}", different.join("\n"));
}

/// Message → JSON → message, and message → YAML → message, give the same bytes; and Envoy's rules are kept.
#[test]
fn round_trips() {
    for path in inputs().iter().filter(|path| !path.to_str().unwrap().contains("bad-")) {
        let text = std::fs::read_to_string(path).unwrap();
        let type_name = type_of(&text);
        let message = from_yaml(type_name, &text).unwrap();
        let body = foregate_envoy::canonical::encode(&message);
        let json = message_to_json(&message);
        let again = from_json(type_name, &json).unwrap();
        assert_eq!(foregate_envoy::canonical::encode(&again), body, "{path:?} through JSON");
        let yaml = message_to_yaml(&message).unwrap();
        let again = from_yaml(type_name, &yaml).unwrap();
        assert_eq!(foregate_envoy::canonical::encode(&again), body, "{path:?} through YAML");
        assert_eq!(message_to_json(&again), json);
        assert_eq!(validate(type_name, &message.encode_to_vec()), [], "{path:?}");
    }
}
