//! The committed counts, and their comparison with new ones.

use std::{collections::BTreeMap, fmt};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// Share by which a count may grow, or may shrink before the baseline should be updated.
const CHANGE_MAX: f64 = 0.05;

/// What the counts depend on besides the code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Toolchain {
    /// Output of `rustc --version`.
    pub(super) rustc: String,
    /// The processor's architecture, as Rust names it.
    pub(super) arch: String,
}

/// The counts to compare with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Baseline {
    #[serde(flatten)]
    pub(super) toolchain: Toolchain,
    /// Instructions of one operation, by workload.
    pub(super) instructions: BTreeMap<String, f64>,
}

/// A workload with its counts. At least one of the two is present.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    name: String,
    baseline: Option<f64>,
    now: Option<f64>,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.rustc, self.arch)
    }
}

impl Baseline {
    pub(super) fn parse(text: &str) -> Result<Self> {
        Ok(serde_json::from_str(text)?)
    }

    /// The text to commit.
    pub(super) fn text(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

impl Row {
    /// The change as a share of the baseline: 0.05 is 5 % more. `None` if there is nothing to compare.
    fn change(&self) -> Option<f64> {
        let baseline = self.baseline.filter(|&baseline| baseline > 0.0)?;
        Some(self.now? / baseline - 1.0)
    }
}

/// Every workload in either set of counts, by name.
pub(super) fn compare(baseline: &BTreeMap<String, f64>, now: &BTreeMap<String, f64>) -> Vec<Row> {
    let mut names: Vec<_> = baseline.keys().chain(now.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let row = |name: &String| Row {
        name: name.clone(),
        baseline: baseline.get(name).copied(),
        now: now.get(name).copied(),
    };
    names.into_iter().map(row).collect()
}

/// The rows as a table.
pub(super) fn table(rows: &[Row]) -> String {
    let count = |count: Option<f64>| count.map_or_else(|| "-".to_owned(), |count| format!("{count:.1}"));
    let change =
        |row: &Row| row.change().map_or_else(|| "-".to_owned(), |change| format!("{:+.1} %", change * 100.0));
    let mut text = format!("{:<10}{:>12}{:>12}{:>10}", "workload", "baseline", "now", "change");
    for row in rows {
        text += &format!(
            "\n{:<10}{:>12}{:>12}{:>10}",
            row.name,
            count(row.baseline),
            count(row.now),
            change(row)
        );
    }
    text
}

/// Advice for workloads that became cheaper: otherwise a later increase up to the old count would go
/// unnoticed.
pub(super) fn advice(rows: &[Row]) -> Option<String> {
    let cheaper = names(rows, |row| row.change().is_some_and(|change| change < -CHANGE_MAX));
    (!cheaper.is_empty()).then(|| {
        format!(
            "cheaper than the baseline: {cheaper}; run `cargo xtask instructions --update` to keep the gain"
        )
    })
}

/// Checks that no workload takes too many instructions.
///
/// # Errors
/// A workload takes over 5 % more than its baseline, has no baseline, or is only in the baseline.
pub(super) fn judge(rows: &[Row]) -> Result<()> {
    let unknown = names(rows, |row| row.change().is_none());
    if !unknown.is_empty() {
        bail!(
            "counted now or in the baseline, but not in both: {unknown}; run `cargo xtask instructions --update`"
        );
    }
    let dearer = names(rows, |row| row.change().is_some_and(|change| change > CHANGE_MAX));
    if !dearer.is_empty() {
        bail!(
            "over {:.0} % more instructions than the baseline: {dearer}; if the cost is justified, run \
             `cargo xtask instructions --update` and say why in the commit",
            CHANGE_MAX * 100.0
        );
    }
    Ok(())
}

fn names(rows: &[Row], which: impl Fn(&Row) -> bool) -> String {
    rows.iter().filter(|row| which(row)).map(|row| row.name.as_str()).collect::<Vec<_>>().join(", ")
}
