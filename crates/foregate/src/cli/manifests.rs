//! Objects in files, with the places that they stand at.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::error::CliError;

/// One document of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file; `-` for stdin.
    pub file: String,
    /// The line at which it begins, from 1.
    pub line: usize,
    /// Its text.
    pub text: String,
}

/// What is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mistake {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1; 0: not known.
    #[serde(skip_serializing_if = "is_zero")]
    pub column: usize,
    /// The object or field; empty where there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// What is wrong.
    pub message: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_zero(column: &usize) -> bool {
    *column == 0
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.file, self.line)?;
        if self.column > 0 {
            write!(f, "{}:", self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, " {}:", self.path)?;
        }
        write!(f, " {}", self.message)
    }
}

/// Every document of these files; directories stand for the YAML and JSON files in them, `-` for stdin.
///
/// # Errors
/// When a file can't be read.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Document>, CliError> {
    let mut documents = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| CliError::failed("stdin can't be read", "give a file's name").because(error))?;
            documents.extend(split("-", &text));
            continue;
        }
        for file in files(path)? {
            let text = std::fs::read_to_string(&file).map_err(|error| unreadable(&file, error))?;
            documents.extend(split(&file.display().to_string(), &text));
        }
    }
    Ok(documents)
}

fn unreadable(path: &Path, error: std::io::Error) -> CliError {
    CliError::failed(format!("cannot read {}", path.display()), "check the file's name and its permissions")
        .because(error)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, CliError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| unreadable(path, error))?;
    let is_manifest = |path: &PathBuf| {
        path.is_file() && path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known))
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_manifest).collect();
    files.sort();
    if files.is_empty() {
        let message = format!("{} has no .yaml, .yml or .json file in it", path.display());
        return Err(CliError::usage(message, "name files, or another directory"));
    }
    Ok(files)
}

/// Documents are parted by lines that begin with `---`: nothing else in YAML may begin so at a line's start.
fn split(file: &str, text: &str) -> Vec<Document> {
    let mut documents = vec![(1, String::new())];
    for (line, content) in (1..).zip(text.split_inclusive('\n')) {
        if content.trim_end() == "---" || content.starts_with("--- ") {
            // What follows the marker in its line belongs to the document.
            documents.push((line, content.replacen("---", "   ", 1)));
        } else if let Some((_, document)) = documents.last_mut() {
            document.push_str(content);
        }
    }
    let is_empty = |text: &str| text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    let kept = documents.into_iter().filter(|(_, text)| !is_empty(text));
    kept.map(|(line, text)| Document { file: file.to_owned(), line, text }).collect()
}

impl Document {
    /// Its content.
    ///
    /// # Errors
    /// When it isn't YAML or JSON.
    pub fn value(&self) -> Result<Value, Mistake> {
        self.parse::<Value>()
    }

    /// Its content as a type.
    ///
    /// # Errors
    /// When it isn't one; with the place of what is wrong.
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, Mistake> {
        serde_saphyr::from_str(&self.text).map_err(|error| {
            let place = error.location();
            let line = place.as_ref().map_or(1, |place| usize::try_from(place.line()).unwrap_or(1).max(1));
            let column = place.as_ref().map_or(0, |place| usize::try_from(place.column()).unwrap_or(0));
            self.mistake(line, column, "", first_line(&error.to_string()))
        })
    }

    /// A mistake at a line of the document, from 1.
    pub fn mistake(&self, line: usize, column: usize, path: &str, message: String) -> Mistake {
        let line = self.line + line.max(1) - 1;
        Mistake { file: self.file.clone(), line, column, path: path.to_owned(), message }
    }

    /// The first line of the document that says something.
    pub fn first(&self) -> usize {
        let says = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        self.line + self.text.lines().position(says).unwrap_or(0)
    }
}

/// The parser's message without the excerpt that it draws below, and without the place, which is told apart.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let line = match line.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        Some((place, rest)) if place.chars().all(|c| c.is_ascii_digit() || " column,".contains(c)) => rest,
        _ => line,
    };
    match line.rfind(" at line ") {
        Some(at) => line[..at].to_owned(),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn documents_know_their_lines() {
        let text = "# head\n---\nkind: A\n---\n\n--- # more\n\nkind: B\nbad: [\n";
        let documents = split("f", text);
        assert_eq!(documents.iter().map(|it| (it.line, it.first())).collect::<Vec<_>>(), [(2, 3), (6, 8)]);
        assert_eq!(documents[0].value().unwrap()["kind"], "A");
        let mistake = documents[1].value().unwrap_err();
        assert!(mistake.line >= 9, "{mistake}");
        assert!(mistake.to_string().starts_with("f:"), "{mistake}");
    }

    proptest! {
        #[test]
        fn every_line_is_where_it_stands(text in "(---|--- |a: 1|# x|  y|)(\n(---|--- #|a: 1|b|  y|)){0,12}") {
            let lines: Vec<&str> = text.lines().collect();
            for document in split("f", &text) {
                for (at, line) in document.text.lines().enumerate() {
                    let original = lines[document.line - 1 + at];
                    prop_assert!(line == original || line == original.replacen("---", "   ", 1), "{line:?}");
                }
            }
        }
    }
}
