//! Is a version that is no worse ever taken back, and is a slower one? With real guests, end to end.
//!
//! - Each guest is deployed, asked at a fixed rate until it has a past, and then followed by itself: the same
//!   component with one custom section more, so that its digest and its code are others and what it does is
//!   the same. It gets 1, 2, 10 and 50 % of the requests, or all of them at once, at 20, 100 and 500 requests
//!   a second, and everything else is at its default. Required: none is taken back.
//! - A guest that computes is followed by itself with half as many rounds more. Required: it is taken back.
//!   How many requests and how long that took is in the table.
//!
//! One node serves all functions of a run, on the cores that its clients use too, so that the guests disturb
//! each other: that is part of the question. Components are compiled before the first run. The node starts
//! anew before each run, so that it loads them from their artefacts when they are deployed, as it does after
//! a compilation.
//!
//! Nothing is judged when the client sent late or the node did not keep up: such runs are tried once more.
//! Exit code 1 when a requirement is not met or a run could not be judged. Python's and JavaScript's guests
//! are built on demand.
//!
//! ```text
//! cargo build --release
//! cargo run --release -p wasm-fn-benches --bin identical
//! cargo run --release -p wasm-fn-benches --bin identical -- --only 'Python, 2 %, 100/s' --runs 5
//! ```

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod cases;
mod rollout;
mod run;
mod table;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, value_parser};
use wasm_fn_benches::{
    guests,
    node::{Node, Options},
    times::now,
};

use crate::{
    cases::{Case, Guest, Release},
    rollout::Version,
    run::{Effort, Pair},
    table::Row,
};

/// How often a run is tried until it can be judged.
const TRIES: u32 = 2;

/// Rounds of the computing guest whose time is measured to find how many take as long as they shall.
const ROUNDS_MEASURED: u64 = 1_000_000;

/// How often they are measured.
const MEASURED: u32 = 50;

/// Whether identical versions are taken back, and slower ones.
#[derive(Debug, Parser)]
#[command(name = "identical")]
struct Args {
    /// The program.
    #[arg(long, value_name = "PATH", default_value = "target/release/wasm-fn")]
    program: PathBuf,
    /// Only runs that have NAME in their name, such as `Python, 2 %, 100/s` or `all at once`; may be
    /// repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// How often each is run.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Runs of identical versions that share the node at the same time, each a function with its own rollout.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(1..=20))]
    side_by_side: u32,
    /// How long the first version runs alone.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = value_parser!(u32).range(1..=600))]
    warm_seconds: u32,
    /// How long an identical version runs.
    #[arg(long, value_name = "N", default_value_t = 45, value_parser = value_parser!(u32).range(1..=250))]
    seconds: u32,
    /// How long a slower one may run until it is taken back.
    #[arg(long, value_name = "N", default_value_t = 240, value_parser = value_parser!(u32).range(1..=250))]
    slower_seconds: u32,
    /// How long the computing guest computes, milliseconds.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u32).range(1..=1000))]
    work_ms: u32,
    /// Connections of each client.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = value_parser!(u32).range(1..=200))]
    connections: u32,
    /// The latest that a client may send, milliseconds: with more, nothing is judged.
    #[arg(long, value_name = "N", default_value_t = 250, value_parser = value_parser!(u32).range(1..=10_000))]
    late_max_ms: u32,
}

/// Versions of every guest that is released.
type Pairs = Vec<(Guest, Pair)>;

