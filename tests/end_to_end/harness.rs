//! A node to test: the binary started as users start it, its log read, and killed at the end.

pub(crate) mod admin;
#[expect(dead_code, reason = "the tests of two crates use all of it")]
#[path = "../nats_server.rs"]
pub(crate) mod broker;
pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod command;
pub(crate) mod connection;
pub(crate) mod guests;
#[expect(dead_code, reason = "the tests of the crate use all of it")]
#[path = "../../crates/wasm-fn-oidc/src/tests/issuer.rs"]
pub(crate) mod issuer;
pub(crate) mod network;
#[path = "../../crates/wasm-fn-queue/src/tests/orders.rs"]
pub(crate) mod orders;
pub(crate) mod programs;
pub(crate) mod registry;
pub(crate) mod tls;

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;

use client::Client;

/// Longer than anything a test waits for, also on a machine that is busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A process that does not outlive its test.
pub(crate) struct Process {
    child: Child,
    /// Every line that it wrote to stderr. The sender is gone when stderr is closed.
    log: watch::Receiver<Vec<String>>,
}

/// A running node.
pub(crate) struct Node {
    process: Process,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) token: String,
    /// A client of the data plane over HTTP/1.1.
    pub(crate) http: Client,
    folder: Folder,
}

/// A temporary directory with a node's data in it, and room for the files of a test.
#[derive(Clone)]
pub(crate) struct Folder(Arc<TempDir>);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(Arc::new(tempfile::tempdir().expect("the system has a temporary directory")))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Writes a file beside the data; a later one of the same name replaces it.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, contents).expect("the temporary directory is writable");
        path
    }
}

/// `future`, which is expected to end in time.
pub(crate) async fn patiently<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} took longer than {PATIENCE:?}"),
    }
}

/// The binary under test, without any setting of the surroundings.
pub(crate) fn wasm_fn() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasm-fn"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WASM_FN_") {
            command.env_remove(name);
        }
    }
    // Nobody is logged in.
    command.env("XDG_CONFIG_HOME", "/nonexistent");
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

impl Process {
    /// Starts `command` and reads its stderr.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary under test starts");
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let (sender, log) = watch::channel(Vec::new());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                sender.send_modify(|lines| lines.push(String::from_utf8_lossy(&line).into_owned()));
            }
        });
        Self { child, log }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything on stderr so far.
    pub(crate) fn log(&self) -> String {
        self.log.borrow().join("\n")
    }

    /// The first line, of all that were and will be written, that `wanted` makes something of.
    pub(crate) async fn line<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        self.line_within(what, PATIENCE, wanted).await
    }

    /// The same for a line that may take longer than others.
    pub(crate) async fn line_within<T>(
        &self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&str) -> Option<T>,
    ) -> T {
        let mut log = self.log.clone();
        let find = |lines: &Vec<String>| lines.iter().find_map(|line| wanted(line));
        let found = tokio::time::timeout(patience, log.wait_for(|lines| find(lines).is_some())).await;
        let found = found.unwrap_or_else(|_| panic!("{what} took longer than {patience:?}:\n{}", self.log()));
        let found = found.ok().and_then(|lines| find(&lines));
        found.unwrap_or_else(|| panic!("{what}: stderr ended without it:\n{}", self.log()))
    }

    /// Waits until at least `count` lines contain `text`.
    pub(crate) async fn lines(&self, text: &str, count: usize) {
        let mut log = self.log.clone();
        let enough = |lines: &Vec<String>| lines.iter().filter(|line| line.contains(text)).count() >= count;
        let waited = patiently(text, log.wait_for(enough)).await.is_ok();
        assert!(waited, "{text} was not said {count} times:\n{}", self.log());
    }

    /// Its stdout, which is a pipe that nobody has taken.
    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("stdout is a pipe")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process has an id");
        kill_process(id, signal).expect("the process has not been waited for");
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut log = self.log.clone();
        // Its end closes stderr, after which waiting for it does not block for long.
        let closed = patiently("the end of the process", log.wait_for(|_| false)).await;
        assert!(closed.is_err(), "nothing but its end ends this wait");
        self.child.wait().expect("it is our child")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails when it has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("stderr of process {}:\n{}", self.child.id(), self.log());
        }
    }
}

/// `wasm-fn serve` on ports that are free, with `args` behind.
pub(crate) fn serve(folder: &Folder, args: &[&str]) -> Command {
    serve_at(["127.0.0.1:0"; 2], folder, args)
}

/// `wasm-fn serve` that listens at the first of two addresses, and has its admin API at the second.
pub(crate) fn serve_at([listen, admin]: [&str; 2], folder: &Folder, args: &[&str]) -> Command {
    let mut command = wasm_fn();
    command.arg("serve").args(["--listen", listen, "--admin", admin, "--log-format", "json"]);
    command.arg("--data-dir").arg(folder.data()).args(args).current_dir(folder.path());
    command.stdout(Stdio::null());
    command
}

impl Node {
    /// A node with nothing on it.
    pub(crate) async fn start() -> Self {
        Self::start_on(Folder::new(), &[]).await
    }

    /// A node that is told `args` beside its addresses.
    pub(crate) async fn start_with(args: &[&str]) -> Self {
        Self::start_on(Folder::new(), args).await
    }

    /// A node on what `folder` holds.
    pub(crate) async fn start_on(folder: Folder, args: &[&str]) -> Self {
        Self::start_as(&mut serve(&folder, args), folder).await
    }

    /// A node on what `folder` holds, started by `command`.
    pub(crate) async fn start_as(command: &mut Command, folder: Folder) -> Self {
        let process = Process::spawn(command);
        let (listen, admin) = process.line("the node's readiness", ready).await;
        let token = std::fs::read_to_string(folder.data().join("token")).expect("a node has a token");
        Self { process, listen, admin, token: token.trim().to_owned(), http: Client::http1(listen), folder }
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Asks it to end, as a service manager does.
    pub(crate) fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        self.process.ended().await
    }

    /// Kills it without a warning; what it has stored is left.
    pub(crate) async fn kill(mut self) -> Folder {
        self.process.signal(Signal::KILL);
        self.process.ended().await;
        self.folder.clone()
    }

    /// Bytes of memory that it occupies (`VmRSS` of proc_pid_status(5), in KiB there).
    pub(crate) fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).expect("the process is alive");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix(" kB"));
        let kib: u64 = resident.and_then(|kib| kib.trim().parse().ok()).expect("a process has memory");
        kib << 10
    }
}

/// The addresses in the log line that says that a node is listening.
fn ready(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields").unwrap_or(&line);
    let address = |name: &str| fields.get(name)?.as_str()?.parse().ok();
    (fields.get("message")?.as_str()? == "node is listening").then_some(())?;
    Some((address("listen")?, address("admin")?))
}
