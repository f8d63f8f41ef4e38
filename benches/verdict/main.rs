//! How often does the gate abort a canary that is no worse, and how soon one that is?
//!
//! Budget: in each row what its column "required" says. Two rules in use elsewhere see the same streams
//! from the same seeds: "over 1 % of the canary's responses bad in a minute", at 100 requests a second, and
//! a Mann-Whitney test on 50 points of ten seconds.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod rules;
mod stream;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use comfy_table::{Table, presets::ASCII_MARKDOWN};
use wasm_fn_rollout::Counts;

use crate::{
    rules::{Fixed, MannWhitney, Ours, Rule, counts},
    stream::{Kind, Random, Shares, Stream},
};

/// False aborts that chance explains at alpha 0.001: more has a probability below 0.1 % in 1,500 runs.
const FALSE_MAX: usize = 6;

/// How often the gate errs, and how soon it sees.
#[derive(Parser)]
#[command(name = "verdict")]
struct Args {
    /// Runs of each row.
    #[arg(long, default_value_t = 1_500)]
    runs: u64,

    /// Only the cases whose name contains this.
    #[arg(long, default_value = "")]
    case: String,
}

/// What a row must show.
#[derive(Clone, Copy)]
enum Required {
    /// At most `FALSE_MAX` aborts.
    NoAbort,
    /// A median of at most so many requests, and at most so many canary failures in any run.
    Median(u64, u64),
    /// Nothing: the figure is for information.
    Reported,
}

struct Row {
    name: &'static str,
    kind: Kind,
    shares: Shares,
    requests: u64,
    required: Required,
}

/// When a rule aborted each run, if it did, and the canary's bad responses until then.
type Aborts = Vec<Option<(u64, u64)>>;

