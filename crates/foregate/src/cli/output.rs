//! In which form a verb answers.

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::error::CliError;

/// `--output`, for verbs that answer with a table.
#[derive(Args, Clone, Copy, Debug)]
pub struct OutputArgs {
    /// In which form: a table for people, or data for programs.
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    pub output: Form,
}

/// Forms of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people.
    #[default]
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Form {
    /// Prints an answer: as data, or what `table` makes of it.
    ///
    /// # Errors
    /// When it can't be written as such.
    pub fn print<T: Serialize>(self, answer: &T, table: impl FnOnce() -> String) -> Result<(), CliError> {
        let text = match self {
            Self::Table => table(),
            Self::Json => json(answer)?,
            Self::Yaml => yaml(answer)?,
        };
        anstream::print!("{text}");
        Ok(())
    }
}

/// As JSON, with a newline at its end.
pub fn json<T: Serialize>(answer: &T) -> Result<String, CliError> {
    serde_json::to_string_pretty(answer).map(|text| text + "\n").map_err(|error| unprintable(error.to_string()))
}

/// As YAML, with a newline at its end.
pub fn yaml<T: Serialize>(answer: &T) -> Result<String, CliError> {
    let text = serde_saphyr::to_string(answer).map_err(|error| unprintable(error.to_string()))?;
    Ok(if text.ends_with('\n') { text } else { text + "\n" })
}

fn unprintable(reason: String) -> CliError {
    CliError::failed(format!("the answer can't be printed: {reason}"), "please report this")
}

/// `1 route`, `2 routes`.
pub fn count(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// How long ago: `3m`, `2d`.
pub fn age(then: jiff::Timestamp) -> String {
    let seconds = (jiff::Timestamp::now().as_second() - then.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
