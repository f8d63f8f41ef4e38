//! A server process: alone on its core, in a directory that outlives it, ended when it is dropped, with its
//! children counted as its own.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::now;

/// Lines of the log that a message repeats.
const LOG_LINES: usize = 5;

/// How long a server that is asked to end may take before it is killed.
const END_MAX: Duration = Duration::from_secs(5);

const POLL_EVERY: Duration = Duration::from_millis(10);

/// Where a server runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a> {
    /// The directory that it starts in and keeps everything in.
    pub(crate) home: &'a Path,
    pub(crate) core: usize,
}

/// A running server.
pub(crate) struct Server {
    // `taskset` becomes the server by `exec`, so this is the server itself and no parent of it.
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `program` with no environment but `PATH`. What it prints goes to the file `name.log`.
    pub(crate) fn start(program: &Path, arguments: &[String], site: Site<'_>, name: &str) -> Result<Self> {
        let path = site.home.join(format!("{name}.log"));
        let log = File::create(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        let child = Command::new("taskset")
            .args(["-c", &site.core.to_string()])
            .arg(program)
            .args(arguments)
            .current_dir(site.home)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("`taskset` cannot be started")?;
        Ok(Self { child, log: path })
    }

    /// Refuses when the server has ended, with the end of its log.
    pub(crate) fn must_live(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        bail!(
            "the server ended with {status}: {}",
            lines[lines.len().saturating_sub(LOG_LINES)..].join(" / ")
        )
    }

    /// What it and its children have used so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let mut usage = Usage::default();
        for pid in self.family() {
            usage.processes.insert(pid, Cpu::of(pid)?);
            let status = read(&format!("/proc/{pid}/status"))?;
            usage.memory_max_bytes +=
                memory_max(&status).with_context(|| format!("/proc/{pid}/status has no VmHWM"))?;
        }
        Ok(usage)
    }

    /// Sends the server `signal`, but not its children.
    ///
    /// # Errors
    ///
    /// There is no such process any more.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).context("the server cannot be signalled")
    }

    /// The server, its children and theirs.
    fn family(&self) -> Vec<u32> {
        let mut family = vec![self.child.id()];
        let mut seen = 0;
        while let Some(&pid) = family.get(seen) {
            // Threads may end while they are listed; then their children are another thread's.
            for thread in threads(pid).unwrap_or_default() {
                let path = format!("/proc/{pid}/task/{thread}/children");
                let children = fs::read_to_string(path).unwrap_or_default();
                family.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
            seen += 1;
        }
        family
    }
}

impl Server {
    /// Asks it to end, as users do, and waits: what it writes at its end is written.
    fn end(&mut self) {
        let runs = |child: &mut Child| matches!(child.try_wait(), Ok(None));
        // Its number may be another's once it was waited for.
        if !runs(&mut self.child) || kill_process(Pid::from_child(&self.child), Signal::TERM).is_err() {
            return;
        }
        let began = now();
        while runs(&mut self.child) && began.elapsed() < END_MAX {
            thread::sleep(POLL_EVERY);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A parent that is killed takes no child with it.
        let children = self.family().split_off(1);
        self.end();
        // Either fails only when the process is gone already.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        for child in children {
            let _gone = Command::new("kill").args(["-KILL", &child.to_string()]).output();
        }
    }
}

/// What processes have used so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Usage {
    processes: BTreeMap<u32, Cpu>,
    /// Peak resident set sizes, added up.
    pub(crate) memory_max_bytes: u64,
}

impl Usage {
    /// Both together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.processes.extend(other.processes);
        self.memory_max_bytes += other.memory_max_bytes;
        self
    }

    /// CPU time since `before`, of all processes that there are now.
    pub(crate) fn cpu_since(&self, before: &Self) -> Duration {
        let none = Cpu::default();
        let spent = |(pid, cpu): (&u32, &Cpu)| cpu.since(before.processes.get(pid).unwrap_or(&none));
        self.processes.iter().map(spent).sum()
    }
}

/// CPU time of one process, in user and kernel mode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Cpu {
    /// Of the whole process, those threads included that have ended, in ticks of 10 ms.
    whole: Duration,
    /// Of each thread that runs, to the nanosecond.
    threads: BTreeMap<u32, Duration>,
}

impl Cpu {
    fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let stat = read(&path)?;
        let ticks = ticks(&stat).with_context(|| format!("{path} has no CPU times: {stat}"))?;
        let whole = Duration::from_micros(ticks * 1_000_000 / rustix::param::clock_ticks_per_second());
        let mut spent = BTreeMap::new();
        for thread in threads(pid)? {
            // One that ended since it was listed has no account any more.
            let Ok(account) = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")) else {
                continue;
            };
            let ran = ran(&account).with_context(|| format!("thread {thread} ran for `{account}`"))?;
            spent.insert(thread, ran);
        }
        Ok(Self { whole, threads: spent })
    }

    /// The fine account when it is complete; the coarse one when a thread has ended and taken its account
    /// along, or when the kernel keeps no fine one.
    fn since(&self, before: &Self) -> Duration {
        let complete =
            !self.threads.is_empty() && before.threads.keys().all(|thread| self.threads.contains_key(thread));
        if !complete {
            return self.whole.saturating_sub(before.whole);
        }
        let spent = |(thread, now): (&u32, &Duration)| {
            now.saturating_sub(before.threads.get(thread).copied().unwrap_or_default())
        };
        self.threads.iter().map(spent).sum()
    }
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("{path} cannot be read"))
}

/// The threads of a process.
fn threads(pid: u32) -> Result<Vec<u32>> {
    let path = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&path).with_context(|| format!("{path} cannot be read"))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// `utime` + `stime` of a process, in clock ticks: fields 14 and 15 of proc_pid_stat(5).
fn ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name in parentheses, which may itself hold both blanks and `)`.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    Some(user + system)
}

/// Time on a core: the first field of a schedstat file, nanoseconds (Documentation/scheduler/sched-stats).
fn ran(schedstat: &str) -> Option<Duration> {
    Some(Duration::from_nanos(schedstat.split_whitespace().next()?.parse().ok()?))
}

/// The peak resident set size that proc_pid_status(5) names, bytes.
fn memory_max(status: &str) -> Option<u64> {
    let size = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(size.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests;
