//! Reads the words of the command line, with the spellings that people know from other programs.

use std::ffi::{OsStr, OsString};

use clap::{
    FromArgMatches as _,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::Cli;

/// Options of `deploy` whose value may be left out. clap alone takes `--canary 10%` as the option without a
/// value and a FILE named `10%`.
const OPTIONAL_VALUES: [&str; 2] = ["--canary", "--linear"];

/// Spellings of other programs for JSON output.
const JSON: [&str; 3] = ["--json", "--format", "--out"];

/// Reads `words`, which begin with the program's name.
///
/// # Errors
/// The command line is invalid, or asks for help.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let words: Vec<_> = words.into_iter().collect();
    let command = words.get(1).cloned().unwrap_or_default();
    let words = if command == "deploy" { joined(words) } else { words };
    let mut cli = super::command();
    let matches = cli.try_get_matches_from_mut(words).map_err(|error| hinted(error, &command))?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut cli))
}

/// Joins an option and a share that follows it after a blank: `--canary 10%,50%` is `--canary=10%,50%`.
/// A blank after a comma, as in `--canary 10%, 50%`, is left out too.
fn joined(words: Vec<OsString>) -> Vec<OsString> {
    let mut joined = Vec::with_capacity(words.len());
    let mut words = words.into_iter().peekable();
    while let Some(mut word) = words.next() {
        if word == "--" {
            joined.push(word);
            joined.extend(words.by_ref());
            break;
        }
        if OPTIONAL_VALUES.iter().any(|option| word == *option)
            && let Some(value) = words.next_if(|next| is_share(next))
        {
            word.push("=");
            word.push(value);
        }
        if OPTIONAL_VALUES.iter().any(|option| has_value(&word, option)) {
            while word.to_string_lossy().ends_with(',')
                && let Some(more) = words.next_if(|next| is_share(next))
            {
                word.push(more);
            }
        }
        joined.push(word);
    }
    joined
}

fn has_value(word: &OsStr, option: &str) -> bool {
    let value = word.to_str().and_then(|word| word.strip_prefix(option));
    value.is_some_and(|value| value.starts_with('='))
}

/// Whether `word` is meant as shares and not as a file: it has a percent sign, or is a bare number, which
/// is then refused with the right spelling.
fn is_share(word: &OsStr) -> bool {
    let Some(word) = word.to_str() else { return false };
    let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit() || b".,".contains(&byte));
    let is_file = std::path::Path::new(word).extension().is_some_and(|extension| extension == "wasm");
    !word.is_empty() && !word.starts_with('-') && !is_file && (word.contains('%') || is_number(word))
}

/// Adds what was probably meant.
fn hinted(mut error: clap::Error, command: &OsStr) -> clap::Error {
    let unknown = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) if error.kind() == ErrorKind::UnknownArgument => {
            argument.split('=').next().unwrap_or_default().to_owned()
        }
        _ => return error,
    };
    let prints_data = !["serve", "demo", "completions", "man"].iter().any(|other| command == *other);
    if prints_data && JSON.contains(&unknown.as_str()) {
        error.remove(ContextKind::SuggestedArg);
        let tip = "for JSON, use '-o json'".to_owned();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

#[cfg(test)]
mod tests;
