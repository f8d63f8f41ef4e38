//! Examples for the help of each command.

mod table;

use clap::Command;

use self::table::EXAMPLES;

/// A command line that works, and what it does.
pub(super) type Example = (&'static str, &'static str);

/// `command` with examples in the help of every command below it.
pub(super) fn added(command: Command) -> Command {
    command.mut_subcommands(|below| with(below, ""))
}

/// `command`, which is below `group`, with its examples.
fn with(command: Command, group: &str) -> Command {
    let words = format!("{group}{}", command.get_name());
    let below = format!("{words} ");
    let command = command.mut_subcommands(|command| with(command, &below));
    match help(&of(&words)) {
        Some(help) => command.after_help(help),
        None => command,
    }
}

/// The examples of the command `words`: its own, or of a group, the first ones of the commands in it.
pub(super) fn of(words: &str) -> Vec<Example> {
    let is_in_group = |command: &str| command.strip_prefix(words).is_some_and(|rest| rest.starts_with(' '));
    if let Some((_, own)) = EXAMPLES.iter().find(|(command, _)| *command == words) {
        return own.to_vec();
    }
    let in_group: Vec<_> = EXAMPLES.iter().filter(|(command, _)| is_in_group(command)).collect();
    match in_group.as_slice() {
        [(_, only)] => only.to_vec(),
        several => several.iter().take(2).map(|(_, [first, _])| *first).collect(),
    }
}

/// `Examples:`, and a line for each command; what it does is in a line of its own where both do not fit.
fn help(examples: &[Example]) -> Option<String> {
    const COLUMNS: usize = 96;
    let width = examples.iter().map(|(command, _)| command.len()).max()?;
    let fits = examples.iter().all(|(_, what)| width + what.len() + 6 <= COLUMNS);
    let line = |(command, what): &Example| {
        if fits { format!("  {command:<width$}  # {what}") } else { format!("  # {what}\n  {command}") }
    };
    let lines: Vec<_> = examples.iter().map(line).collect();
    Some(format!("Examples:\n{}", lines.join("\n")))
}

#[cfg(test)]
mod tests;
