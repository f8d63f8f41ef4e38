//! `cargo xtask`: the command line of the project's chores.
#![expect(clippy::print_stderr, reason = "the error is this program's last word")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own chores")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Rebuild example guests into guest-examples/prebuilt and refresh its manifest
    Guests {
        /// Guests to build, named by folder; all when none is named
        names: Vec<String>,
        /// Build nothing: verify that sources, files and manifest agree
        #[arg(long, conflicts_with = "names")]
        check: bool,
    },
    /// Run seeds of the deterministic simulation, up to the first that fails
    Sim {
        /// How many
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        /// The first
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Print what happens, line by line
        #[arg(long)]
        trace: bool,
    },
    /// Build for release and measure what a request costs; exit code 0 when every figure was there and the
    /// budgets held
    Bench(xtask::bench::Bench),
    /// Count the instructions of the hot path's parts under valgrind; exit code 0 when none takes over 5 %
    /// more than its baseline
    Instructions {
        /// Make the counts of now the baseline
        #[arg(long)]
        update: bool,
    },
    /// Build the binary by a profile of what the load bench does, and say where it lies
    Pgo,
    /// Run everything that continuous integration runs, up to the first failure
    Ci,
}

fn main() -> ExitCode {
    match run(Args::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not by returning the error: that would add a backtrace, and chores fail for plain reasons.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> anyhow::Result<()> {
    let root = xtask::root()?;
    match chore {
        Chore::Guests { check: true, .. } => xtask::guests::check(&root),
        Chore::Guests { names, check: false } => xtask::guests::rebuild(&root, &names),
        Chore::Sim { seeds, from, trace } => {
            xtask::sim::run(&root, xtask::sim::Seeds { count: seeds, from, trace })
        }
        Chore::Bench(bench) => xtask::bench::run(&root, &bench),
        Chore::Instructions { update } => xtask::instructions::run(&root, update),
        Chore::Pgo => xtask::pgo::run(&root),
        Chore::Ci => xtask::ci::run(&root),
    }
}
