//! How much server CPU does one hello request cost, beside `wasmtime serve` in the same run?
//!
//! Budget: `wasm-fn` with the wasi:http 0.2 guest, a fresh instance per request, costs at most 0.5 of what
//! `wasmtime serve` costs as it comes.
//!
//! Every system serves the same guest in turn, round after round, alone on core 0, while `wrk` keeps it
//! busy from core 1. The figure is the CPU time of the server process by the kernel's account, so it does
//! not depend on the client's clock. The load is a closed loop: latencies under it would mean nothing, so
//! none are reported.
//!
//! And what do a rollout's gate and shield cost? Budget: 1 % of a request's CPU. Two nodes, one with and one
//! without them, are driven at the same time on the same core.
//!
//! ```text
//! cargo build --release
//! cargo run --release -p wasm-fn-benches --bin load
//! ```
//!
//! Needs Linux, two cores that nobody else uses, `taskset`, `wrk`, and for the comparison `wasmtime`. Exit
//! code 0 says that every figure could be printed and that the budget held where it could be checked.

mod gate;
mod http;
mod report;
mod server;
mod system;
mod wrk;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use crate::system::System;

/// The core that servers run on.
const SERVER_CORE: &str = "0";

/// The core that the client runs on.
const CLIENT_CORE: &str = "1";

/// How long a server is driven before its time is taken.
const WARM_UP: Duration = Duration::from_secs(1);

/// Share of its core below which a server was waiting: for the client, or for somebody else on the core.
const BUSY_MIN: f64 = 0.85;

/// How much server CPU one hello request costs, beside `wasmtime serve` in the same run.
#[derive(Parser)]
#[command(name = "load")]
struct Args {
    /// The `wasm-fn` to measure; the workspace's release build when absent.
    #[arg(long, value_name = "PATH")]
    wasm_fn: Option<PathBuf>,

    /// The `wasmtime` to measure beside it.
    #[arg(long, value_name = "PATH", default_value = "wasmtime")]
    wasmtime: PathBuf,

    /// How often each system is measured.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// How long each measurement takes.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,

    /// Connections that the client keeps busy.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
}

/// What one measurement of one system found.
#[derive(Debug, Clone, Copy)]
struct Sample {
    requests_per_second: f64,
    cpu_us_per_request: f64,
}

/// A system with its measurements, one a round; or why it has no figure.
struct Run {
    system: System,
    outcome: Result<Vec<Sample>, String>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Measures and prints; whether every figure was there and the budget held.
fn run(args: &Args) -> Result<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the package lies in no folder")?;
    found("taskset", "install util-linux")?;
    found("wrk", "install it, as with `apt-get install wrk`, or from https://github.com/wg/wrk")?;

    let wasm_fn = args.wasm_fn.clone().unwrap_or_else(|| root.join("target/release/wasm-fn"));
    let (wasm_fn, ours) = program(&wasm_fn).context("build it with `cargo build --release`")?;
    let mut systems = System::ours(&wasm_fn);
    match program(&args.wasmtime) {
        Ok((wasmtime, theirs)) => {
            systems.extend(System::peers(&wasmtime));
            report::note(&format!("{ours} beside {theirs}"));
        }
        Err(error) => report::note(&format!("{ours} alone; `wasmtime serve` is skipped: {error:#}")),
    }

    let guests = root.join("guest-examples/prebuilt");
    let mut runs: Vec<_> =
        systems.into_iter().map(|system| Run { system, outcome: Ok(Vec::new()) }).collect();
    for round in 1..=args.rounds {
        for run in &mut runs {
            // A system that was refused once has no figure, whatever the other rounds would say.
            let Ok(samples) = &mut run.outcome else { continue };
            report::note(&format!("round {round} of {}: {}", args.rounds, run.system));
            match measure(&run.system, &guests, args) {
                Ok(sample) => samples.push(sample),
                Err(error) => run.outcome = Err(format!("round {round}: {error:#}")),
            }
        }
    }
    report::note("gate and shield beside a split by hand");
    let gate = gate::measure(&wasm_fn, &guests, args.connections);
    Ok(report::print(&runs) & report::print_gate(gate))
}

/// Starts `system`, drives it, takes its time and ends it.
fn measure(system: &System, guests: &Path, args: &Args) -> Result<Sample> {
    let served = system.start(guests)?;
    wrk::drive(&served.url(), args.connections, WARM_UP)?;

    let (cpu_before, begun) = (served.server.cpu()?, now());
    let load = wrk::drive(&served.url(), args.connections, Duration::from_secs(args.seconds))?;
    let (cpu, elapsed) = (served.server.cpu()?.saturating_sub(cpu_before), begun.elapsed());

    served.check().context("after the load")?;
    let busy = cpu.as_secs_f64() / elapsed.as_secs_f64();
    if busy < BUSY_MIN {
        bail!(
            "the server used {:.0} % of its core, expected at least {:.0} %: the client was the bottleneck, \
             or something else ran on core {SERVER_CORE}",
            busy * 100.0,
            BUSY_MIN * 100.0,
        );
    }
    Ok(Sample {
        requests_per_second: load.requests_per_second,
        cpu_us_per_request: cpu.as_secs_f64() * 1e6 / load.requests as f64,
    })
}

/// The absolute path of a program and what it says its version is.
fn program(path: &Path) -> Result<(PathBuf, String)> {
    // A bare name is looked up on PATH; anything else must survive a change of the working directory.
    let bare = path.parent().is_some_and(|parent| parent.as_os_str().is_empty());
    let path = if bare { Ok(path.to_owned()) } else { path.canonicalize() }
        .with_context(|| format!("`{}` cannot be found", path.display()))?;
    let asked = Command::new(&path)
        .arg("--version")
        .output()
        .with_context(|| format!("`{}` cannot be started", path.display()))?;
    if !asked.status.success() {
        bail!("`{} --version` ended with {}", path.display(), asked.status);
    }
    Ok((path, String::from_utf8_lossy(&asked.stdout).trim().to_owned()))
}

/// Refuses when a tool cannot be started, with the way to get it.
fn found(tool: &str, remedy: &str) -> Result<()> {
    // Not its exit code: `wrk --version` answers with 1.
    match Command::new(tool).arg("--version").output() {
        Ok(_) => Ok(()),
        Err(error) => bail!("`{tool}` cannot be started: {error}; {remedy}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench is an edge: elapsed time is what it measures")]
fn now() -> Instant {
    Instant::now()
}
