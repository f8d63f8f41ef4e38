//! Everything that the bench says.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the one place that prints")]

use crate::{pages, results::Results};

/// Says something that is no data.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// Prints data as it is.
pub(crate) fn data(text: &str) {
    println!("{text}");
}

/// Prints the figures, what has none, and how the budgets fared.
pub(crate) fn print(results: &Results) {
    println!("{}", pages::figures(results));
    if let Some(table) = pages::tls(results) {
        println!("\n{table}");
    }
    for line in pages::refused(results) {
        println!("{line}");
    }
    for skipped in &results.skipped {
        println!("skipped: {skipped}");
    }
    if !results.checks.is_empty() {
        println!("\n{}", pages::checks(&results.checks));
    }
}
