//! What the Go test prints: which test ended how, and the first thing that each failing one had to say.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The prefix of all tests' names.
const ROOT: &str = "TestConformance/";
/// What Go puts before its own lines, with `-test.v=test2json`.
const MARK: char = '\u{16}';
/// Before and after what fails a test.
const ERROR: char = '\u{f}';
const END_OF_ERROR: char = '\u{e}';
/// How many tests and their errors are listed.
const ERRORS_PER_TEST: usize = 4;

/// Read line by line.
#[derive(Debug, Default)]
pub struct Log {
    /// The test that lines belong to.
    current: String,
    /// What each test and subtest said that looks like an error.
    errors: BTreeMap<String, Vec<String>>,
    failed: Vec<String>,
    counts: (usize, usize, usize),
    /// The one test that isn't skipped.
    only: Option<String>,
    /// Within what is said to fail a test.
    is_error: bool,
}

impl Log {
    /// Of one test, or of all.
    pub fn new(only: Option<&str>) -> Self {
        Self { only: only.map(str::to_owned), ..Self::default() }
    }

    /// Takes a line; says so when one of the suite's tests has ended.
    pub fn take(&mut self, line: &str) -> Option<String> {
        let text = line.trim_start_matches([' ', MARK]);
        for mark in ["=== RUN", "=== NAME", "=== CONT", "=== PAUSE"] {
            if let Some(name) = text.strip_prefix(mark) {
                name.trim().clone_into(&mut self.current);
                self.is_error = false;
                return None;
            }
        }
        for (mark, kind) in [("--- PASS: ", 0), ("--- FAIL: ", 1), ("--- SKIP: ", 2)] {
            if let Some(rest) = text.strip_prefix(mark) {
                return self.ended(rest, kind);
            }
        }
        self.note(line);
        None
    }

    fn ended(&mut self, rest: &str, kind: u8) -> Option<String> {
        let (name, time) = rest.split_once(' ')?;
        let name = name.strip_prefix(ROOT)?;
        if kind == 1 {
            self.failed.push(name.to_owned());
        }
        // Only whole tests are told of, not their parts; and nothing of those that aren't asked for.
        let is_asked_for = self.only.as_deref().map_or(!name.starts_with("Mesh"), |only| only == name);
        if name.contains('/') || !is_asked_for {
            return None;
        }
        let word = match kind {
            0 => {
                self.counts.0 += 1;
                "pass"
            }
            1 => {
                self.counts.1 += 1;
                "FAIL"
            }
            _ => {
                self.counts.2 += 1;
                "skip"
            }
        };
        Some(format!("{word}  {name} {time}"))
    }

    /// Keeps what is said to fail a test, which is between two marks, without where in the suite that was.
    fn note(&mut self, line: &str) {
        self.is_error |= line.contains(ERROR) || line.starts_with("panic:");
        if self.is_error {
            let text = line.replace([ERROR, END_OF_ERROR], "");
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let noise = ["Error Trace:", "Test:"].iter().any(|mark| text.starts_with(mark)) || is_place(&text);
            let errors = self.errors.entry(self.current.clone()).or_default();
            if !text.is_empty() && !noise && errors.len() < 2 * ERRORS_PER_TEST {
                errors.push(text);
            }
        }
        self.is_error &= !line.contains(END_OF_ERROR);
    }

    /// Every failing test with the first errors of it and of its parts.
    pub fn failures(&self) -> String {
        let mut text = format!("{} passed, {} failed, {} skipped\n", self.counts.0, self.counts.1, self.counts.2);
        let mut tests: Vec<&str> = self.failed.iter().filter_map(|name| name.split('/').next()).collect();
        tests.sort_unstable();
        tests.dedup();
        for test in tests {
            let _ = writeln!(text, "- {test}");
            let parts = self.failed.iter().filter(|name| name.split('/').next() == Some(test) && name.contains('/'));
            for part in parts.take(ERRORS_PER_TEST) {
                let _ = writeln!(text, "  - failing part: {}", part.split_once('/').map_or("", |(_, part)| part));
            }
            let whole = format!("{ROOT}{test}");
            let of_test =
                self.errors.iter().filter(|(name, _)| **name == whole || name.starts_with(&format!("{whole}/")));
            for error in of_test.flat_map(|(_, errors)| errors).take(ERRORS_PER_TEST) {
                let _ = writeln!(text, "  - {}", error.chars().take(400).collect::<String>());
            }
        }
        // What fails before any test, in the suite's own preparations.
        if self.failed.is_empty() {
            for error in self.errors.values().flatten().take(ERRORS_PER_TEST) {
                let _ = writeln!(text, "  - {error}");
            }
        }
        text
    }
}

/// Whether it is only a place in the suite's sources, `FILE.go:LINE`, with or without a colon.
fn is_place(text: &str) -> bool {
    let place = text.trim_end_matches(':').rsplit_once(".go:");
    place.is_some_and(|(_, line)| line.chars().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_failing_part_is_listed_under_its_test_with_what_it_said() {
        let mut log = Log::default();
        let lines = [
            "\u{16}=== RUN   TestConformance/First",
            "\u{16}=== RUN   TestConformance/First/part",
            "    helpers.go:1: only told",
            "\u{16}=== NAME  TestConformance/Second",
            "    helpers.go:2: only told",
            "\u{16}=== NAME  TestConformance/First/part",
            "\u{f}    helpers.go:3: ",
            "        \tError Trace:\t/a/b.go:1",
            "        \tError:      \tReceived unexpected error:",
            "        \t            \tcontext deadline exceeded\u{e}",
            "    helpers.go:4: told after",
            "\u{16}    --- FAIL: TestConformance/First (1.00s)",
            "\u{16}        --- FAIL: TestConformance/First/part (1.00s)",
            "\u{16}    --- PASS: TestConformance/Second (2.00s)",
        ];
        let told: Vec<String> = lines.iter().filter_map(|line| log.take(line)).collect();
        assert_eq!(told, ["FAIL  First (1.00s)", "pass  Second (2.00s)"]);
        let expected = "1 passed, 1 failed, 0 skipped\n- First\n  - failing part: part\n  - Error: Received unexpected \
                        error:\n  - context deadline exceeded\n";
        assert_eq!(log.failures(), expected);
    }
}
