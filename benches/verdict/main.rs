//! How often does the gate abort a canary that is no worse, and how soon one that is?
//!
//! Budget: in each row what its column "required" says. The first table is of streams of responses that take
//! no time; two rules in use elsewhere see the same streams from the same seeds: "over 1 % of the canary's
//! responses bad in a minute", at 100 requests a second, and a Mann-Whitney test on 50 points of ten seconds.
//! The second table is of rollouts in virtual time. Every request goes through the real feed and gate.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod record;
mod rules;
mod scenes;
mod sim;
mod stream;

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use clap::Parser;
use comfy_table::{Table, presets::ASCII_MARKDOWN};
use wasm_fn_rollout::{Bad, Class, Counts, Event};

use crate::{
    rules::{Fixed, MannWhitney, Ours, Rule},
    scenes::{Case, Must},
    sim::Ended,
    stream::{Kind, Random, Shares, Stream},
};

/// The gate's alpha.
const ALPHA: f64 = 0.001;

/// The probability of more false aborts than are allowed, at alpha.
const UNLUCKY: f64 = 0.001;

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
    /// No more aborts than chance explains at alpha.
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
        row("broken vs 0.1 %", worse(1.0), Shares::Tenth, short, Required::Median(57, 7)),
        row("10 % vs 0.1 %", worse(0.1), Shares::Tenth, short, Required::Median(601, u64::MAX)),
        row("2 % vs 0.1 %", worse(0.02), Shares::Tenth, short, Required::Median(3_684, u64::MAX)),
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
    let bad = Bad::each(bad as u64);
    let class = Event::Failed(Class::ServerError);
    Some(Counts::of(row.requests).with(Event::FailedAtAll, bad).with(class, bad))
}

/// Runs one stream until each rule has aborted or it is over; says when each did, and the canary's bad
/// responses until then.
fn run(row: &Row, seed: u64) -> [Option<(u64, u64)>; 3] {
    let mut stream = Stream::new(row.kind, row.shares, row.requests, seed);
    let mut rules: [Box<dyn Rule>; 3] = [
        Box::new(Ours::new(stream.share(), past(row, seed), stream.median())),
        Box::<Fixed>::default(),
        Box::<MannWhitney>::default(),
    ];
    let mut ended = [None; 3];
    let mut failures = 0;
    for sent in 1..=row.requests {
        if stream.steps() {
            rules.iter_mut().for_each(|rule| rule.step(stream.share()));
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
    ended
}

/// What `run` gives for each of so many seeds, in their order, on every core.
fn each<T: Send>(runs: u64, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= runs {
                return done;
            }
            done.push((seed, run(seed)));
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut all: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a run does not panic")).collect()
    });
    all.sort_by_key(|(seed, _)| *seed);
    all.into_iter().map(|(_, done)| done).collect()
}

/// Aborts that chance explains in so many runs, when each is one with the probability alpha.
fn false_max(runs: u64) -> usize {
    let mean = ALPHA * runs as f64;
    let (mut term, mut more, mut most) = ((-mean).exp(), 1.0, 0);
    loop {
        more -= term;
        if more < UNLUCKY {
            return most;
        }
        most += 1;
        term *= mean / most as f64;
    }
}

/// The median over all runs, those without an abort counting as endless; `None` when it is among those.
fn median(values: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    let mut all: Vec<_> = values.map(|value| value.unwrap_or(u64::MAX)).collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied().filter(|&median| median != u64::MAX)
}

/// How many there are, and their median.
fn summary(aborts: &Aborts) -> String {
    let when = median(aborts.iter().map(|ended| ended.map(|(sent, _)| sent)));
    let when = when.map_or_else(String::new, |sent| format!(", median {sent}"));
    format!("{}{when}", aborts.iter().flatten().count())
}

fn held(held: Option<bool>) -> String {
    held.map_or("", |held| if held { "yes" } else { "NO" }).to_owned()
}

