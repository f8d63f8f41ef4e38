//! Reads the number of instructions of a run from cachegrind's output file.

use anyhow::{Context as _, Result, ensure};

/// Instructions of the whole run, from the text of cachegrind's output file.
///
/// The format is "Cachegrind File Format" in valgrind's manual: `events:` names the columns, and `summary:`,
/// the last line, has their sums. There is one column unless caches are simulated.
///
/// # Errors
/// A line is missing, for example because the run was cut off, or does not hold the count of `Ir`.
pub(super) fn instructions(text: &str) -> Result<u64> {
    let events = value(text, "events:").context("found no line `events:`")?;
    ensure!(events == "Ir", "found events `{events}`, expected `Ir`");
    let summary = value(text, "summary:").context("found no line `summary:`")?;
    summary.parse().with_context(|| format!("found summary `{summary}`, expected a number of instructions"))
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
}
