//! What is left of a node's capacity when clients ask for five times of it?
//!
//! Measures capacity with as many clients as the node serves at once, then sends at a fixed rate, whatever
//! comes back: `--factor` times the capacity for `--seconds`, then half of it, to see the recovery. Budget:
//! goodput 90 % of capacity; the 99th percentile of what is accepted within the longest wait in the queue and
//! three times the service time; every refusal a 503 with `retry-after` within 5 ms; recovery within 2 s.
//!
//! Needs Linux, two cores that nobody else uses, and `taskset`. Exit code 1 when the budget is not met, or
//! when the client was the bottleneck, so that nothing of it can be believed.

mod node;
mod traffic;

use std::{
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;

use node::Node;
use traffic::{Sent, Traffic};

const SERVER_CORE: &str = "0";
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
    let node = Node::start(args)?;
    let address: SocketAddr = node.listen();
    let traffic = Traffic::new(address, format!("/overload{}", args.path), args.connections);
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
    let service = full.answered_within(0.5);
    let rss_before = node.resident_mib()?;
    println!("capacity   {capacity:.0} requests/s, service {:.1} ms, {rss_before} MiB", ms(service));

    let over = traffic.open(capacity * args.factor, Duration::from_secs(args.seconds)).await?;
    let rss_over = node.resident_peak_mib()?;
    let after = traffic.open(capacity / 2.0, Duration::from_secs(5)).await?;

    let goodput = over.answered_rate() / capacity;
    let accepted = over.answered_within(0.99);
    let refused = over.refused_within(0.99);
    let accepted_max = Duration::from_millis(args.queue_wait_ms.into()) + service * 3;
    println!("offered    {:.0} requests/s for {} s", over.offered_rate(), args.seconds);
    println!(
        "goodput    {:.1} % of capacity; p50 {:.1} ms, p99 {:.1} ms",
        goodput * 100.0,
        ms(over.answered_within(0.5)),
        ms(accepted)
    );
    println!(
        "refused    {:.0} requests/s; p50 {:.2} ms, p99 {:.2} ms; {} without retry-after",
        over.refused_rate(),
        ms(over.refused_within(0.5)),
        ms(refused),
        over.odd
    );
    println!("broken     {} failed, {} never sent: every connection was busy", over.broken, over.unsent);
    if let Some(reason) = &over.broken_by {
        println!("           the first: {reason}");
    }
    println!("memory     at most {rss_over} MiB");
    println!("recovery   after {} ms", after.recovered_after().as_millis());
    let late = over.late_within(0.99);
    println!("client     p99 {:.2} ms late", ms(late));
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

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The time below which the share `share` of `times` is; zero of none. Sorts.
fn within(times: &[Duration], share: f64) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index below the length"
    )]
    let index = (times.len() as f64 * share) as usize;
    times.get(index.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

impl Sent {
    fn answered_within(&self, share: f64) -> Duration {
        within(&self.answered, share)
    }

    fn refused_within(&self, share: f64) -> Duration {
        within(&self.refused, share)
    }

    fn late_within(&self, share: f64) -> Duration {
        within(&self.late, share)
    }
}
