//! A text on a terminal that is drawn again in its place.

use std::io;

use console::{Term, truncate_str};

/// The text, and how many lines of it stand on the terminal.
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

    /// Draws `text` in the place of the one before.
    pub(crate) fn draw(&mut self, text: &str) -> io::Result<()> {
        let (height, width) = self.term.size();
        let lines = fit(text, usize::from(width), usize::from(height));
        self.term.clear_last_lines(self.lines)?;
        for line in &lines {
            self.term.write_line(line)?;
        }
        self.lines = lines.len();
        // As a whole: half a picture would flicker.
        self.term.flush()
    }

    /// Takes it away, for lines that are to stay.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.draw("")
    }
}

/// The lines of `text` that a terminal shows without breaking or moving them: a broken line would be two,
/// and what has left the top cannot be taken back.
fn fit(text: &str, width: usize, height: usize) -> Vec<String> {
    let fitting = text.lines().take(height.saturating_sub(1).max(1));
    fitting.map(|line| truncate_str(line, width.max(2) - 1, "…").into_owned()).collect()
}

#[cfg(test)]
mod tests;
