//! A node on a core of its own, with the function that is overloaded.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::{Args, SERVER_CORE};

/// A running node; ended when it is dropped.
pub(crate) struct Node {
    child: Child,
    listen: SocketAddr,
    dir: TempDir,
}

impl Node {
    /// Starts `args.program` and deploys `args.guest`.
    pub(crate) fn start(args: &Args) -> Result<Self> {
        let program = fs::canonicalize(&args.program).context("the program is not there: build it")?;
        let dir = tempfile::tempdir()?;
        let [listen, admin] = free_ports()?;
        let child = Command::new("taskset")
            .args(["-c", SERVER_CORE])
            .arg(&program)
            .args(["serve", "--log", "warn", "--listen", &listen.to_string(), "--admin", &admin.to_string()])
            .args(["--data-dir", "data"])
            .args(&args.serve)
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(File::create(dir.path().join("log"))?)
            .spawn()
            .context("`taskset` cannot be started")?;
        let mut node = Self { child, listen, dir };
        node.deploy(&program, admin, args)?;
        Ok(node)
    }

    fn deploy(&mut self, program: &Path, admin: SocketAddr, args: &Args) -> Result<()> {
        let guest = fs::canonicalize(&args.guest).context("the guest is not there")?;
        let dir = self.dir.path();
        let config = format!(
            "[function.overload]\ncomponent = {guest:?}\nconcurrency = {}\nqueue = {}\nqueue_wait = \"{}ms\"\n",
            args.concurrency, args.queue, args.queue_wait_ms
        );
        fs::write(dir.join("wasm-fn.toml"), config)?;
        while TcpStream::connect(admin).is_err() || !dir.join("data/token").exists() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the node ended with {status}: {}", fs::read_to_string(dir.join("log"))?);
            }
            thread::sleep(Duration::from_millis(20));
        }
        let deployed = Command::new(program)
            .args(["deploy", "-f", "overload", "--server", &format!("http://{admin}")])
            .args(["--data-dir", "data"])
            .current_dir(dir)
            .output()?;
        ensure!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
        Ok(())
    }

    /// Where its functions are called.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Memory that it occupies, MiB.
    pub(crate) fn resident_mib(&self) -> Result<u64> {
        self.status_mib("VmRSS:")
    }

    /// The most that it has occupied so far, MiB.
    pub(crate) fn resident_peak_mib(&self) -> Result<u64> {
        self.status_mib("VmHWM:")
    }

    fn status_mib(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next()).context("the process is alive")?;
        Ok(kib.parse::<u64>()? / 1024)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Either fails only when the process is gone already.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Two ports that are free now.
fn free_ports() -> Result<[SocketAddr; 2]> {
    let [a, b] = [std::net::TcpListener::bind("127.0.0.1:0")?, std::net::TcpListener::bind("127.0.0.1:0")?];
    Ok([a.local_addr()?, b.local_addr()?])
}
