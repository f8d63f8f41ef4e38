//! The node that is measured, in a directory of its own, ended when it is dropped.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::{Connection, now};

/// How often a node that starts is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// When a node counts as not starting.
const START_MAX: Duration = Duration::from_secs(60);

/// A node that can be started again with what it kept.
pub(crate) struct Node {
    program: PathBuf,
    listen: SocketAddr,
    admin: SocketAddr,
    dir: TempDir,
    child: Option<Child>,
}

impl Node {
    /// A node that is not started yet.
    pub(crate) fn new(program: PathBuf) -> Result<Self> {
        let dir = tempfile::tempdir().context("a temporary directory cannot be made")?;
        // Both are free at the same time, and nobody else takes ports at random here.
        let (listen, admin) =
            (TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
        Ok(Self { program, listen: listen.local_addr()?, admin: admin.local_addr()?, dir, child: None })
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn start(&mut self) -> Result<()> {
        let log = File::create(self.dir.path().join("node.log"))?;
        let child = Command::new(&self.program)
            .args(["serve", "--listen", &self.listen.to_string(), "--admin", &self.admin.to_string()])
            .args(["--log", "warn", "--data-dir"])
            .arg(self.dir.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("the program cannot be started")?;
        let child = self.child.insert(child);
        let began = now();
        // It listens before it answers.
        let ready = |admin| Connection::open(admin, String::new()).and_then(|mut admin| admin.get("/readyz"));
        while ready(self.admin).is_err() {
            if let Some(status) = child.try_wait()? {
                let log = fs::read_to_string(self.dir.path().join("node.log"))?;
                bail!("the node ended with {status}: {log}");
            }
            if began.elapsed() > START_MAX {
                bail!("the node is not ready after {START_MAX:?}");
            }
            thread::sleep(ASK_EVERY);
        }
        Ok(())
    }

    /// Kills it: what it committed is on disk.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// A connection to its admin API.
    pub(crate) fn admin(&self) -> Result<Connection> {
        let token = fs::read_to_string(self.dir.path().join("data/token"))?;
        Connection::open(self.admin, token.trim().to_owned())
    }

    /// A connection to its functions.
    pub(crate) fn functions(&self) -> Result<Connection> {
        Connection::open(self.listen, "none".to_owned())
    }

    /// Where function number `at` is.
    pub(crate) fn function(&self, at: usize) -> String {
        format!("/f{at}/")
    }

    /// Its resident memory.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let id = self.child.as_ref().context("the node does not run")?.id();
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("there is no VmRSS")?;
        Ok(kib.trim().parse::<u64>()? * 1024)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // What could be said of it was said by whoever failed before.
        let _ended = self.stop();
    }
}
