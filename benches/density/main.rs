//! What do thousands of functions cost a node that serves few of them at a time?
//!
//! Budgets, with 10,000 functions of 100 components: less than 600 MB resident when idle, less than 1.5 s from the
//! start of the process to the first answer, and less than 3 ms (p99) for the first request to a function whose
//! artefact is cached and not loaded. Deployments are timed at the beginning and at the end: they should not slow
//! down as functions become many.

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use sha2::{Digest as _, Sha256};
use wasm_fn_benches::{
    node::{Node, Options},
    times::{millis, now, quantile},
};

/// Resident memory of an idle node, bytes.
const RESIDENT_BYTES_MAX: u64 = 600_000_000;

/// From the start of the process to the first answer.
const RESTART_MAX: Duration = Duration::from_millis(1500);

/// First requests to functions that are not loaded, p99.
const FIRST_REQUEST_MAX: Duration = Duration::from_millis(3);

/// Deployments that are timed at each end.
const TIMED: usize = 200;

/// Measures density and start of a node.
#[derive(Debug, Parser)]
struct Args {
    /// Functions to deploy.
    #[arg(long, default_value_t = 10_000)]
    functions: usize,
    /// Different components among them.
    #[arg(long, default_value_t = 100)]
    components: usize,
    /// Restarts; each gives a sample of the start and one of every component's first request.
    #[arg(long, default_value_t = 5)]
    restarts: usize,
    /// The program.
    #[arg(long, default_value = "target/release/wasm-fn")]
    program: PathBuf,
    /// The component that all others are made of.
    #[arg(long, default_value = "guest-examples/prebuilt/hello-v1.wasm")]
    guest: PathBuf,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    ensure!(
        (1..=args.functions).contains(&args.components) && args.restarts > 0,
        "found {} components of {} functions and {} restarts, expected at least one of each",
        args.components,
        args.functions,
        args.restarts
    );
    let mut node = Node::start(Options { program: args.program.clone(), core: None, serve: Vec::new() })?;
    let mut held = true;

    deploy(&node, &args)?;
    say(&format!("resident after the deployments: {} MB", mb(node.memory().resident_bytes()?)));

    let (mut starts, mut firsts, mut resident) = (Vec::new(), Vec::new(), 0);
    for _ in 0..args.restarts {
        let began = node.restart()?;
        node.functions()?.get(&path(args.functions - 1))?.success()?;
        starts.push(began.elapsed());
        resident = resident.max(node.memory().resident_bytes()?);
        // The last function's component is loaded now.
        let mut functions = node.functions()?;
        let loaded = (args.functions - 1) % args.components;
        for at in (0..args.components).filter(|&at| at != loaded) {
            let path = path(at);
            let began = now();
            functions.get(&path)?.success()?;
            firsts.push(began.elapsed());
        }
    }
    held &= budget("resident when idle", mb(resident), mb(RESIDENT_BYTES_MAX), "MB");
    let start = quantile(&starts, 1000);
    held &= budget("process start to first answer, slowest", millis(start), millis(RESTART_MAX), "ms");
    if !firsts.is_empty() {
        say(&format!("first request, p50: {:.2} ms", millis(quantile(&firsts, 500))));
        let p99 = quantile(&firsts, 990);
        held &= budget("first request, p99", millis(p99), millis(FIRST_REQUEST_MAX), "ms");
    }
    say(&format!(
        "resident with {} components called: {} MB",
        args.components,
        mb(node.memory().resident_bytes()?)
    ));
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Deploys every function, and says what the first and the last deployments took.
fn deploy(node: &Node, args: &Args) -> Result<()> {
    let guest = fs::read(&args.guest).with_context(|| format!("{} cannot be read", args.guest.display()))?;
    let mut control = node.control()?;
    let mut digests = Vec::new();
    for at in 0..args.components {
        let component = marked(&guest, at);
        let digest = hex(&Sha256::digest(&component));
        let path = format!("/v1/components/{digest}");
        control.send("PUT", &path, "application/wasm", &component)?.success()?;
        digests.push(digest);
    }
    // The first deployment of each component compiles it.
    let mut times = Vec::new();
    for at in 0..args.functions {
        let began = now();
        let body = format!(r#"{{"component":"{}"}}"#, digests[at % digests.len()]);
        let path = format!("/v1/functions/f{at}/deployments");
        control.send("POST", &path, "application/json", body.as_bytes())?.success()?;
        times.push(began.elapsed());
    }
    let (compiled, cached) = times.split_at(args.components);
    say(&format!("deployment that compiles, p50: {:.1} ms", millis(quantile(compiled, 500))));
    if cached.len() >= 2 * TIMED {
        let first = millis(quantile(&cached[..TIMED], 500));
        let end = cached.len() - TIMED;
        let last = millis(quantile(&cached[end..], 500));
        say(&format!(
            "deployment of a known component, p50: {first:.1} ms at first, {last:.1} ms at the end"
        ));
    }
    Ok(())
}

/// Where function number `at` is.
fn path(at: usize) -> String {
    format!("/f{at}/")
}

/// `guest` with a custom section that nobody reads (WebAssembly component binary format: id 0, size, name).
fn marked(guest: &[u8], mark: usize) -> Vec<u8> {
    let mark = u32::try_from(mark).unwrap_or(u32::MAX).to_le_bytes();
    [guest, &[0, 6, 1, b'm'], &mark].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mb(bytes: u64) -> f64 {
    (bytes as f64 / 1e5).round() / 10.0
}

/// Says whether a figure is within its budget.
fn budget(what: &str, found: f64, most: f64, unit: &str) -> bool {
    let held = found < most;
    let word = if held { "held" } else { "exceeded" };
    say(&format!("{what}: {found:.2} {unit}, budget {most} {unit}: {word}"));
    held
}

#[expect(clippy::print_stdout, reason = "a bench says what it found")]
fn say(text: &str) {
    println!("{text}");
}