/// `number` milliseconds.
fn time(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn rows() -> Vec<Row> {
    let same = |rate| Kind::Errors { stable: rate, canary: rate };
    let worse = |canary| Kind::Errors { stable: 0.001, canary };
    let slow = |exponent, factor| Kind::Slow { exponent, factor };
    let row = |name, kind, shares, requests, required| Row { name, kind, shares, requests, required };
    let (long, short) = (200_000, 100_000);
    let (none, reported) = (Required::NoAbort, Required::Reported);
    vec![
        row("identical, no errors", same(0.0), Shares::Tenth, long, none),
        row("identical, 0.1 %", same(0.001), Shares::Tenth, long, none),
        row("identical, 1 %", same(0.01), Shares::Tenth, long, none),
        row("identical, 5 %", same(0.05), Shares::Tenth, long, none),
        row("identical, 0.1 %, steps 1/10/50 %", same(0.001), Shares::Steps, long, none),
        row("identical, 5 %, steps 1/10/50 %", same(0.05), Shares::Steps, long, none),
        row(
            "1.1 % vs 1 %, the margin",
            Kind::Errors { stable: 0.01, canary: 0.011 },
            Shares::Tenth,
            long,
            none,
        ),
        row("identical, sticky users, 10 %", Kind::Sticky, Shares::Tenth, long, none),
        row("identical, sticky users, steps", Kind::Sticky, Shares::Steps, long, none),
        row("identical, tail exponent 2", slow(2.0, 1.0), Shares::Tenth, long, none),
        row("identical, 1 %, all at once", same(0.01), Shares::All, long, none),
        row("broken vs 0.1 %", worse(1.0), Shares::Tenth, short, Required::Median(50, 6)),
        row("10 % vs 0.1 %", worse(0.1), Shares::Tenth, short, Required::Median(550, u64::MAX)),
        row("2 % vs 0.1 %", worse(0.02), Shares::Tenth, short, Required::Median(3_300, u64::MAX)),
        row("0.5 % vs 0.1 %", worse(0.005), Shares::Tenth, long, reported),
        row("p99 1.5 x, tail exponent 3", slow(3.0, 1.5), Shares::Tenth, long, reported),
        row("p99 1.5 x, tail exponent 2", slow(2.0, 1.5), Shares::Tenth, long, reported),
        row("broken vs 0.1 %, all at once", worse(1.0), Shares::All, short, reported),
        row("2 % vs 0.1 %, all at once", worse(0.02), Shares::All, short, reported),
    ]
}

/// What the previous version did before everybody was moved off it.
fn past(row: &Row, seed: u64) -> Option<Counts> {
    let (Shares::All, Kind::Errors { stable, .. }) = (row.shares, row.kind) else { return None };
    let mut random = Random::new(!seed);
    let bad = (0..row.requests).filter(|_| random.unit() < stable).count();
    Some(counts(row.requests, bad as u64))
}

/// Runs one stream until each rule has aborted or it is over.
fn run(row: &Row, seed: u64, aborts: &mut [Aborts; 3]) {
    let mut stream = Stream::new(row.kind, row.shares, row.requests, seed);
    let mut rules: [Box<dyn Rule>; 3] = [
        Box::new(Ours::new(row.kind, past(row, seed))),
        Box::<Fixed>::default(),
        Box::<MannWhitney>::default(),
    ];
    let mut ended = [None; 3];
    let mut failures = 0;
    for sent in 1..=row.requests {
        if stream.steps() {
            rules.iter_mut().for_each(|rule| rule.step());
        }
        let item = stream.next();
        failures += u64::from(item.bad && item.on_canary);
        for (rule, ended) in rules.iter_mut().zip(&mut ended) {
            if ended.is_none() && rule.aborts(&item) {
                *ended = Some((sent, failures));
            }
        }
        if ended.iter().all(Option::is_some) {
            break;
        }
    }
    for (aborts, ended) in aborts.iter_mut().zip(ended) {
        aborts.push(ended);
    }
}

/// The median over all runs, those without an abort counting as endless; `None` when it is among those.
fn median(aborts: &Aborts, what: impl Fn((u64, u64)) -> u64) -> Option<u64> {
    let mut all: Vec<_> = aborts.iter().map(|ended| ended.map_or(u64::MAX, &what)).collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied().filter(|&median| median != u64::MAX)
}

fn aborted(aborts: &Aborts) -> usize {
    aborts.iter().flatten().count()
}

/// Aborts, and when.
fn summary(aborts: &Aborts) -> String {
    let when = median(aborts, |(sent, _)| sent).map_or_else(String::new, |sent| format!(", median {sent}"));
    format!("{}{when}", aborted(aborts))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header([
        "case",
        "required",
        "aborts",
        "canary failures",
        "held",
        "over 1 %/min",
        "Mann-Whitney",
    ]);
    let mut good = true;
    for row in rows().into_iter().filter(|row| row.name.contains(&args.case)) {
        let mut aborts = [const { Aborts::new() }; 3];
        (0..args.runs).for_each(|seed| run(&row, seed, &mut aborts));
        let [ours, fixed, ranks] = aborts;
        let most = ours.iter().flatten().map(|&(_, failures)| failures).max();
        let failures = median(&ours, |(_, failures)| failures)
            .map_or_else(String::new, |median| format!("median {median}, most {}", most.unwrap_or(0)));
        let (required, held) = match row.required {
            Required::NoAbort => (format!("at most {FALSE_MAX} aborts"), Some(aborted(&ours) <= FALSE_MAX)),
            Required::Median(sent, failures_max) => {
                let soon = median(&ours, |(sent, _)| sent).is_some_and(|median| median <= sent);
                (format!("median {sent}"), Some(soon && most.is_some_and(|most| most <= failures_max)))
            }
            Required::Reported => ("reported".to_owned(), None),
        };
        good &= held != Some(false);
        let held = held.map_or("", |held| if held { "yes" } else { "NO" }).to_owned();
        let name = row.name.to_owned();
        table.add_row([name, required, summary(&ours), failures, held, summary(&fixed), summary(&ranks)]);
    }
    println!("{} runs a row", args.runs);
    println!("{table}");
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
