//! A server process: alone on its core, in a directory of its own, ended when it is dropped.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::SERVER_CORE;

/// Where a server's output goes, in its directory.
const LOG: &str = "server.log";

/// Lines of the log that a message repeats.
const LOG_LINES: usize = 5;

/// A running server.
pub(crate) struct Server {
    // `taskset` becomes the server by `exec`, so this is the server itself and no parent of it.
    child: Child,
    dir: TempDir,
}

impl Server {
    /// Starts `program` in a new temporary directory, with no environment but `PATH`.
    pub(crate) fn start(program: &Path, arguments: &[String]) -> Result<Self> {
        let dir = tempfile::tempdir().context("a temporary directory cannot be made")?;
        let log = File::create(dir.path().join(LOG))?;
        let child = Command::new("taskset")
            .args(["-c", SERVER_CORE])
            .arg(program)
            .args(arguments)
            .current_dir(dir.path())
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("`taskset` cannot be started")?;
        Ok(Self { child, dir })
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Refuses when the server has ended, with the end of its log.
    pub(crate) fn must_live(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let log = fs::read_to_string(self.dir().join(LOG)).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        bail!(
            "the server ended with {status}: {}",
            lines[lines.len().saturating_sub(LOG_LINES)..].join(" / ")
        )
    }

    /// CPU time that all its threads have used, in user and kernel mode.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
        let ticks = ticks(&stat).with_context(|| format!("{path} has no CPU times: {stat}"))?;
        Ok(Duration::from_micros(ticks * 1_000_000 / rustix::param::clock_ticks_per_second()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either fails only when the process is gone already.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// `utime` + `stime` of a process, in clock ticks: fields 14 and 15 of proc_pid_stat(5).
fn ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name in parentheses, which may itself hold both blanks and `)`.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests;
