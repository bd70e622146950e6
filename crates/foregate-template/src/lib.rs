//! Go templates with the sprig functions, bounded.
//!
//! A [`Template`] is parsed once and rendered with JSON data as often as wanted, from any thread:
//!
//! ```
//! let template = foregate_template::Template::parse("greeting", "Hello, {{ .name | upper }}!")?;
//! assert_eq!(template.render(&serde_json::json!({"name": "world"}))?, "Hello, WORLD!");
//! # Ok::<(), foregate_template::TemplateError>(())
//! ```
//!
//! The language is Go's text/template with `missingkey=error`, the text functions of sprig v3, and Helm's `toYaml`,
//! `fromYaml` and `required`. What depends on anything but the data (clock, randomness, environment, files, network)
//! is left out: equal data renders equal text on every replica.
//!
//! Templates come from tenants, so every resource that one can use has a limit ([`Limits`]): size of the template, of
//! its output, of the values it builds; steps, work, and depth of calls. Errors name template, line, column and the
//! action at fault ([`TemplateError`]).
//!
//! Differences from Go, all on purpose:
//! - Printing null is an error and not `<no value>`, which would end up in a configuration.
//! - Numbers compare by value, whatever their kind: JSON has only one.
//! - Values never change in place. `{{ $_ := set $d "k" 1 }}` assigns the new dictionary to `$d`, and so do `unset`,
//!   `merge` and `mergeOverwrite`; another variable that held the old dictionary still does.
//! - `squote` doubles the single quotes inside, as YAML wants it.

mod engine;
mod error;
mod functions;
mod meter;
mod prepare;
mod value;

pub use engine::{Functions, Template};
pub use error::{Problem, TemplateError};
pub use meter::Limits;
