//! How many instructions does a part of the hot path take, run so many times?
//!
//! Times on a busy machine say little about a change of a few per cent; counts of instructions do. This
//! program only runs: `cargo xtask instructions` runs it under a tool that counts, twice, and what the
//! second run takes more than the first is the price of the operations without the set-up. So nothing here
//! may be left to chance: no random seed, no draw, and no decision by the time.

mod invoke;
mod parts;
mod route;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use tikv_jemallocator::Jemalloc;
use tracing::subscriber::NoSubscriber;

// As the program has it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

#[derive(Parser)]
#[command(name = "instructions", about = "Runs a part of the hot path so many times")]
struct Args {
    /// What is run
    name: Workload,
    /// How many times, after the set-up
    count: u32,
    /// Where the native code of `invoke` is cached: made when it is missing
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    #[command(flatten)]
    invoke: invoke::Options,
}

#[derive(Clone, Copy, ValueEnum)]
enum Workload {
    /// Find one function of 10,000 and choose its version by the user's cookie
    Route,
    /// Count the end of an invocation
    Tally,
    /// Enter and leave the gate, take an instance and put it back
    Admit,
    /// A rollout's gate hears of one good response
    Evidence,
    /// One invocation with an instance of its own
    Invoke,
}

fn main() -> anyhow::Result<()> {
    let Args { name, count, cache, invoke } = Args::parse();
    // The program has a subscriber, so that no span of the engine is written for the crate `log` instead.
    tracing::subscriber::set_global_default(NoSubscriber::new()).context("there is a subscriber already")?;
    match name {
        Workload::Route => route::run(count),
        Workload::Tally => parts::tally(count),
        Workload::Admit => parts::admit(count),
        Workload::Evidence => parts::evidence(count),
        Workload::Invoke => {
            let cache = cache.context("`invoke` has nowhere to cache native code: give --cache")?;
            return invoke::run(count, &cache, &invoke);
        }
    }
    Ok(())
}
