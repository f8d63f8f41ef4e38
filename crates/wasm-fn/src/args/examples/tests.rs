//! Every command has two examples that work.

use std::{collections::BTreeSet, ffi::OsString};

use clap::{ArgMatches, Command};

use super::{EXAMPLES, of};
use crate::args::{command, parse};

/// The commands of `group` that are no groups, by their words.
fn leaves(group: &Command, words: &str, found: &mut BTreeSet<String>) {
    for command in group.get_subcommands().filter(|command| !command.is_hide_set()) {
        let words = format!("{words}{}", command.get_name());
        // `audit` does something without a command below it.
        if !command.has_subcommands() || !command.is_subcommand_required_set() {
            found.insert(words.clone());
        }
        leaves(command, &format!("{words} "), found);
    }
}

/// The words of the command that was parsed.
fn parsed(matches: &ArgMatches) -> String {
    let mut words = Vec::new();
    let mut matches = matches;
    while let Some((word, below)) = matches.subcommand() {
        words.push(word);
        matches = below;
    }
    words.join(" ")
}

#[test]
fn every_command_has_examples_and_every_example_a_command() {
    let mut commands = BTreeSet::new();
    leaves(&command(), "", &mut commands);
    let with_examples: BTreeSet<_> = EXAMPLES.iter().map(|(words, _)| (*words).to_owned()).collect();
    let missing: Vec<_> = commands.difference(&with_examples).collect();
    assert!(missing.is_empty(), "no examples in args/examples/table.rs for {missing:?}");
    let unknown: Vec<_> = with_examples.difference(&commands).collect();
    assert!(unknown.is_empty(), "examples of what is no command: {unknown:?}");
    assert_eq!(with_examples.len(), EXAMPLES.len(), "a command is there twice");
}

#[test]
fn every_example_is_a_command_line_of_its_command() {
    for (words, examples) in EXAMPLES {
        assert_ne!(examples[0].0, examples[1].0, "{words}");
        for (line, what) in examples {
            assert!(!what.is_empty() && !what.ends_with('.'), "{line}: {what}");
            // What the shell does before and after the command.
            let inner =
                line.strip_prefix("source <(").and_then(|line| line.strip_suffix(')')).unwrap_or(line);
            let words_of_line: Vec<_> = shlex::split(inner).expect("quotes are in pairs");
            let redirected = words_of_line.iter().position(|word| word == ">" || word == "<");
            let typed = &words_of_line[..redirected.unwrap_or(words_of_line.len())];
            let matches = command().try_get_matches_from(typed);
            let matches = matches.unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(parsed(&matches), *words, "{line}");
            parse(typed.iter().map(OsString::from)).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}

#[test]
fn the_help_of_each_command_ends_with_its_examples() {
    fn check(group: &Command, words: &str) {
        for command in group.get_subcommands().filter(|command| !command.is_hide_set()) {
            let words = format!("{words}{}", command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = of(&words);
            assert_eq!(examples.len(), 2, "{words}");
            for (line, what) in examples {
                assert!(help.contains(line) && help.contains(what), "{words}: {help}");
            }
            check(command, &format!("{words} "));
        }
    }
    check(&command(), "");
}
