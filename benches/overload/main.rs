//! What is left of a node's capacity when clients ask for five times of it?
//!
//! Measures capacity with as many clients as the node serves at once, then sends at a fixed rate, whatever
//! comes back: `--factor` times the capacity for `--seconds`, then half of it, to see the recovery. Budget:
//! goodput 90 % of capacity; the 99th percentile of what is accepted within the longest wait in the queue and
//! three times the service time; every refusal a 503 with `retry-after` within 5 ms; recovery within 2 s.
//!
//! Needs Linux, two cores that nobody else uses, and `taskset`. Exit code 1 when the budget is not met, or
//! when the client was the bottleneck, so that nothing of it can be believed.

mod traffic;

use std::{
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use wasm_fn_benches::{
    node::{Node, Options},
    times::{millis, quantile},
};

use traffic::{Sent, Traffic};

const SERVER_CORE: usize = 0;
const CLIENT_CORE: &str = "1";

/// Longest time that what was due may wait in the client at the 99th percentile.
const CLIENT_LATE_MAX: Duration = Duration::from_millis(5);

/// Longest time for a refusal at the 99th percentile.
const REFUSAL_MAX: Duration = Duration::from_millis(5);

/// Longest time to the recovery.
const RECOVERY_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, Parser)]
struct Args {
    /// The program
    #[arg(long, default_value = "target/release/wasm-fn")]
    program: PathBuf,
    /// The component
    #[arg(long, default_value = "guest-examples/prebuilt/slow.wasm")]
    guest: PathBuf,
    /// Path below the function's, with its query
    #[arg(long, default_value = "?ms=10")]
    path: String,
    /// Requests of the function that run at once; those beyond wait or are refused
    #[arg(long, default_value_t = 32)]
    concurrency: u32,
    /// Requests that wait for one of them to end
    #[arg(long, default_value_t = 64)]
    queue: u32,
    /// Longest wait, milliseconds
    #[arg(long, default_value_t = 1000)]
    queue_wait_ms: u32,
    /// Requests sent, in capacities
    #[arg(long, default_value_t = 5.0)]
    factor: f64,
    /// How long the overload lasts
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How long capacity is measured
    #[arg(long, default_value_t = 5)]
    capacity_seconds: u64,
    /// Most connections
    #[arg(long, default_value_t = 500)]
    connections: usize,
    /// More arguments of `serve`
    #[arg(last = true)]
    serve: Vec<String>,
    /// This process is on its core already
    #[arg(long, hide = true)]
    pinned: bool,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if !args.pinned {
        let own = std::env::current_exe()?;
        let words: Vec<_> = std::env::args_os().skip(1).collect();
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", CLIENT_CORE]).arg(own).arg("--pinned").args(words);
        return Err(pinned.exec()).context("`taskset` cannot be started");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, measure(&args))
}

#[expect(clippy::print_stdout, reason = "the figures are the output")]
async fn measure(args: &Args) -> Result<ExitCode> {
    let serve = args.serve.clone();
    let node = Node::start(Options { program: args.program.clone(), core: Some(SERVER_CORE), serve })?;
    let config = format!(
        "concurrency = {}\nqueue = {}\nqueue_wait = \"{}ms\"\n",
        args.concurrency, args.queue, args.queue_wait_ms
    );
    node.deploy("overload", &args.guest, &config)?;
    let traffic = Traffic::new(node.listen(), format!("/overload{}", args.path), args.connections);
    let whole = Duration::from_secs(args.capacity_seconds);

    traffic.connect().await?;
    // As many clients as run at once keep the node busy and wait for nothing else.
    let clients = usize::try_from(args.concurrency)?.min(args.connections);
    traffic.closed(clients, whole / 2).await?;
    let full = traffic.closed(clients, whole).await?;
    let capacity = full.answered_rate();
    // A few are, when the machine does something else for a second.
    ensure!(full.refused.len() * 100 < full.answered.len(), "{} clients were refused", full.refused.len());
    ensure!(capacity > 0.0, "nothing was answered");
    let service = full.answered_within(500);
    let rss_before = node.memory().resident_bytes()? >> 20;
    println!("capacity   {capacity:.0} requests/s, service {:.1} ms, {rss_before} MiB", millis(service));

    let over = traffic.open(capacity * args.factor, Duration::from_secs(args.seconds)).await?;
    let rss_over = node.memory().peak_bytes()? >> 20;
    let after = traffic.open(capacity / 2.0, Duration::from_secs(5)).await?;

    let goodput = over.answered_rate() / capacity;
    let accepted = over.answered_within(990);
    let refused = over.refused_within(990);
    let accepted_max = Duration::from_millis(args.queue_wait_ms.into()) + service * 3;
    println!("offered    {:.0} requests/s for {} s", over.offered_rate(), args.seconds);
    println!(
        "goodput    {:.1} % of capacity; p50 {:.1} ms, p99 {:.1} ms",
        goodput * 100.0,
        millis(over.answered_within(500)),
        millis(accepted)
    );
    println!(
        "refused    {:.0} requests/s; p50 {:.2} ms, p99 {:.2} ms; {} without retry-after",
        over.refused_rate(),
        millis(over.refused_within(500)),
        millis(refused),
        over.odd
    );
    println!("broken     {} failed, {} never sent: every connection was busy", over.broken, over.unsent);
    if let Some(reason) = &over.broken_by {
        println!("           the first: {reason}");
    }
    println!("memory     at most {rss_over} MiB");
    println!("recovery   after {} ms", after.recovered_after().as_millis());
    let late = over.late_within(990);
    println!("client     p99 {:.2} ms late", millis(late));
    if late > CLIENT_LATE_MAX || over.unsent * 100 > over.due {
        bail!("the client was the bottleneck: nothing above can be believed");
    }

    let checks = [
        ("goodput is 90 % of capacity", goodput >= 0.9),
        ("accepted requests are answered in time", accepted <= accepted_max),
        ("refusals take 5 ms at most", refused <= REFUSAL_MAX),
        ("every refusal is a 503 with retry-after", over.odd == 0 && over.broken == 0),
        ("recovery takes 2 s at most", after.recovered_after() <= RECOVERY_MAX),
    ];
    for (what, met) in checks {
        println!("{}  {what}", if met { "met      " } else { "NOT MET  " });
    }
    let all = checks.iter().all(|&(_, met)| met);
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Sent {
    fn answered_within(&self, permille: usize) -> Duration {
        quantile(&self.answered, permille)
    }

    fn refused_within(&self, permille: usize) -> Duration {
        quantile(&self.refused, permille)
    }

    fn late_within(&self, permille: usize) -> Duration {
        quantile(&self.late, permille)
    }
}