/// The row of `row` in the first table, and whether it shows what it must.
fn of_row(row: &Row, runs: u64) -> (Vec<String>, bool) {
    let all = each(runs, |seed| run(row, seed));
    let [ours, fixed, ranks]: [Aborts; 3] =
        std::array::from_fn(|rule| all.iter().map(|ended| ended[rule]).collect());
    let most = ours.iter().flatten().map(|&(_, failures)| failures).max();
    let failures = median(ours.iter().map(|ended| ended.map(|(_, failures)| failures)))
        .map_or_else(String::new, |median| format!("median {median}, most {}", most.unwrap_or(0)));
    let (required, is_held) = match row.required {
        Required::NoAbort => {
            let most = false_max(runs);
            (format!("at most {most} aborts"), Some(ours.iter().flatten().count() <= most))
        }
        Required::Median(sent, failures_max) => {
            let soon = median(ours.iter().map(|ended| ended.map(|(sent, _)| sent)));
            let soon = soon.is_some_and(|median| median <= sent);
            (format!("median {sent}"), Some(soon && most.is_some_and(|most| most <= failures_max)))
        }
        Required::Reported => ("reported".to_owned(), None),
    };
    let name = row.name.to_owned();
    let cells =
        vec![name, required, summary(&ours), failures, held(is_held), summary(&fixed), summary(&ranks)];
    (cells, is_held != Some(false))
}

/// The row of `case` in the second table, and whether it shows what it must.
fn of_case(case: &Case, runs: u64) -> (Vec<String>, bool) {
    let all: Vec<Ended> = each(runs, |seed| sim::run((case.scene)(seed), seed));
    let aborts: Vec<_> = all.iter().filter_map(|ended| ended.abort.as_ref()).collect();
    let passed = all.iter().filter(|ended| ended.passed).count();
    let of = |what: fn(&sim::Abort) -> u64| median(all.iter().map(|ended| ended.abort.as_ref().map(what)));
    let most = |what: fn(&sim::Abort) -> u64| aborts.iter().map(|abort| what(abort)).max();
    let sent = of(|abort| abort.sent);
    let (required, is_held) = match case.must {
        Must::NoAbort => {
            let most = false_max(runs);
            (format!("at most {most} aborts"), Some(aborts.len() <= most))
        }
        Must::Find(within) => {
            let all_found = aborts.len() == all.len();
            (format!("all, median {within}"), Some(all_found && sent.is_some_and(|sent| sent <= within)))
        }
        Must::FindMostly(within) => {
            let often = aborts.len() * 4 >= all.len() * 3;
            (format!("most, median {within}"), Some(often && sent.is_some_and(|sent| sent <= within)))
        }
        Must::FindWithin(within) => {
            let soon = most(|abort| abort.canary).is_some_and(|most| most <= within);
            (format!("all within {within} of the canary"), Some(soon && aborts.len() == all.len()))
        }
        Must::NeverPass => ("no pass".to_owned(), Some(passed == 0)),
        Must::Report => ("reported".to_owned(), None),
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "hours at most")]
    let millis = of(|abort| (abort.seconds * 1_000.0) as u64);
    let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    let mut causes = BTreeMap::<&str, usize>::new();
    aborts.iter().for_each(|abort| *causes.entry(&abort.cause).or_default() += 1);
    let mut causes: Vec<_> = causes.into_iter().collect();
    causes.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let causes = causes.iter().take(2).map(|(cause, count)| format!("{cause} {count}"));
    let pair = |median: Option<u64>, most: Option<u64>| {
        median.map_or_else(String::new, |median| format!("{median}, most {}", most.unwrap_or(0)))
    };
    let cells = vec![
        case.name.to_owned(),
        required,
        aborts.len().to_string(),
        passed.to_string(),
        number(sent),
        pair(of(|abort| abort.canary), most(|abort| abort.canary)),
        pair(of(|abort| abort.failures), most(|abort| abort.failures)),
        millis.map_or_else(String::new, |millis| format!("{:.1}", millis as f64 / 1_000.0)),
        causes.collect::<Vec<_>>().join(", "),
        held(is_held),
    ];
    (cells, is_held != Some(false))
}

/// Prints a table of these rows; whether each shows what it must.
fn print<const N: usize>(header: [&str; N], rows: impl Iterator<Item = (Vec<String>, bool)>) -> bool {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(header);
    let mut good = true;
    for (cells, held) in rows {
        good &= held;
        table.add_row(cells);
    }
    if !table.is_empty() {
        println!("\n{table}");
    }
    good
}

fn main() -> ExitCode {
    let Args { runs, case } = Args::parse();
    println!("{runs} runs a row");
    let rows = rows().into_iter().filter(|row| row.name.contains(&case));
    let header = ["case", "required", "aborts", "canary failures", "held", "over 1 %/min", "Mann-Whitney"];
    let streams = print(header, rows.map(|row| of_row(&row, runs)));
    let cases = scenes::cases().into_iter().filter(|known| known.name.contains(&case));
    let header = [
        "rollout in time",
        "required",
        "aborts",
        "passes",
        "median requests",
        "of the canary",
        "its failures",
        "seconds",
        "by",
        "held",
    ];
    let cases = print(header, cases.map(|case| of_case(&case, runs)));
    if streams && cases { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
