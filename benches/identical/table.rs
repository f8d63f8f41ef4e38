//! What was seen, as a line and as a table.

use std::fmt;

use anyhow::Result;
use comfy_table::{Table, presets::ASCII_MARKDOWN};
use wasm_fn_benches::times::millis;

use crate::{
    cases::{Case, Release},
    rollout::{Evidence, Side},
    run::Seen,
};

/// One run and what was seen; an error when it cannot be judged.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) case: Case,
    pub(crate) seen: Result<Seen>,
}

impl Row {
    /// Whether nothing can be said of it.
    pub(crate) fn unjudged(&self) -> bool {
        self.seen.is_err()
    }

    /// Whether it was judged and did not do what is required.
    pub(crate) fn broken(&self) -> bool {
        let taken_back = self.seen.as_ref().ok().map(|seen| seen.rollout.taken_back().is_some());
        taken_back.is_some_and(|taken_back| taken_back == self.case.identical())
    }

    fn held(&self) -> &'static str {
        match (self.unjudged(), self.broken()) {
            (true, _) => "not judged",
            (false, true) => "NO",
            (false, false) => "yes",
        }
    }

    /// Whether, when and after how many requests it was taken back.
    fn end(&self, seen: &Seen) -> String {
        if seen.rollout.taken_back().is_none() {
            return format!("no, in {:.0} s", seen.lasted.as_secs_f64());
        }
        let all = seen.lasted.as_secs_f64() * f64::from(self.case.rate);
        let own = match self.case.release {
            Release::Canary(_) => seen.rollout.evidence().map(|evidence| evidence.canary.requests),
            // All of them are.
            Release::AllAtOnce => None,
        };
        let own = own.map(|own| format!(", {own} its own")).unwrap_or_default();
        format!("after {:.1} s, {all:.0} requests{own}", seen.lasted.as_secs_f64())
    }

    fn cells(&self) -> Vec<String> {
        let Case { guest, release, rate } = self.case;
        let mut cells = vec![guest.to_string(), release.to_string(), rate.to_string()];
        match &self.seen {
            Ok(seen) => {
                cells.push(self.end(seen));
                let evidence = seen.rollout.evidence();
                cells.extend(side(evidence.map(|evidence| &evidence.canary)));
                cells.extend(side(evidence.map(Evidence::baseline)));
                cells.push(format!("{:.1}", millis(seen.late_max)));
            }
            Err(_) => cells.extend([const { String::new() }; 10]),
        }
        cells.push(self.held().to_owned());
        cells
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.case)?;
        match &self.seen {
            Err(error) => write!(out, "not judged: {error:#}"),
            Ok(seen) => {
                write!(out, "taken back: {}", self.end(seen))?;
                let Some(ended) = seen.rollout.taken_back() else { return Ok(()) };
                write!(out, "\n  {}", ended.reason)?;
                // A slower version's reason says all of it.
                let evidence = ended.evidence.as_ref().filter(|_| self.case.identical());
                for signal in evidence.iter().flat_map(|evidence| &evidence.signals) {
                    write!(out, "\n  {:.3e} of {:.3e}: {}", signal.e_value, signal.threshold, signal.text)?;
                }
                Ok(())
            }
        }
    }
}

/// Requests, failures, p50 and p99 of one version.
fn side(side: Option<&Side>) -> [String; 4] {
    let millis = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), |time| format!("{time:.2}"));
    match side {
        Some(side) => [
            side.requests.to_string(),
            side.failures.to_string(),
            millis(side.latency_p50_ms),
            millis(side.latency_p99_ms),
        ],
        None => [const { String::new() }; 4],
    }
}

/// A line for each run.
pub(crate) fn print(rows: &[Row]) {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header([
        "guest",
        "share",
        "requests/s",
        "taken back",
        "canary",
        "failed",
        "p50, ms",
        "p99, ms",
        "baseline",
        "failed",
        "p50, ms",
        "p99, ms",
        "client late, ms",
        "held",
    ]);
    for row in rows {
        table.add_row(row.cells());
    }
    println!("{table}");
    let identical = rows.iter().filter(|row| row.case.identical());
    let (taken, all) = identical.fold((0, 0), |(taken, all), row| {
        (taken + u32::from(row.broken()), all + u32::from(!row.unjudged()))
    });
    println!("identical versions taken back: {taken} of {all}, required 0");
}