fn main() -> ExitCode {
    match measure(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything and prints; whether all of it was judged and held.
fn measure(args: &Args) -> Result<bool> {
    let mut cases = chosen(&args.only)?;
    let options = Options { program: args.program.clone(), core: None, serve: Vec::new() };
    let mut node = Node::start(options)?;
    let pairs = prepare(&node, args, &cases)?;
    println!(
        "identical versions: {} runs side by side on one node; slower ones: one by one",
        args.side_by_side
    );
    cases = cases.repeat(args.runs.try_into()?);

    let (mut rows, mut number) = (Vec::new(), 0);
    for _ in 0..TRIES {
        let mut again = Vec::new();
        // Every slower one is a group of its own.
        let groups = cases.chunk_by(|one, next| one.identical() && next.identical());
        for batch in groups.flat_map(|group| group.chunks(args.side_by_side as usize)) {
            node.restart()?;
            for row in side_by_side(&node, args, batch, &pairs, number) {
                println!("{row}");
                again.extend(row.unjudged().then_some(row.case));
                rows.push(row);
            }
            number += batch.len();
        }
        cases = again;
    }
    table::print(&rows);
    Ok(cases.is_empty() && rows.iter().all(|row| !row.broken()))
}

/// Every run, or those that `only` names.
fn chosen(only: &[String]) -> Result<Vec<Case>> {
    let mut cases = Case::all();
    let named = |case: &Case| only.iter().any(|only| case.to_string().contains(only.as_str()));
    cases.retain(|case| only.is_empty() || named(case));
    if cases.is_empty() {
        let all: Vec<_> = Case::all().iter().map(ToString::to_string).collect();
        bail!("no run is named like `{}`, expected a part of: {}", only.join("`, `"), all.join("; "));
    }
    Ok(cases)
}

/// Puts both versions of each guest of `cases` on `node`, and compiles them.
fn prepare(node: &Node, args: &Args, cases: &[Case]) -> Result<Pairs> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the package lies in no folder")?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let mut pairs = Pairs::new();
    for Case { guest, .. } in cases {
        if pairs.iter().any(|(known, _)| known == guest) {
            continue;
        }
        let component = guest.component(root, &target)?;
        let begun = now();
        let first = Version::prepare(node, &component)?;
        let pair = if *guest == Guest::Compute {
            let work = Duration::from_millis(args.work_ms.into());
            let rounds = rounds(node, &first, work)?;
            let slower = rounds + rounds / 2;
            println!("{guest}: {rounds} rounds take {work:?}, followed by {slower}");
            let with = |rounds: u64| first.with("ROUNDS", &rounds.to_string());
            Pair { first: with(rounds), second: with(slower) }
        } else {
            Pair { second: Version::prepare(node, &guests::marked(&component, 1))?, first }
        };
        println!("{guest}: prepared in {:.1} s", begun.elapsed().as_secs_f64());
        pairs.push((*guest, pair));
    }
    Ok(pairs)
}

/// So many rounds of `compute` that they take as long as `work`.
fn rounds(node: &Node, compute: &Version, work: Duration) -> Result<u64> {
    // What a request takes beside them is not theirs.
    let took = fastest(node, compute, ROUNDS_MEASURED)?.saturating_sub(fastest(node, compute, 0)?);
    Ok((u128::from(ROUNDS_MEASURED) * work.as_nanos() / took.as_nanos().max(1)).try_into()?)
}

/// The shortest time that an answer takes after so many rounds: that of one which nothing disturbed.
fn fastest(node: &Node, compute: &Version, rounds: u64) -> Result<Duration> {
    let (mut control, mut functions) = (node.control()?, node.functions()?);
    compute.with("ROUNDS", &rounds.to_string()).deploy(&mut control, "rounds", Release::AllAtOnce)?;
    let mut fastest = Duration::MAX;
    for _ in 0..MEASURED {
        let begun = now();
        functions.get("/rounds")?.success()?;
        fastest = fastest.min(begun.elapsed());
    }
    rollout::delete(&mut control, "rounds")?;
    Ok(fastest)
}

/// Runs `batch` at the same time, as functions numbered from `first`.
fn side_by_side(node: &Node, args: &Args, batch: &[Case], pairs: &Pairs, first: usize) -> Vec<Row> {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    thread::scope(|scope| {
        let run = |(at, case): (usize, &Case)| {
            let whole = if case.identical() { args.seconds } else { args.slower_seconds };
            let effort = Effort {
                warm: seconds(args.warm_seconds),
                whole: seconds(whole),
                connections: args.connections,
                late_max: Duration::from_millis(args.late_max_ms.into()),
            };
            let function = format!("run{}", first + at);
            let (_, pair) = pairs.iter().find(|(guest, _)| *guest == case.guest).expect("all are prepared");
            let case = *case;
            scope.spawn(move || {
                let seen = effort.run(node, &function, case, pair);
                // Refused only when it was never deployed. The runs that follow shall not share the node with
                // it.
                let _refused =
                    node.control().and_then(|mut control| rollout::delete(&mut control, &function));
                Row { case, seen }
            })
        };
        let runs: Vec<_> = batch.iter().enumerate().map(run).collect();
        runs.into_iter().map(|run| run.join().expect("a run returns its error")).collect()
    })
}
