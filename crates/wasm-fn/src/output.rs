//! Prints data to standard output and messages to standard error.
//!
//! Text from functions and users may contain anything; [`visible`] keeps it from controlling the terminal.

pub(crate) mod access;
pub(crate) mod events;
pub(crate) mod explanation;
pub(crate) mod lines;
mod look;
pub(crate) mod picture;
pub(crate) mod preview;
pub(crate) mod rollout;
pub(crate) mod secrets;
pub(crate) mod tables;
pub(crate) mod time;

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
};

use console::Style;
use serde::Serialize;

pub(crate) use look::Look;

use crate::{
    args::Format,
    fault::{Fault, Told},
};

/// Prints the output of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    /// Prints data in `format`.
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Whether the output is for programs.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Prints `data` as an object, or as the text that `text` returns.
    pub(crate) fn data<T: Serialize>(self, data: &T, text: impl FnOnce(&T) -> String) -> Result<(), Fault> {
        let text = match self.format {
            Format::Table => text(data),
            Format::Json => json(serde_json::to_string_pretty(data))?,
        };
        write_line(&text)
    }

    /// Prints `data` as one line of several.
    pub(crate) fn record<T: Serialize>(self, data: &T, text: impl FnOnce(&T) -> String) -> Result<(), Fault> {
        let text = match self.format {
            Format::Table => text(data),
            Format::Json => json(serde_json::to_string(data))?,
        };
        write_line(&text)
    }

    /// Prints bytes unchanged.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), Fault> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| Fault::output(&error))
    }

    /// Prints a message for people that is not data. Does nothing if the output is for programs.
    pub(crate) fn talk(self, text: &str) {
        if !self.is_json() {
            stderr(format_args!("{text}\n"));
        }
    }

    /// Tells the user what to do before the command can go on. Programs get `data` as a line of JSON.
    pub(crate) fn ask<T: Serialize>(self, data: &T, text: impl FnOnce(&T) -> String) {
        let text = match self.format {
            Format::Table => text(data),
            Format::Json => serde_json::to_string(data).unwrap_or_default(),
        };
        stderr(format_args!("{text}\n"));
    }

    /// Shows people which commands they can run next.
    pub(crate) fn next(self, commands: &[(String, &str)]) {
        let width = commands.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
        for (index, (command, what)) in commands.iter().enumerate() {
            let label = if index == 0 { "next:" } else { "" };
            self.talk(&format!("{label:<6}{command:<width$}  {what}"));
        }
    }

    /// Asks the user; returns `false` unless the answer is yes.
    pub(crate) fn confirm(self, question: &str) -> io::Result<bool> {
        stderr(format_args!("{question} [y/N] "));
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}

/// Whether standard output is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard error is a terminal.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether standard error shows colours: it is a terminal, and `NO_COLOR` is not set.
pub(crate) fn stderr_has_colours() -> bool {
    console::colors_enabled_stderr()
}

/// Whether there is a user to ask.
pub(crate) fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Prints why a command failed.
pub(crate) fn fault(format: Format, told: &Told) {
    match format {
        Format::Table => {
            let text = explain(told, |style, word| style.apply_to(word).to_string());
            stderr(format_args!("{text}\n"));
        }
        Format::Json => stderr(format_args!("{}\n", serde_json::to_string(told).unwrap_or_default())),
    }
}

/// Formats the lines `error:`, `cause:`, `help:`.
fn explain(told: &Told, paint: impl Fn(Style, &str) -> String) -> String {
    let style = || Style::new().for_stderr().bold();
    let mut text = format!("{} {}", paint(style().red(), "error:"), visible(&told.error));
    text += &format!("\n{} {}", paint(style(), "cause:"), visible(&told.cause));
    if let Some(help) = &told.help {
        text += &format!("\n{}  {}", paint(style().cyan(), "help:"), visible(help));
    }
    text
}

/// Escapes characters in `text` that would control a terminal: control characters except tab and newline,
/// and those that change the direction of writing or are invisible.
pub(crate) fn visible(text: &str) -> String {
    let steers = |c: char| {
        (c.is_control() && c != '\t' && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

fn json(text: serde_json::Result<String>) -> Result<String, Fault> {
    text.map_err(|error| Fault::new("output", "the answer cannot be written as JSON", error))
}

/// Writes to standard error. Errors are ignored: there is nowhere left to report them.
fn stderr(text: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

fn write_line(text: &str) -> Result<(), Fault> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|error| Fault::output(&error))
}

#[cfg(test)]
mod tests;
