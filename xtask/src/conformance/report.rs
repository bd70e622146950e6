//! The suite's report, as a table.

use std::fmt::Write;
use std::path::Path;

use serde::Deserialize;

use crate::files;
use crate::process::TaskError;

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

    /// Profiles with their counts, then the names of what is missing.
    pub fn table(&self) -> String {
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
                    if !names.is_empty() {
                        let _ = writeln!(text, "{} {level}, {what}: {}", profile.name, names.join(", "));
                    }
                }
            }
        }
        text
    }
}
