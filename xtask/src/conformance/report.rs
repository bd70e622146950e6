//! The suite's report, as a table.

use std::fmt::Write;
use std::path::Path;

use serde::Deserialize;

use crate::files;
use crate::process::TaskError;

/// Tests of each profile in the suite, core and extended.
const WHOLE: [(&str, u32, u32); 5] = [
    ("GATEWAY-HTTP", 40, 64),
    ("GATEWAY-GRPC", 17, 13),
    ("GATEWAY-TLS", 21, 17),
    ("GATEWAY-TCP", 20, 11),
    ("GATEWAY-UDP", 21, 11),
];

/// What the table needs of it.
#[derive(Debug, Deserialize)]
pub struct Report {
    /// `null` when the suite didn't get to its tests.
    profiles: Option<Vec<ProfileReport>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileReport {
    name: String,
    core: Status,
    #[serde(default)]
    extended: Option<Status>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    statistics: Statistics,
    #[serde(default)]
    skipped_tests: Vec<String>,
    #[serde(default)]
    failed_tests: Vec<String>,
    #[serde(default)]
    unsupported_features: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statistics {
    #[serde(default)]
    passed: u32,
    #[serde(default)]
    skipped: u32,
    #[serde(default)]
    failed: u32,
}

impl Report {
    /// Reads one.
    ///
    /// # Errors
    /// When it isn't there, or isn't a report.
    pub fn read(path: &Path) -> Result<Self, TaskError> {
        let text = String::from_utf8_lossy(&files::read(path)?).into_owned();
        serde_saphyr::from_str(&text).map_err(|error| TaskError::Other(format!("{}: {error}", path.display())))
    }

    /// What a whole run falls short of [`WHOLE`]: a feature that isn't claimed any more fails no test.
    pub fn shortfalls(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (name, core, extended) in WHOLE {
            let profile = self.profiles.iter().flatten().find(|profile| profile.name == name);
            let count =
                |status: Option<&Status>| status.map_or((0, 0), |s| (s.statistics.passed, s.statistics.skipped));
            let levels = [
                ("core", core, count(profile.map(|profile| &profile.core))),
                ("extended", extended, count(profile.and_then(|profile| profile.extended.as_ref()))),
            ];
            for (level, wanted, (passed, skipped)) in levels {
                if passed < wanted || skipped > 0 {
                    all.push(format!("{name} {level}: {passed} passed of {wanted}, {skipped} skipped"));
                }
            }
        }
        all
    }

    /// Profiles with their counts, then the names of what is missing; those of skipped tests only when asked for.
    pub fn table(&self, with_skipped: bool) -> String {
        let mut text = format!("{:<14} {:^26}  {:^26}\n", "", "core", "extended");
        let heads = ["passed", "failed", "skipped"];
        let _ = writeln!(
            text,
            "{:<14} {:>8} {:>8} {:>8}  {:>8} {:>8} {:>8}",
            "profile", heads[0], heads[1], heads[2], heads[0], heads[1], heads[2]
        );
        for profile in self.profiles.iter().flatten() {
            let none = Status::default();
            let (core, extended) = (&profile.core.statistics, &profile.extended.as_ref().unwrap_or(&none).statistics);
            let _ = writeln!(
                text,
                "{:<14} {:>8} {:>8} {:>8}  {:>8} {:>8} {:>8}",
                profile.name,
                core.passed,
                core.failed,
                core.skipped,
                extended.passed,
                extended.failed,
                extended.skipped
            );
        }
        for profile in self.profiles.iter().flatten() {
            let parts = [Some(("core", &profile.core)), profile.extended.as_ref().map(|part| ("extended", part))];
            for (level, status) in parts.into_iter().flatten() {
                for (what, names) in [
                    ("failed", &status.failed_tests),
                    ("skipped", &status.skipped_tests),
                    ("features not claimed", &status.unsupported_features),
                ] {
                    if !names.is_empty() && (with_skipped || what != "skipped") {
                        let _ = writeln!(text, "{} {level}, {what}: {}", profile.name, names.join(", "));
                    }
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn report(http_core: &str) -> Report {
        let other = |name: &str, core: u32, extended: u32| {
            format!(
                "- {{name: {name}, core: {{statistics: {{Passed: {core}, Failed: 0, Skipped: 0}}}}, \
                 extended: {{statistics: {{Passed: {extended}, Failed: 0, Skipped: 0}}}}}}\n"
            )
        };
        let mut text = "profiles:\n".to_owned();
        for (name, core, extended) in &WHOLE[1..] {
            text += &other(name, *core, *extended);
        }
        text += &format!(
            "- {{name: GATEWAY-HTTP, core: {{statistics: {http_core}}}, extended: {{statistics: {{Passed: 64}}, \
             unsupportedFeatures: [GatewayListenerFilters]}}}}\n"
        );
        serde_saphyr::from_str(&text).unwrap()
    }

    #[test]
    fn a_test_that_is_not_run_falls_short_as_one_that_fails() {
        for (http_core, expected) in [
            ("{Passed: 40, Failed: 0, Skipped: 0}", None),
            ("{Passed: 39, Failed: 0, Skipped: 0}", Some("GATEWAY-HTTP core: 39 passed of 40, 0 skipped")),
            ("{Passed: 40, Failed: 0, Skipped: 1}", Some("GATEWAY-HTTP core: 40 passed of 40, 1 skipped")),
        ] {
            let shortfalls = report(http_core).shortfalls();
            assert_eq!(shortfalls.first().map(String::as_str), expected, "{http_core}");
        }
        let nothing: Report = serde_saphyr::from_str("profiles: null").unwrap();
        assert_eq!(nothing.shortfalls().len(), 2 * WHOLE.len());
    }

    #[test]
    fn the_table_names_what_is_not_claimed() {
        let table = report("{Passed: 40}").table(true);
        assert!(table.contains("GATEWAY-HTTP         40        0        0        64        0        0\n"), "{table}");
        assert!(table.ends_with("GATEWAY-HTTP extended, features not claimed: GatewayListenerFilters\n"), "{table}");
    }
}
