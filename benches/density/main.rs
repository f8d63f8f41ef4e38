//! What do thousands of functions cost a node that serves few of them at a time, and what do large components
//! cost it?
//!
//! - With 10,000 functions of 100 components: less than 600 MB resident when idle, less than 1.5 s from the
//!   start of the process to the first answer, and less than 3 ms (p99) for the first request to a function
//!   whose artefact is cached and not loaded. With 100,000: 1.5 GB and 3 s. Deployments of components that
//!   are known take less than 4 ms (p50) at the end, and at most 1.5 times what they took beside 1,000
//!   functions.
//! - `--javascript FILE`, a component of megabytes such as that of the load bench: less than 60 ms (p99) for
//!   the first request when its artefact is cached and not loaded. Each sample is the first request of
//!   another process, which is ready and finds the artefact in the page cache. Of fewer than a hundred
//!   samples the p99 is the slowest.
//! - `--deploying FILE`, such a component again: what hello takes alone, and while that component is
//!   uploaded, compiled and loaded for the first time. Without a budget: how much slower others may become is
//!   the reader's to decide.
//!
//! Exit code 1 when a budget is not met. `--functions 0` leaves out the first of these. The client shares the
//! cores with the node: what it waits for a core is in the figures, and the most of it is said beside
//! `--deploying`'s.
//!
//! ```text
//! cargo build --release
//! cargo run --release -p wasm-fn-benches --bin density
//! cargo run --release -p wasm-fn-benches --bin density -- --functions 0 --javascript FILE --deploying FILE
//! ```

#![expect(clippy::print_stdout, reason = "a bench says what it found")]

mod deploying;
mod functions;
mod javascript;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, ensure};
use clap::{Parser, value_parser};
use wasm_fn_benches::node::Options;

/// Measures density and start of a node, and what large components cost it.
#[derive(Debug, Parser)]
struct Args {
    /// Functions to deploy; 0 for none of the figures about many functions.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    functions: usize,
    /// Different components among them.
    #[arg(long, value_name = "N", default_value_t = 100)]
    components: usize,
    /// Restarts; each gives a sample of the start and one of every component's first request.
    #[arg(long, value_name = "N", default_value_t = 5)]
    restarts: usize,
    /// The program.
    #[arg(long, value_name = "PATH", default_value = "target/release/wasm-fn")]
    program: PathBuf,
    /// Hello, which all components of the many functions are made of.
    #[arg(long, value_name = "FILE", default_value = "guest-examples/prebuilt/hello-v1.wasm")]
    guest: PathBuf,
    /// A large component whose first request is timed.
    #[arg(long, value_name = "FILE")]
    javascript: Option<PathBuf>,
    /// First requests to it, each after a restart.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u32).range(1..))]
    javascript_restarts: u32,
    /// A large component that is deployed while hello is asked.
    #[arg(long, value_name = "FILE")]
    deploying: Option<PathBuf>,
    /// Requests for hello in a second, beside the deployment and without it.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Connections over which hello is asked.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = value_parser!(u32).range(1..=200))]
    connections: u32,
    /// How long hello is asked without a deployment.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u32).range(1..=600))]
    alone_seconds: u32,
}

impl Args {
    /// How each node is run.
    fn node(&self) -> Options {
        Options { program: self.program.clone(), core: None, serve: Vec::new() }
    }
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    ensure!(
        args.functions == 0 || ((1..=args.functions).contains(&args.components) && args.restarts > 0),
        "found {} components of {} functions and {} restarts, expected at least one of each",
        args.components,
        args.functions,
        args.restarts
    );
    let mut held = true;
    if args.functions > 0 {
        held &= functions::measure(&args)?;
    }
    if let Some(component) = &args.javascript {
        held &= javascript::measure(&args, component)?;
    }
    if let Some(component) = &args.deploying {
        deploying::measure(&args, component)?;
    }
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says whether a figure is within its budget.
fn budget(what: &str, found: f64, most: f64, unit: &str) -> bool {
    let held = found < most;
    let word = if held { "held" } else { "exceeded" };
    println!("{what}: {found:.2} {unit}, budget {most} {unit}: {word}");
    held
}
