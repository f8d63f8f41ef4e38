//! The table, and everything else that the bench says.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the one place that prints")]

use comfy_table::{Table, presets::ASCII_MARKDOWN};

use crate::{
    Run, Sample,
    system::{Guest, Role},
};

/// What `wasm-fn` may cost beside the baseline, on the 0.2 guest.
const BUDGET: f64 = 0.5;

/// What gate and shield may cost beside the same split without them.
const GATE_BUDGET: f64 = 1.01;

/// Says something that is no data.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// Prints the table, the systems that have no figure, and how the budget fared; whether all went well.
pub(crate) fn print(runs: &[Run]) -> bool {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(["system", "guest", "requests/s", "CPU µs/request", "beside `wasmtime serve`"]);
    let mut good = true;
    let mut refused = Vec::new();
    for run in runs {
        match &run.outcome {
            Ok(samples) => _ = table.add_row(row(run, samples, baseline(runs, run.system.guest))),
            Err(reason) => refused.push(format!("no figure for {}: {reason}", run.system)),
        }
    }
    if !table.is_empty() {
        println!("{table}");
    }
    for line in refused {
        println!("{line}");
        good = false;
    }
    if let Some(ratio) = ours(runs) {
        let held = ratio <= BUDGET;
        let verdict = if held { "held" } else { "exceeded" };
        println!("budget of wasm-fn, {}: {BUDGET:.2}, {verdict} with {ratio:.2}", Guest::Hello02);
        good &= held;
    }
    good
}

/// Prints what gate and shield cost; whether the budget held.
pub(crate) fn print_gate(ratios: anyhow::Result<Vec<f64>>) -> bool {
    let mut ratios = match ratios {
        Ok(ratios) => ratios,
        Err(error) => {
            println!("no figure for gate and shield: {error:#}");
            return false;
        }
    };
    ratios.sort_by(f64::total_cmp);
    let quartile = |quarter: usize| ratios[(ratios.len() - 1) * quarter / 4];
    let (low, high) = (quartile(1), quartile(3));
    let ratio = median(ratios.clone());
    let held = ratio <= GATE_BUDGET;
    let verdict = if held { "held" } else { "exceeded" };
    let pairs = ratios.len();
    println!(
        "budget of gate and shield beside a split by hand: {GATE_BUDGET:.2}, {verdict} with {ratio:.3} \
         (quartiles {low:.3} and {high:.3} of {pairs} rounds)"
    );
    held
}

fn row(run: &Run, samples: &[Sample], baseline: Option<&[Sample]>) -> [String; 5] {
    let costs: Vec<_> = samples.iter().map(|sample| sample.cpu_us_per_request).collect();
    let rates: Vec<_> = samples.iter().map(|sample| sample.requests_per_second).collect();
    let (least, most) =
        costs.iter().fold((f64::MAX, f64::MIN), |(least, most), &cost| (least.min(cost), most.max(cost)));
    [
        run.system.name.to_owned(),
        run.system.guest.to_string(),
        format!("{:.0}", median(rates)),
        format!("{:.1} [{least:.1}–{most:.1}]", median(costs)),
        baseline
            .map_or_else(|| "no baseline".to_owned(), |baseline| format!("{:.2}", ratio(samples, baseline))),
    ]
}

/// The measurements that others on the same guest are compared with.
fn baseline(runs: &[Run], guest: Guest) -> Option<&[Sample]> {
    let found = |run: &&Run| run.system.role == Role::Baseline && run.system.guest == guest;
    runs.iter().find(found)?.outcome.as_deref().ok()
}

/// What the budget is about.
fn ours(runs: &[Run]) -> Option<f64> {
    let found = |run: &&Run| run.system.role == Role::Ours && run.system.guest == Guest::Hello02;
    let samples = runs.iter().find(found)?.outcome.as_deref().ok()?;
    Some(ratio(samples, baseline(runs, Guest::Hello02)?))
}

/// Median over the rounds of the cost beside the baseline's in the same round, so that what slows a whole
/// round down does not count.
fn ratio(samples: &[Sample], baseline: &[Sample]) -> f64 {
    let pairs = samples.iter().zip(baseline);
    median(pairs.map(|(sample, base)| sample.cpu_us_per_request / base.cpu_us_per_request).collect())
}

/// The middle value; of an even count the mean of the two in the middle.
///
/// # Panics
///
/// When there are no values; a bench has at least one round.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

#[cfg(test)]
mod tests;
