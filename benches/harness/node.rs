//! A node to measure: a process of its own, in a directory of its own, ended when it is dropped.

use std::{
    ffi::OsStr,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::{http::Connection, memory::Memory, times::now};

/// How often a node that starts is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// When a node counts as not starting.
const START_MAX: Duration = Duration::from_secs(60);

/// How long a deployment may take: large components are compiled for a minute.
const DEPLOY_MAX: Duration = Duration::from_secs(600);

/// Where a node keeps everything, below its directory.
const DATA: &str = "data";

/// What it has logged, below its directory.
const LOG: &str = "node.log";

/// How a node is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `wasm-fn` to run.
    pub program: PathBuf,
    /// The core that it stays on; any when `None`. Needs `taskset`.
    pub core: Option<usize>,
    /// Further arguments of `serve`.
    pub serve: Vec<String>,
}

/// A running node. Of the environment it has `PATH` and what its allocator reads.
#[derive(Debug)]
pub struct Node {
    options: Options,
    dir: TempDir,
    listen: SocketAddr,
    admin: SocketAddr,
    // `taskset` becomes the node by `exec`, so this is the node itself and no parent of it.
    child: Child,
}

impl Node {
    /// Starts a node without functions, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// The program is not there, or ended, with what it logged; or it was not ready after a minute.
    pub fn start(options: Options) -> Result<Self> {
        let program = fs::canonicalize(&options.program).with_context(|| {
            format!("`{}` cannot be found; build it with `cargo build --release`", options.program.display())
        })?;
        let options = Options { program, ..options };
        let dir = tempfile::tempdir().context("a temporary directory cannot be made")?;
        let [listen, admin] = free_addresses()?;
        let child = spawn(&options, dir.path(), listen, admin)?;
        let mut node = Self { options, dir, listen, admin, child };
        node.until_ready()?;
        Ok(node)
    }

    /// Kills it and starts another with the same data at the same addresses, and waits until that is ready.
    /// Returns the time at which the other was started.
    ///
    /// # Errors
    ///
    /// As those of [`start`](Self::start).
    pub fn restart(&mut self) -> Result<Instant> {
        // What it committed is on disk.
        self.child.kill()?;
        self.child.wait()?;
        let began = now();
        self.child = spawn(&self.options, self.dir.path(), self.listen, self.admin)?;
        self.until_ready()?;
        Ok(began)
    }

    /// Gives all traffic of `function` to the component in the file `guest`, by the command line. `config`
    /// are the lines of the function's table in wasm-fn.toml.
    ///
    /// # Errors
    ///
    /// The command failed; says what it said.
    pub fn deploy(&self, function: &str, guest: &Path, config: &str) -> Result<()> {
        let guest =
            fs::canonicalize(guest).with_context(|| format!("`{}` cannot be found", guest.display()))?;
        let dir = self.dir.path();
        fs::write(dir.join("wasm-fn.toml"), format!("[function.{function}]\n{config}"))?;
        let done = clean(Command::new(&self.options.program).arg("deploy").arg(guest))
            .args(["-f", function, "--watch-for", "0s", "--allow-new", "--data-dir", DATA])
            .args(["--server", &format!("http://{}", self.admin)])
            .current_dir(dir)
            .output()
            .context("the program cannot be started")?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "deploying `{function}` ended with {}: {}", done.status, said.trim());
        Ok(())
    }

    /// Where its functions are called.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where its admin API is.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// A connection to its functions.
    ///
    /// # Errors
    ///
    /// As those of [`Connection::open`].
    pub fn functions(&self) -> Result<Connection> {
        Connection::open(self.listen)
    }

    /// A connection to its admin API, with the token, that waits for deployments.
    ///
    /// # Errors
    ///
    /// As those of [`Connection::open`].
    pub fn control(&self) -> Result<Connection> {
        let token = fs::read_to_string(self.dir.path().join(DATA).join("token"))
            .context("the node's token cannot be read")?;
        Ok(Connection::open(self.admin)?.patient(DEPLOY_MAX)?.bearing(token.trim().to_owned()))
    }

    /// Its memory; another's after a restart.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory::of(self.child.id())
    }

    fn until_ready(&mut self) -> Result<()> {
        let began = now();
        // It listens before it answers, and answers before it is ready.
        let ready = |admin| Connection::open(admin).and_then(|mut admin| admin.get("/readyz")?.success());
        while let Err(error) = ready(self.admin) {
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(self.dir.path().join(LOG))?;
                bail!("the node ended with {status}: {}", log.trim());
            }
            if began.elapsed() > START_MAX {
                return Err(error.context(format!("the node is not ready after {START_MAX:?}")));
            }
            thread::sleep(ASK_EVERY);
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Either fails only when the process is gone already.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn spawn(options: &Options, dir: &Path, listen: SocketAddr, admin: SocketAddr) -> Result<Child> {
    let (named, mut command) = match options.core {
        None => ("the program", Command::new(&options.program)),
        Some(core) => {
            let mut pinned = Command::new("taskset");
            pinned.args(["-c", &core.to_string()]).arg(&options.program);
            ("`taskset`", pinned)
        }
    };
    clean(&mut command)
        .args(["serve", "--listen", &listen.to_string(), "--admin", &admin.to_string()])
        .args(["--log", "warn", "--data-dir", DATA])
        // Its mappings are read while it runs.
        .arg("--allow-core-dumps")
        .args(&options.serve)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(dir.join(LOG)).context("the node's log cannot be made")?)
        .spawn()
        .with_context(|| format!("{named} cannot be started"))
}

/// Takes from the environment what is not meant for the node: a variable that somebody has set for another
/// purpose may cost time at every request. What the allocator is told stays, as memory is among what is
/// measured.
fn clean(command: &mut Command) -> &mut Command {
    let kept = |name: &OsStr| name == "PATH" || name == "_RJEM_MALLOC_CONF";
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| kept(name)))
}

/// Two loopback addresses that nobody listened on a moment ago.
fn free_addresses() -> Result<[SocketAddr; 2]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("there is no free loopback port");
    // Both are bound before either is closed: the second could be the first otherwise.
    let listeners = [bind()?, bind()?];
    Ok([listeners[0].local_addr()?, listeners[1].local_addr()?])
}
