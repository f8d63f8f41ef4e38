//! Text on a terminal that is redrawn in place.

use std::io;

use console::{Term, truncate_str};

/// The terminal, and the number of lines that are drawn on it.
pub(crate) struct Picture {
    term: Term,
    lines: usize,
}

impl Picture {
    /// On standard output.
    pub(crate) fn on_stdout() -> Self {
        Self { term: Term::buffered_stdout(), lines: 0 }
    }

    /// On standard error.
    pub(crate) fn on_stderr() -> Self {
        Self { term: Term::buffered_stderr(), lines: 0 }
    }

    /// Draws `text` in place of the previous text.
    pub(crate) fn draw(&mut self, text: &str) -> io::Result<()> {
        let (height, width) = self.term.size();
        let lines = fit(text, usize::from(width), usize::from(height));
        self.term.clear_last_lines(self.lines)?;
        for line in &lines {
            self.term.write_line(line)?;
        }
        self.lines = lines.len();
        // All at once: a partial picture would flicker.
        self.term.flush()
    }

    /// Removes the text, to make room for lines that stay.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.draw("")
    }
}

/// The lines of `text` that fit the terminal without wrapping or scrolling. A wrapped line would count as
/// two, and a line that has scrolled off the top cannot be cleared.
fn fit(text: &str, width: usize, height: usize) -> Vec<String> {
    let fitting = text.lines().take(height.saturating_sub(1).max(1));
    fitting.map(|line| truncate_str(line, width.max(2) - 1, "…").into_owned()).collect()
}

#[cfg(test)]
mod tests;
