//! A node with the function that is asked, and what its memory is made of.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::Args;

/// Mappings that are listed one by one; the others are added up.
const LARGE_KIB: u64 = 1024;

/// A running node; ended when it is dropped.
pub(crate) struct Node {
    child: Child,
    listen: SocketAddr,
    dir: PathBuf,
    /// Removed with the node that is measured.
    _dir: Option<TempDir>,
}

impl Node {
    /// Starts `args.program` and deploys `args.guest`. The node that is measured is another process than the one
    /// that compiled it.
    pub(crate) fn start(args: &Args) -> Result<Self> {
        let program = fs::canonicalize(&args.program).context("the program is not there: build it")?;
        let dir = tempfile::tempdir()?;
        let [listen, admin] = free_ports()?;
        let serve = || -> Result<Child> {
            let addresses = ["--listen", &listen.to_string(), "--admin", &admin.to_string()];
            let serve = Command::new(&program)
                .args(["serve", "--log", "warn", "--data-dir", "data"])
                .args(addresses)
                .args(["--instances-max", &args.instances_max.to_string()])
                .args(&args.serve)
                .current_dir(dir.path())
                .stdout(Stdio::null())
                .stderr(File::create(dir.path().join("log"))?)
                .spawn();
            serve.context("the program cannot be started")
        };
        let child = serve()?;
        let mut node = Self { child, listen, dir: dir.path().to_owned(), _dir: None };
        node.wait_for(admin)?;
        node.deploy(&program, admin, args)?;
        drop(node);
        let child = serve()?;
        let mut node = Self { child, listen, dir: dir.path().to_owned(), _dir: Some(dir) };
        node.wait_for(admin)?;
        node.wait_for(listen)?;
        Ok(node)
    }

    fn wait_for(&mut self, address: SocketAddr) -> Result<()> {
        while TcpStream::connect(address).is_err() || !self.dir.join("data/token").exists() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the node ended with {status}: {}", fs::read_to_string(self.dir.join("log"))?);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn deploy(&self, program: &Path, admin: SocketAddr, args: &Args) -> Result<()> {
        let guest = fs::canonicalize(&args.guest).context("the guest is not there")?;
        let config = format!(
            "[function.burst]\ncomponent = {guest:?}\nconcurrency = {0}\nqueue = {0}\nqueue_wait = \"30s\"\n\
             timeout = \"60s\"\n",
            args.burst
        );
        fs::write(self.dir.join("wasm-fn.toml"), config)?;
        let deployed = Command::new(program)
            .args(["deploy", "-f", "burst", "--server", &format!("http://{admin}")])
            .args(["--data-dir", "data"])
            .current_dir(&self.dir)
            .output()?;
        ensure!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
        Ok(())
    }

    /// Where its functions are called.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Memory that it occupies, MiB.
    #[expect(clippy::cast_precision_loss, reason = "far below 2⁵³")]
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        // Not `status`, whose count may lag behind by what each thread has not told yet.
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let kib = rollup.lines().find_map(|line| kib(line, "Rss:")).context("the process is alive")?;
        Ok(kib as f64 / 1024.0)
    }

    /// Its mappings with more than a MiB in memory, a line each, and the others together.
    pub(crate) fn mappings(&self) -> Result<String> {
        let smaps = fs::read_to_string(format!("/proc/{}/smaps", self.child.id()))?;
        let (mut lines, mut head) = (Vec::new(), "");
        let (mut small, mut small_kib) = (0_u32, 0);
        for line in smaps.lines() {
            if let Some(kib) = kib(line, "Rss:") {
                if kib >= LARGE_KIB {
                    lines.push(format!("{kib:>9} KiB  {head}"));
                } else if kib > 0 {
                    small += 1;
                    small_kib += kib;
                }
            } else if line.split(' ').next().is_some_and(|word| word.contains('-')) {
                head = line;
            }
        }
        lines.push(format!("{small_kib:>9} KiB  in {small} others"));
        Ok(lines.join("\n"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Either fails only when the process is gone already.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What `line` says of `field`.
fn kib(line: &str, field: &str) -> Option<u64> {
    line.strip_prefix(field)?.split_whitespace().next()?.parse().ok()
}

/// Two ports that are free now.
fn free_ports() -> Result<[SocketAddr; 2]> {
    let [a, b] = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    Ok([a.local_addr()?, b.local_addr()?])
}
