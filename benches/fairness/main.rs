//! How long does hello take beside eight requests that compute without end?
//!
//! Budget: a p99 under 20 ms on two cores, and no request lost.
//!
//! One `wasm-fn` on all cores, eight clients whose requests never end, and one that asks for hello at a fixed
//! rate over one connection. A latency counts from the moment at which its request was due, so that a slow
//! answer is charged for those that it holds up (an open loop). The client shares the cores with the node: what
//! it waits for a core is in the figures.
//!
//! ```text
//! cargo build --release
//! cargo run --release -p wasm-fn-benches --bin fairness
//! ```

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use tempfile::TempDir;

/// What hello's p99 beside the loops may be.
const BUDGET: Duration = Duration::from_millis(20);

/// How long a node may take to be ready, an answer to come, and the loops to begin.
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

/// A running node, in a directory of its own, ended when it is dropped.
struct Node {
    child: Child,
    dir: TempDir,
    program: PathBuf,
    listen: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Node {
    fn drop(&mut self) {
        // Either fails only when the process is gone already.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
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
    let program = program.canonicalize().with_context(|| {
        format!("`{}` cannot be found; build it with `cargo build --release`", program.display())
    })?;
    let node = Node::start(&program)?;
    let guests = root.join("guest-examples/prebuilt");
    node.deploy("hello", &guests.join("hello-v1.wasm"), "")?;
    // One place for each loop, so that a full function says that all of them run.
    let places = format!("timeout = \"1h\"\nconcurrency = {}\nqueue = 0\n", args.loops);
    node.deploy("spin", &guests.join("spin.wasm"), &places)?;

    let cores = thread::available_parallelism().map_or(0, usize::from);
    println!("hello at {} requests a second for {} s, {cores} cores", args.rate, args.seconds);
    print("alone", &node.latencies(args)?);
    let loops: Vec<_> = (0..args.loops).map(|_| node.send("/spin/loop")).collect::<Result<_>>()?;
    node.until_full()?;
    let beside = node.latencies(args)?;
    print(&format!("beside {} endless loops", args.loops), &beside);
    for one in &loops {
        one.set_nonblocking(true)?;
        if !matches!(one.peek(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock) {
            bail!("a loop has ended, expected all of them to run throughout");
        }
    }
    Ok(quantile(&beside, 990) < BUDGET)
}

impl Node {
    fn start(program: &Path) -> Result<Self> {
        let dir = tempfile::tempdir().context("a temporary directory cannot be made")?;
        let [listen, admin] = free_addresses()?;
        let log = File::create(dir.path().join("node.log"))?;
        let child = Command::new(program)
            .args(["serve", "--listen", &listen.to_string(), "--admin", &admin.to_string()])
            .current_dir(dir.path())
            .env_clear()
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("`{}` cannot be started", program.display()))?;
        let mut node = Self { child, dir, program: program.to_owned(), listen, admin };
        let begun = now();
        while !get(admin, "/readyz").is_ok_and(|status| status == 200) {
            if let Some(status) = node.child.try_wait()? {
                bail!("the node ended with {status}");
            }
            if begun.elapsed() > PATIENCE {
                bail!("the node was not ready after {PATIENCE:?}");
            }
            thread::sleep(POLL_EVERY);
        }
        Ok(node)
    }

    fn deploy(&self, function: &str, guest: &Path, config: &str) -> Result<()> {
        let file = self.dir.path().join("wasm-fn.toml");
        std::fs::write(file, format!("[function.{function}]\n{config}"))?;
        let done = Command::new(&self.program)
            .arg("deploy")
            .arg(guest)
            .args(["-f", function, "--watch-for", "0s"])
            .current_dir(self.dir.path())
            .env_clear()
            .env("WASM_FN_SERVER", format!("http://{}", self.admin))
            .output()?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            bail!("deploying `{function}` ended with {}: {}", done.status, said.trim());
        }
        let status = get(self.listen, &format!("/{function}"))?;
        if status != 200 {
            bail!("`{function}` answered {status}, expected 200");
        }
        Ok(())
    }

    /// Sends a request and leaves the answer to the caller.
    fn send(&self, path: &str) -> Result<TcpStream> {
        send(self.listen, path)
    }

    /// Waits until every loop has a place.
    fn until_full(&self) -> Result<()> {
        let begun = now();
        while get(self.listen, "/spin")? != 503 {
            if begun.elapsed() > PATIENCE {
                bail!("not all loops were at work after {PATIENCE:?}");
            }
            thread::sleep(POLL_EVERY);
        }
        Ok(())
    }

    /// How long hello took after it was due, from the shortest to the longest.
    fn latencies(&self, args: &Args) -> Result<Vec<Duration>> {
        let mut stream = self.send("/hello")?;
        let mut answers = BufReader::new(stream.try_clone()?);
        read_answer(&mut answers)?;
        let begun = now();
        let mut latencies = Vec::new();
        for request in 0..args.rate * args.seconds {
            let due = begun + Duration::from_secs(1) * request / args.rate;
            thread::sleep(due.saturating_duration_since(now()));
            write!(stream, "GET /hello HTTP/1.1\r\nhost: {}\r\n\r\n", self.listen)?;
            let status = read_answer(&mut answers).context("a request for hello was lost")?;
            if status != 200 {
                bail!("hello answered {status}, expected 200");
            }
            latencies.push(now().saturating_duration_since(due));
        }
        latencies.sort_unstable();
        Ok(latencies)
    }
}

fn send(address: SocketAddr, path: &str) -> Result<TcpStream> {
    let mut stream =
        TcpStream::connect(address).with_context(|| format!("{address} cannot be connected to"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n")?;
    Ok(stream)
}

/// The status of the answer to one request.
fn get(address: SocketAddr, path: &str) -> Result<u16> {
    read_answer(&mut BufReader::new(send(address, path)?))
}

/// Reads one answer, which has a length, to its end; gives its status.
fn read_answer(answers: &mut BufReader<TcpStream>) -> Result<u16> {
    let (mut status, mut length) = (None, None);
    loop {
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok(),
            None => status = line.split(' ').nth(1).and_then(|status| status.parse().ok()),
            Some(_) => {}
        }
    }
    let status = status.context("the answer has no status")?;
    let mut body = vec![0; length.context("the answer has no length")?];
    answers.read_exact(&mut body)?;
    Ok(status)
}

/// Two loopback addresses that nobody listened on a moment ago.
fn free_addresses() -> Result<[SocketAddr; 2]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free loopback port");
    let listeners = [bind()?, bind()?];
    Ok([listeners[0].local_addr()?, listeners[1].local_addr()?])
}

/// The latency that this share of the requests did not exceed.
fn quantile(latencies: &[Duration], permille: usize) -> Duration {
    latencies[(latencies.len() - 1) * permille / 1000]
}

fn print(name: &str, latencies: &[Duration]) {
    let [p50, p99, p999] = [500, 990, 999].map(|permille| quantile(latencies, permille));
    println!("{name}: p50 {p50:?}, p99 {p99:?}, p99.9 {p999:?}, {} answered, none lost", latencies.len());
}

#[expect(clippy::disallowed_methods, reason = "a bench is an edge: elapsed time is what it measures")]
fn now() -> Instant {
    Instant::now()
}
