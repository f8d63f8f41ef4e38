//! How long does hello take beside eight requests that compute without end?
//!
//! Budget: a p99 under 20 ms on two cores, and no request lost.
//!
//! One `wasm-fn` on all cores, eight clients whose requests never end, and one that asks for hello at a fixed
//! rate over one connection. A latency counts from the moment at which its request was due, so that a slow
//! answer is charged for those that it holds up (an open loop). The client shares the cores with the node:
//! what it waits for a core is in the figures.
//!
//! ```text
//! cargo build --release
//! cargo run --release -p wasm-fn-benches --bin fairness
//! ```

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use wasm_fn_benches::{
    http::Connection,
    node::{Node, Options},
    open_loop::OpenLoop,
    times::{now, quantile},
};

/// What hello's p99 beside the loops may be.
const BUDGET: Duration = Duration::from_millis(20);

/// How long the loops may take to begin.
const PATIENCE: Duration = Duration::from_secs(60);

const POLL_EVERY: Duration = Duration::from_millis(20);

/// How long hello takes beside requests that compute without end.
#[derive(Parser)]
#[command(name = "fairness")]
struct Args {
    /// The `wasm-fn` to measure; the workspace's release build when absent.
    #[arg(long, value_name = "PATH")]
    wasm_fn: Option<PathBuf>,

    /// Requests that compute without end.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=200))]
    loops: u32,

    /// Requests for hello in a second.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,

    /// How long each measurement takes.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and prints; whether the budget held.
fn run(args: &Args) -> Result<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the package lies in no folder")?;
    let program = args.wasm_fn.clone().unwrap_or_else(|| root.join("target/release/wasm-fn"));
    let node = Node::start(Options { program, core: None, serve: Vec::new() })?;
    let guests = root.join("guest-examples/prebuilt");
    node.deploy("hello", &guests.join("hello-v1.wasm"), "")?;
    // One place for each loop, so that a full function says that all of them run.
    let places = format!("timeout = \"1h\"\nconcurrency = {}\nqueue = 0\n", args.loops);
    node.deploy("spin", &guests.join("spin.wasm"), &places)?;
    node.functions()?.get("/spin")?.success()?;

    let cores = thread::available_parallelism().map_or(0, usize::from);
    println!("hello at {} requests a second for {} s, {cores} cores", args.rate, args.seconds);
    print("alone", &latencies(&node, args)?);
    let loops: Vec<_> = (0..args.loops).map(|_| begin_loop(&node)).collect::<Result<_>>()?;
    until_full(&node)?;
    let beside = latencies(&node, args)?;
    print(&format!("beside {} endless loops", args.loops), &beside);
    for one in &loops {
        ensure!(one.is_silent()?, "a loop has ended, expected all of them to run throughout");
    }
    Ok(quantile(&beside, 990) < BUDGET)
}

/// Asks for what is never answered.
fn begin_loop(node: &Node) -> Result<Connection> {
    let mut connection = node.functions()?;
    connection.ask("/spin/loop")?;
    Ok(connection)
}

/// Waits until every loop has a place.
fn until_full(node: &Node) -> Result<()> {
    let begun = now();
    while node.functions()?.get("/spin")?.status != 503 {
        if begun.elapsed() > PATIENCE {
            bail!("not all loops were at work after {PATIENCE:?}");
        }
        thread::sleep(POLL_EVERY);
    }
    Ok(())
}

/// How long hello took after it was due.
fn latencies(node: &Node, args: &Args) -> Result<Vec<Duration>> {
    let hello = OpenLoop { address: node.listen(), path: "/hello", rate: args.rate, connections: 1 };
    let whole = Duration::from_secs(args.seconds.into());
    Ok(hello.run(|since| since < whole)?.latencies)
}

fn print(name: &str, latencies: &[Duration]) {
    let [p50, p99, p999] = [500, 990, 999].map(|permille| quantile(latencies, permille));
    println!("{name}: p50 {p50:?}, p99 {p99:?}, p99.9 {p999:?}, {} answered, none lost", latencies.len());
}
