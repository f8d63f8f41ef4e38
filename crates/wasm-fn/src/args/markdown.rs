//! The command line as a page. docs/reference/cli.md contains this text, and a test compares the two.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

use super::{EXIT_CODES, NODE, command, examples};

/// The page.
pub(super) fn markdown() -> String {
    let mut cli = command().term_width(0);
    cli.build();
    let about = cli.get_about().map(ToString::to_string).unwrap_or_default();
    let mut page = format!("# The command line\n\n{about}.\n\n");
    page += "This page is generated from the program's help; `UPDATE_EXPECT=1 cargo test -p wasm-fn` updates \
             it. A flag overrides the environment, the environment overrides `wasm-fn.toml`, and the file \
             overrides the default.\n\n```text\n";
    page += EXIT_CODES;
    page += "\n```\n";
    let commands: Vec<_> = cli.get_subcommands().filter(is_shown).collect();
    commands.iter().for_each(|command| sections(&mut page, command, command.get_name()));
    // They are the same in every command that has them.
    let shared =
        commands.iter().map(|command| command.get_arguments().filter(|arg| is_shared(arg)).collect());
    let shared: Vec<&Arg> = shared.max_by_key(Vec::len).unwrap_or_default();
    let _ = write!(page, "\n## {NODE}\n\nEvery command that talks to a node also takes these arguments.\n");
    table(&mut page, &shared);
    page
}

/// The section of `command`, or those of the commands below it.
fn sections(page: &mut String, command: &Command, name: &str) {
    let mut below = command.get_subcommands().filter(is_shown).peekable();
    if below.peek().is_none() {
        section(page, command, name);
    }
    below.for_each(|below| sections(page, below, &format!("{name} {}", below.get_name())));
}

fn is_shown(command: &&Command) -> bool {
    command.get_name() != "help" && !command.is_hide_set()
}

fn is_shared(arg: &Arg) -> bool {
    arg.get_help_heading() == Some(NODE)
}

fn section(page: &mut String, command: &Command, name: &str) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let _ = write!(page, "\n## `wasm-fn {name}`\n\n{about}.\n\n```text\n{usage}\n```\n");
    let aliases: Vec<_> = command.get_visible_aliases().map(|alias| format!("`{alias}`")).collect();
    if !aliases.is_empty() {
        let _ = write!(page, "\nAlso: {}.\n", aliases.join(", "));
    }
    let examples = examples::of(name);
    let width = examples.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
    let examples = examples.iter().map(|(command, what)| format!("{command:<width$}  # {what}\n"));
    let _ = write!(page, "\n```text\n{}```\n", examples.collect::<String>());
    let hidden =
        |arg: &Arg| arg.is_hide_set() || matches!(arg.get_action(), ArgAction::Help | ArgAction::HelpShort);
    let own: Vec<_> = command.get_arguments().filter(|arg| !hidden(arg) && !is_shared(arg)).collect();
    table(page, &own);
    if command.get_arguments().any(is_shared) {
        page.push_str("\nThis command also takes the arguments in [node and output](#node-and-output).\n");
    }
}

fn table(page: &mut String, args: &[&Arg]) {
    if args.is_empty() {
        return;
    }
    page.push_str("\n| argument | environment | meaning |\n| --- | --- | --- |\n");
    for arg in args {
        let environment = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy()));
        let environment = environment.unwrap_or_default();
        let _ = writeln!(page, "| `{}` | {environment} | {} |", spelling(arg), meaning(arg));
    }
}

/// `-o, --output <FORMAT>`.
fn spelling(arg: &Arg) -> String {
    arg.to_string()
        .split_once("--")
        .map_or_else(
            || arg.to_string(),
            |_| {
                let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
                format!("{short}{arg}")
            },
        )
        // A `|` would end the table cell.
        .replace('|', "\\|")
}

/// The help, with the default and the choices, as clap's own help shows them.
fn meaning(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
    let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if arg.get_action().takes_values() && default.iter().any(|default| !default.is_empty()) {
        let _ = write!(text, " [default: {}]", default.join(" "));
    }
    let choices = arg.get_possible_values();
    if arg.get_action().takes_values() && !choices.is_empty() {
        let choices: Vec<_> = choices.iter().map(clap::builder::PossibleValue::get_name).collect();
        let _ = write!(text, " [{}]", choices.join(", "));
    }
    text
}
