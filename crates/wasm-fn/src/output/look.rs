//! How data is drawn for people: how wide, and with colour for what failed.

use console::{Style, Term, measure_text_width};

/// What standard output can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Columns of the terminal. `None` without one: then a record stays on its line, for `grep` and `awk`.
    pub(crate) columns: Option<u16>,
    /// Whether there are colours.
    pub(crate) colours: bool,
}

impl Look {
    /// What standard output can show now.
    pub(crate) fn of_stdout() -> Self {
        let term = Term::stdout();
        let columns = term.size_checked().map(|(_, columns)| columns).filter(|_| term.is_term());
        // The library lets CLICOLOR_FORCE win; somebody who sets NO_COLOR never wants any (no-color.org).
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { columns, colours: console::colors_enabled() && !refused }
    }

    /// `text`, which says that something failed. Each of its lines has its own colour.
    pub(crate) fn failed(self, text: &str) -> String {
        if !self.colours {
            return text.to_owned();
        }
        let red = Style::new().red().force_styling(true);
        text.lines().map(|line| red.apply_to(line).to_string()).collect::<Vec<_>>().join("\n")
    }

    /// `text` below a row of a table: indented by `indent`, and wrapped between words on a terminal.
    pub(crate) fn below(self, indent: usize, text: &str) -> String {
        let start = " ".repeat(indent);
        let columns = self.columns.map_or(usize::MAX, |columns| usize::from(columns).max(indent + 20));
        let mut lines = vec![start.clone()];
        for word in text.split(' ') {
            let line = lines.last_mut().expect("there is a line from the start");
            let width = measure_text_width(line);
            if width > indent && width + 1 + measure_text_width(word) > columns {
                lines.push(format!("{start}{word}"));
            } else {
                line.push_str(if width > indent { " " } else { "" });
                line.push_str(word);
            }
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests;
