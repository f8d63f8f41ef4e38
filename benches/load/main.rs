//! What does a request cost, in server CPU, latency and memory, beside what people would use instead?
//!
//! Budgets: those of `budgets.rs`, among them that a new instance per request costs at most 0.27 of what
//! `wasmtime serve` costs as it comes.
//!
//! Every system serves in turn, round after round, alone on one core; the clients are on another. For
//! saturation `wrk` keeps connections busy, and the server's CPU time is the kernel's account, so it does
//! not depend on the client's clock; the size of all answers must be that of right ones. For latency an
//! open loop sends at half the rate of saturation, and checks every answer. A figure is refused when the
//! client was the bottleneck or an answer was wrong.
//!
//! ```text
//! cargo xtask bench                            # ours
//! cargo xtask bench --compare                  # and peers; writes tables and chart of docs/explanation/
//! cargo xtask bench --compare --only workerd --rounds 1
//! ```
//!
//! Needs Linux, two cores that nobody else uses, `taskset` and `wrk`; and of the peers those that shall be
//! compared, each of which may be missing. Exit code 0 says that every figure could be printed and that the
//! budgets held where they could be checked.

mod budgets;
mod certificate;
mod chart;
mod guests;
mod http;
mod machine;
mod measurement;
mod open_loop;
mod pages;
mod pairs;
mod processes;
mod programs;
mod report;
mod requests;
mod results;
mod run;
mod stats;
mod systems;
mod tls;
mod wrk;
mod zipf;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

use crate::{
    machine::{Cores, Machine},
    measurement::Effort,
    programs::Programs,
    results::Results,
    run::Choice,
    systems::{Ground, Places},
};

/// What a request costs, beside what people would use instead.
#[derive(Parser)]
#[command(name = "load", args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,

    #[command(flatten)]
    bench: Bench,
}

/// What the bench starts itself as.
#[derive(Subcommand)]
enum Part {
    /// The limit: hyper alone.
    #[command(hide = true)]
    Hyper {
        address: SocketAddr,
        #[arg(long, requires = "tls_key")]
        tls_cert: Option<PathBuf>,
        #[arg(long, requires = "tls_cert")]
        tls_key: Option<PathBuf>,
    },
    /// The open loop: a job on standard input, what it saw on standard output.
    #[command(hide = true)]
    Drive,
}

#[derive(clap::Args)]
struct Bench {
    /// Measure the peers too.
    #[arg(long)]
    compare: bool,

    /// Measure only what has NAME in its name or in a budget's; may be repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// How often each system is measured.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// How long each measurement takes.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=300))]
    seconds: u64,

    /// Connections that the client keeps busy at saturation.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,

    /// The `wasm-fn` to measure; the workspace's release build when absent.
    #[arg(long, value_name = "PATH")]
    wasm_fn: Option<PathBuf>,

    /// The `wasmtime` to measure beside it.
    #[arg(long, value_name = "PATH", default_value = "wasmtime")]
    wasmtime: PathBuf,

    /// The `workerd` to measure beside it.
    #[arg(long, value_name = "PATH", default_value = "workerd")]
    workerd: PathBuf,

    /// The `nginx` to put in front of two `wasmtime serve`.
    #[arg(long, value_name = "PATH", default_value = "nginx")]
    nginx: PathBuf,

    /// The `node` to measure beside it.
    #[arg(long, value_name = "PATH", default_value = "node")]
    node: PathBuf,

    /// Write everything that was measured.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the tables into performance.md and the chart performance.svg of this folder.
    #[arg(long, value_name = "DIR")]
    docs: Option<PathBuf>,

    /// How the pages say that `wasm-fn` was built.
    #[arg(long, value_name = "TEXT", hide = true)]
    built: Option<String>,

    /// How the pages say that this was started.
    #[arg(long, value_name = "TEXT", hide = true)]
    command: Option<String>,
}

fn main() -> ExitCode {
    let Args { part, bench } = Args::parse();
    let done = match part {
        Some(Part::Hyper { address, tls_cert, tls_key }) => {
            let tls = tls_cert.as_deref().zip(tls_key.as_deref());
            systems::serve_hyper(address, tls).map(|()| true)
        }
        Some(Part::Drive) => drive().map(|()| true),
        None => bench.run(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Does the job on standard input.
fn drive() -> Result<()> {
    let job = serde_json::from_reader(std::io::stdin()).context("standard input is no job")?;
    report::data(&serde_json::to_string(&open_loop::drive(&job)?)?);
    Ok(())
}

impl Bench {
    /// Measures and prints; whether every figure was there and the budgets held.
    fn run(&self) -> Result<bool> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the package lies in no folder")?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let places = Places { root: root.to_owned(), target };
        let programs = self.programs(&places)?;

        let mut choice = Choice::of(self.compare, &self.only)?;
        let skipped = choice.skip_missing(&programs, &places);
        for skipped in &skipped {
            report::note(&format!("skipped: {skipped}"));
        }
        if choice.is_empty() {
            report::note("nothing is left to measure");
            return Ok(true);
        }
        let cores = Cores::allowed()?;
        machine::needs("taskset", "install util-linux")?;
        machine::needs(
            "wrk",
            "install it, as with `apt-get install wrk`, or from https://github.com/wg/wrk",
        )?;

        let ground = Ground { programs: &programs, places: &places, cores };
        let effort = Effort { rounds: self.rounds, seconds: self.seconds, connections: self.connections };
        let rows = choice.measure(ground, effort);
        let paired = choice.measure_pairs(ground, effort);
        let added = choice.measure_added(ground, effort);
        let tls = choice.measure_tls(ground, effort);
        let results = Results {
            machine: Machine::here(),
            command: self.command.clone().unwrap_or_else(|| "load".to_owned()),
            versions: programs.versions(self.compare),
            rounds: self.rounds,
            seconds: self.seconds,
            connections: self.connections,
            checks: budgets::check(&rows, &paired, added.as_ref(), tls.as_ref()),
            rows,
            tls,
            skipped,
        };
        report::print(&results);
        if let Some(path) = &self.json {
            results.write(path)?;
        }
        if let Some(docs) = &self.docs {
            pages::write(&results, &docs.join("performance.md"))?;
            chart::write(&results, &docs.join("performance.svg"))?;
        }
        Ok(results.good())
    }

    fn programs(&self, places: &Places) -> Result<Programs> {
        let beside = || places.target.join("release/wasm-fn");
        let mut wasm_fn = programs::ours(&self.wasm_fn.clone().unwrap_or_else(beside))?;
        if let Some(built) = &self.built {
            wasm_fn.version = format!("{} {built}", wasm_fn.version);
        }
        Ok(Programs {
            wasm_fn,
            // The engine that wasm-fn embeds, and what was current with it.
            wasmtime: programs::peer(&self.wasmtime, "--version", &[48]),
            workerd: programs::peer(&self.workerd, "--version", &[2026]),
            nginx: programs::peer(&self.nginx, "-v", &[1, 22]),
            node: programs::peer(&self.node, "--version", &[20]),
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench is an edge: elapsed time is what it measures")]
fn now() -> Instant {
    Instant::now()
}
