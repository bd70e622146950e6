//! What the Go test prints: which test ended how, and the first thing that each failing one had to say.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The prefix of all tests' names.
const ROOT: &str = "TestConformance/";
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
    /// The next line completes an error.
    more: bool,
}

impl Log {
    /// Takes a line; says so when one of the suite's tests has ended.
    pub fn take(&mut self, line: &str) -> Option<String> {
        let text = line.trim_start();
        for mark in ["=== RUN", "=== NAME", "=== CONT", "=== PAUSE"] {
            if let Some(name) = text.strip_prefix(mark) {
                name.trim().clone_into(&mut self.current);
                self.more = false;
                return None;
            }
        }
        for (mark, kind) in [("--- PASS: ", 0), ("--- FAIL: ", 1), ("--- SKIP: ", 2)] {
            if let Some(rest) = text.strip_prefix(mark) {
                return self.ended(rest, kind);
            }
        }
        self.note(text);
        None
    }

    fn ended(&mut self, rest: &str, kind: u8) -> Option<String> {
        let (name, time) = rest.split_once(' ')?;
        let name = name.strip_prefix(ROOT)?;
        if kind == 1 {
            self.failed.push(name.to_owned());
        }
        // Only whole tests are told of, not their parts.
        if name.contains('/') {
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

    /// Keeps what testify and the suite print about failures.
    fn note(&mut self, text: &str) {
        let wanted = ["Error:", "Messages:", "panic:", "fatal error:"].iter().any(|mark| text.starts_with(mark))
            || text.contains("rror applying")
            || text.contains("timed out")
            || text.contains("did not meet");
        if wanted || self.more {
            let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let errors = self.errors.entry(self.current.clone()).or_default();
            if !line.is_empty() && errors.len() < 3 * ERRORS_PER_TEST {
                errors.push(line);
            }
        }
        self.more = text.starts_with("Error:");
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_failing_part_is_listed_under_its_test_with_what_it_said() {
        let mut log = Log::default();
        let lines = [
            "=== RUN   TestConformance/First",
            "=== RUN   TestConformance/First/part",
            "=== NAME  TestConformance/Second",
            "        	Error:      	unrelated",
            "=== NAME  TestConformance/First/part",
            "        	Error Trace:	/a/b.go:1",
            "        	Error:      	Received unexpected error:",
            "        	            	context deadline exceeded",
            "    --- FAIL: TestConformance/First (1.00s)",
            "        --- FAIL: TestConformance/First/part (1.00s)",
            "    --- PASS: TestConformance/Second (2.00s)",
        ];
        let told: Vec<String> = lines.iter().filter_map(|line| log.take(line)).collect();
        assert_eq!(told, ["FAIL  First (1.00s)", "pass  Second (2.00s)"]);
        let expected = "1 passed, 1 failed, 0 skipped\n- First\n  - failing part: part\n  - Error: Received unexpected \
                        error:\n  - context deadline exceeded\n";
        assert_eq!(log.failures(), expected);
    }
}
