//! Does a node give back the memory that a burst took?
//!
//! Warms a function with 200 requests, sends 1,000 slow ones at once over connections of their own, closes
//! these, and watches the node's resident memory. Budget: 30 s after the last answer it is within 15 % of
//! what it was before.
//!
//! Needs Linux. Exit code 1 when the budget is not met.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, ensure};
use clap::Parser;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use wasm_fn_benches::{
    node::{Node, Options},
    times::now,
};

/// Requests before the burst, a few at a time.
const WARM_UP: usize = 200;

/// How many of them at a time.
const WARM_UP_CLIENTS: usize = 8;

/// How long memory may take to be given back.
const SETTLE: Duration = Duration::from_secs(30);

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often it is told after the burst.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Parser)]
struct Args {
    /// The program
    #[arg(long, default_value = "target/release/wasm-fn")]
    program: PathBuf,
    /// The component
    #[arg(long, default_value = "guest-examples/prebuilt/slow.wasm")]
    guest: PathBuf,
    /// Path of the slow requests below the function's, with its query
    #[arg(long, default_value = "?ms=3000")]
    path: String,
    /// Slow requests at once
    #[arg(long, default_value_t = 1000)]
    burst: usize,
    /// Most that memory may have grown 30 s after, percent
    #[arg(long, default_value_t = 15.0)]
    growth_max: f64,
    /// Most instances of the node
    #[arg(long, default_value_t = 1600)]
    instances_max: u32,
    /// Prints what the memory is made of before, and 30 s after
    #[arg(long)]
    mappings: bool,
    /// More arguments of `serve`
    #[arg(last = true)]
    serve: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(&args))
}

#[expect(clippy::print_stdout, reason = "the figures are the output")]
async fn measure(args: &Args) -> Result<ExitCode> {
    let node = start(args)?;
    let address = node.listen();
    for _ in 0..WARM_UP / WARM_UP_CLIENTS {
        at_once(address, "/burst?ms=1", WARM_UP_CLIENTS).await?;
    }
    // The budget speaks of a node at rest.
    tokio::time::sleep(TELL_EVERY).await;
    let before = resident_mib(&node)?;
    println!("before     {before:.1} MiB");
    if args.mappings {
        println!("{}", node.memory().mappings()?);
    }

    let path = format!("/burst{}", args.path);
    let burst = at_once(address, &path, args.burst);
    let mut burst = std::pin::pin!(burst);
    let mut peak = before;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            sent = &mut burst => {
                sent?;
                break;
            }
            _ = looks.tick() => peak = resident_mib(&node)?.max(peak),
        }
    }
    println!("peak       {peak:.1} MiB with {} requests at once", args.burst);

    let ended = now();
    let mut telling = tokio::time::interval(TELL_EVERY);
    let after = loop {
        telling.tick().await;
        let (elapsed, after) = (ended.elapsed(), resident_mib(&node)?);
        println!("after {:>2} s {after:.1} MiB", elapsed.as_secs());
        if elapsed >= SETTLE {
            break after;
        }
    };
    if args.mappings {
        println!("{}", node.memory().mappings()?);
    }
    let growth = (after / before - 1.0) * 100.0;
    let met = growth <= args.growth_max;
    println!("growth     {growth:.1} %, at most {:.0} %", args.growth_max);
    println!("{}", if met { "met" } else { "NOT MET" });
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A node with the function that is asked. It is another process than the one that compiled it.
fn start(args: &Args) -> Result<Node> {
    let most = ["--instances-max".to_owned(), args.instances_max.to_string()];
    let serve = most.into_iter().chain(args.serve.iter().cloned()).collect();
    let mut node = Node::start(Options { program: args.program.clone(), core: None, serve })?;
    let config =
        format!("concurrency = {0}\nqueue = {0}\nqueue_wait = \"30s\"\ntimeout = \"60s\"\n", args.burst);
    node.deploy("burst", &args.guest, &config)?;
    node.restart()?;
    Ok(node)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2⁵³")]
fn resident_mib(node: &Node) -> Result<f64> {
    Ok(node.memory().resident_bytes()? as f64 / f64::from(1 << 20))
}

/// Sends so many requests at once, each over a connection of its own, which is closed after its answer.
async fn at_once(address: SocketAddr, path: &str, count: usize) -> Result<()> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let mut asked = JoinSet::new();
    for _ in 0..count {
        let request = request.clone();
        asked.spawn(async move { tokio::time::timeout(ANSWER_MAX, ask(address, &request)).await? });
    }
    while let Some(answered) = asked.join_next().await {
        answered??;
    }
    Ok(())
}

/// One request that must be answered well.
async fn ask(address: SocketAddr, request: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let status = answer.split(|&byte| byte == b'\r').next().unwrap_or_default();
    ensure!(status == b"HTTP/1.1 200 OK", "answered {:?}", String::from_utf8_lossy(status));
    Ok(())
}
