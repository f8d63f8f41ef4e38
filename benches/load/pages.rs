//! The tables, as text that is also Markdown, and their place in the page about performance.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use comfy_table::{Table, presets::ASCII_MARKDOWN};

use crate::{
    budgets::{Check, Required, Unit},
    results::{Latency, Results, Row, Sample},
    stats::Spread,
    tls::{Costs, Round},
};

/// What the written part of a page lies between.
const MARKERS: [&str; 2] = ["<!-- written by `cargo xtask bench --compare` -->\n", "<!-- up to here -->\n"];

/// A row for each system that has figures.
pub(crate) fn figures(results: &Results) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header([
        "system",
        "guest",
        "CPU µs/request",
        "requests/s",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "at requests/s",
        "peak RSS MiB",
    ]);
    for row in &results.rows {
        if row.samples.is_ok() || row.latencies.is_ok() {
            table.add_row(cells(row));
        }
    }
    table.to_string()
}

fn cells(row: &Row) -> [String; 9] {
    let sample = |of: fn(&Sample) -> f64| {
        row.samples.as_ref().ok().and_then(|samples| Spread::of(samples.iter().map(of)))
    };
    let latency = |of: fn(&Latency) -> f64| {
        row.latencies.as_ref().ok().and_then(|latencies| Spread::of(latencies.iter().map(of)))
    };
    let shown = |spread: Option<Spread>, digits: usize| {
        spread.map_or_else(|| "refused".to_owned(), |spread| self::shown(spread, digits))
    };
    let whole = |spread| shown(spread, 0);
    let cost = shown(sample(|sample| sample.cpu_us_per_request), 1);
    [
        row.system.clone(),
        row.guest.to_string(),
        cost,
        whole(sample(|sample| sample.requests_per_second)),
        whole(latency(|latency| latency.p50_us)),
        whole(latency(|latency| latency.p99_us)),
        whole(latency(|latency| latency.p999_us)),
        whole(latency(|latency| latency.rate)),
        whole(sample(|sample| sample.memory_max_bytes as f64 / (1024.0 * 1024.0))),
    ]
}

/// A row for each program that was measured with TLS; absent when none was.
pub(crate) fn tls(results: &Results) -> Option<String> {
    let rounds = results.tls.as_ref()?.as_ref().ok()?;
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header([
        "system",
        "CPU µs/request",
        "with TLS",
        "TLS adds",
        "CPU µs/new TLS connection",
        "new TLS connections/s",
        "of its core",
    ]);
    let ours: fn(&Round) -> &Costs = |round| &round.ours;
    for (name, costs) in [("wasm-fn", ours), ("hyper alone", |round| &round.limit)] {
        let shown = |of: fn(&Costs) -> f64, digits| {
            Spread::of(rounds.iter().map(|round| of(costs(round)))).map(|spread| shown(spread, digits))
        };
        table.add_row([
            name.to_owned(),
            shown(|costs| costs.plain_us, 1)?,
            shown(|costs| costs.tls_us, 1)?,
            shown(Costs::added_us, 1)?,
            shown(|costs| costs.connections.cpu_us, 1)?,
            shown(|costs| costs.connections.per_second, 0)?,
            shown(|costs| costs.connections.busy, 2)?,
        ]);
    }
    Some(table.to_string())
}

fn shown(Spread { low, median, high }: Spread, digits: usize) -> String {
    format!("{median:.digits$} [{low:.digits$}–{high:.digits$}]")
}

/// A line for each figure that there is not, with the reason.
pub(crate) fn refused(results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for row in &results.rows {
        if let Err(reason) = &row.samples {
            lines.push(format!("no figure for {}: {reason}", row.name()));
        } else if let Err(reason) = &row.latencies {
            lines.push(format!("no latency for {}: {reason}", row.name()));
        }
    }
    if let Some(Err(reason)) = &results.tls {
        lines.push(format!("no figure for TLS: {reason}"));
    }
    lines
}

/// A row for each budget.
pub(crate) fn checks(checks: &[Check]) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(["ours / against", "found", "required", "held"]);
    for check in checks {
        let shown = |value: f64| match check.unit {
            Unit::Ratio => format!("{value:.3}"),
            Unit::Microseconds => format!("{value:.0} µs"),
        };
        let found = match &check.found {
            Ok(found) => {
                format!("{} [{}–{}]", shown(found.median), shown(found.low), shown(found.high))
            }
            Err(_) => "unknown".to_owned(),
        };
        let held = match check.held() {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unknown",
        };
        let required = match check.required {
            Required::AtMost(most) => format!("at most {}", shown(most)),
            Required::AtLeast(least) => format!("at least {}", shown(least)),
        };
        table.add_row([check.name.clone(), found, required, held.to_owned()]);
    }
    table.to_string()
}

/// Puts the tables of `results` between the markers of the page at `path`.
pub(crate) fn write(results: &Results, path: &Path) -> Result<()> {
    let page = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let page = replaced(&page, &section(results)).with_context(|| path.display().to_string())?;
    fs::write(path, page).with_context(|| format!("{} cannot be written", path.display()))
}

/// `page` with `section` between its markers.
fn replaced(page: &str, section: &str) -> Result<String> {
    let [begin, end] = MARKERS;
    let split = page.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
    let Some((before, after)) = split else {
        bail!("no place for the tables, expected the lines `{}` and `{}`", begin.trim(), end.trim());
    };
    Ok(format!("{before}{begin}{section}{end}{after}"))
}

fn section(results: &Results) -> String {
    let Results { machine, command, versions, rounds, seconds, connections, .. } = results;
    let mut text = String::from("\n");
    let _infallible = writeln!(
        text,
        "{}, {} cores of {}, {}; {}. `{command}`: {rounds} rounds of {seconds} s with {connections} \
         connections; medians with quartiles.\n",
        machine.date,
        machine.cores,
        machine.processor,
        machine.kernel,
        versions.join("; "),
    );
    let _infallible = writeln!(text, "{}\n", figures(results));
    if let Some(table) = tls(results) {
        let _infallible = writeln!(text, "{table}\n");
    }
    for line in refused(results).iter().chain(&results.skipped) {
        let _infallible = writeln!(text, "- {line}");
    }
    if !(refused(results).is_empty() && results.skipped.is_empty()) {
        text.push('\n');
    }
    let _infallible = writeln!(text, "{}\n", checks(&results.checks));
    text
}

#[cfg(test)]
mod tests;
