//! What `foregate --help` shows: verbs by what they are for.

use std::fmt::Write as _;

use clap::CommandFactory as _;

use super::Cli;
use super::table::{HEADING, STRONG, styled, width, wrap};

/// Headings with their verbs, in the order in which one meets them.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Run", &["up", "platform", "node", "controller", "proxy"]),
    ("See", &["status", "explain", "top", "get"]),
    ("Configuration over time", &["history", "diff", "rollback", "pin", "unpin", "renew"]),
    ("Without a server", &["translate", "validate"]),
    ("Set up", &["cluster", "engine", "config", "completions", "man"]),
];

/// How the top level's help is laid out: verbs stand in groups, so clap's own list is left out.
const TEMPLATE: &str = "{about}\n\n{usage-heading} {usage}{after-help}\n\nOptions:\n{options}";

/// The command line.
pub fn command() -> clap::Command {
    let command = Cli::command();
    let verbs = verbs(&command);
    command.help_template(TEMPLATE).after_help(verbs)
}

fn verbs(command: &clap::Command) -> String {
    let all: Vec<(&str, String)> = command
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set())
        .map(|verb| (verb.get_name(), verb.get_about().map(ToString::to_string).unwrap_or_default()))
        .collect();
    let grouped = |name: &str| GROUPS.iter().any(|(_, verbs)| verbs.contains(&name));
    let rest: Vec<&str> = all.iter().map(|(name, _)| *name).filter(|name| !grouped(name) && *name != "help").collect();
    let mut text = String::new();
    for (title, names) in GROUPS.into_iter().chain([("More", rest.as_slice())]) {
        let found: Vec<&(&str, String)> =
            names.iter().filter_map(|name| all.iter().find(|(other, _)| other == name)).collect();
        if found.is_empty() {
            continue;
        }
        // Writing to a string can't fail.
        let _ = writeln!(text, "{}", styled(HEADING, format!("{title}:")));
        for (name, about) in found {
            let about = about.trim_end_matches('.');
            for (at, line) in wrap(about, width().unwrap_or(100).min(120).saturating_sub(15)).iter().enumerate() {
                let name = if at == 0 { *name } else { "" };
                let _ = writeln!(text, "  {STRONG}{name:<12}{STRONG:#} {line}");
            }
        }
        text.push('\n');
    }
    text.push_str("`foregate VERB --help` tells more; exit codes: 0 well, 1 a problem was found, 2 usage");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_verb_has_a_place() {
        command().debug_assert();
        let help = anstream::adapter::strip_str(&command().render_help().to_string()).to_string();
        for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            assert!(help.contains(&format!("\n  {} ", verb.get_name())), "{}\n{help}", verb.get_name());
        }
        assert!(!help.contains("More:"), "a verb is in no group: {help}");
    }
}
