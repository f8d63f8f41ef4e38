//! The committed counts, and what was counted now beside them.

use std::{collections::BTreeMap, fmt};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// Share by which a count may grow, and may shrink before the baseline should be told.
const CHANGE_MAX: f64 = 0.05;

/// What instructions depend on besides the code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Toolchain {
    /// What `rustc --version` says.
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

/// A workload with its counts; at least one of them is there.
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

    /// As it is committed.
    pub(super) fn text(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

impl Row {
    /// The change as a share of the baseline: 0.05 is 5 % more. `None` when there is nothing to compare.
    fn change(&self) -> Option<f64> {
        let baseline = self.baseline.filter(|&baseline| baseline > 0.0)?;
        Some(self.now? / baseline - 1.0)
    }
}

/// Every workload of either, by name.
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

/// The rows as people read them.
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

/// What to tell about workloads that became cheaper: a later loss up to the old count would pass unseen.
pub(super) fn advice(rows: &[Row]) -> Option<String> {
    let cheaper = names(rows, |row| row.change().is_some_and(|change| change < -CHANGE_MAX));
    (!cheaper.is_empty()).then(|| {
        format!(
            "cheaper than the baseline says: {cheaper}; run `cargo xtask instructions --update` to keep it so"
        )
    })
}

/// Whether no workload takes too much.
///
/// # Errors
/// One takes more than 5 % above its baseline, or has no baseline, or the baseline has one that is gone.
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
            "takes over {:.0} % more instructions than the baseline: {dearer}; if that is the price of \
             something worth it, run `cargo xtask instructions --update` and say so in the commit",
            CHANGE_MAX * 100.0
        );
    }
    Ok(())
}

fn names(rows: &[Row], which: impl Fn(&Row) -> bool) -> String {
    rows.iter().filter(|row| which(row)).map(|row| row.name.as_str()).collect::<Vec<_>>().join(", ")
}
