//! The machine's resources for a node, read from the kernel.

use std::{fs, path::Path};

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use wasm_fn_pool::{CapacityError, Machine, PlanOptions, PoolPlan};
use wasm_fn_runtime::slot_cost;

use crate::fault::Fault;

/// Address space of one process with four levels of page tables (x86-64: 48 bits minus the kernel's half),
/// bytes.
const ADDRESS_BYTES: u64 = 1 << 47;

/// Files that a node has open besides its connections: its state, its sockets, and outgoing requests of
/// guests.
pub(crate) const DESCRIPTORS_SPARED: u64 = 256;

/// Memory to assume if the machine does not report it, bytes: rather too little than too much.
const MEMORY_BYTES_UNKNOWN: u64 = 1 << 30;

/// Reads the machine's current resources. Blocks only briefly: the files are the kernel's.
pub(crate) fn facts() -> Machine {
    let meminfo = read("/proc/meminfo");
    let memory = field_bytes(&meminfo, "MemTotal:").unwrap_or(MEMORY_BYTES_UNKNOWN);
    let address_bytes = match getrlimit(Resource::As).current {
        Some(limit) => {
            let used = field_bytes(&read("/proc/self/status"), "VmSize:").unwrap_or(0);
            limit.saturating_sub(used).min(ADDRESS_BYTES)
        }
        None => ADDRESS_BYTES,
    };
    Machine {
        memory_bytes: group_memory_max("/proc/self/cgroup", "/sys/fs/cgroup")
            .map_or(memory, |max| max.min(memory)),
        address_bytes,
        maps_max: number("/proc/sys/vm/max_map_count"),
        commit_bytes: commit_bytes(number("/proc/sys/vm/overcommit_memory"), &meminfo),
    }
}

/// The kernel's release, such as `6.18.44`.
pub(crate) fn kernel_release() -> String {
    read("/proc/sys/kernel/osrelease").trim().to_owned()
}

/// Plans the pool for this machine.
///
/// # Errors
/// The requested pool does not fit the machine.
pub(crate) fn plan(asked: PlanOptions) -> Result<PoolPlan, Fault> {
    wasm_fn_pool::plan(&facts(), &slot_cost(), asked)
        .map_err(|error| Fault::new("pool-too-large", "the node did not start", &error).help(help(&error)))
}

/// Advice for a pool that does not fit.
pub(crate) fn help(error: &CapacityError) -> String {
    match error {
        CapacityError::Instances { fits: 0, .. } => "raise the limits of this process".to_owned(),
        CapacityError::Instances { fits, .. } => format!("start with `--instances-max {fits}` or fewer"),
        CapacityError::Memory { found_bytes, .. } => {
            format!("start with `--memory-max {}MiB` or less", found_bytes >> 20)
        }
    }
}

/// Raises the soft limit on open files to the hard limit. The soft limit exists for programs that use
/// select(2).
pub(crate) fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) =
            setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, "the limit on open files was not raised");
    }
}

/// Keeps the memory of this process to itself, because secrets are in it: the system does not dump it, and
/// processes of the same user can neither read it nor attach a debugger.
///
/// The files of the process in /proc belong to root from then on. What the process needs of them must be open
/// by then, or readable by all.
pub(crate) fn protect_memory() {
    let undumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let maximum = getrlimit(Resource::Core).maximum;
    let without_cores = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
    if let Err(error) = undumpable.and(without_cores) {
        tracing::warn!(%error, "the memory of this process may be dumped");
    }
}

/// The configured number of connections, or fewer if files are limited: the limit on open files minus the
/// files that a node needs besides its connections, or half the limit if that is more.
pub(crate) fn connections_max(configured: u32) -> u32 {
    let Some(files) = descriptors_max() else { return configured };
    let room = files.saturating_sub(DESCRIPTORS_SPARED).max(files / 2);
    let max = configured.min(u32::try_from(room).unwrap_or(u32::MAX)).max(1);
    if max < configured {
        tracing::warn!(configured, max, files, "fewer connections than configured: open files are limited");
    }
    max
}

/// Files that this process may open once it has raised its limit; `None` if there is no limit.
pub(crate) fn descriptors_max() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// The smallest `memory.max` of a process's control group and the group's ancestors (cgroup v2), bytes.
fn group_memory_max(of_process: impl AsRef<Path>, root: impl AsRef<Path>) -> Option<u64> {
    let groups = read(of_process);
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let group = Path::new(path.trim_start_matches('/'));
    let maxima = group.ancestors().filter_map(|group| number(root.as_ref().join(group).join("memory.max")));
    maxima.min()
}

/// Memory that the system can still commit, if it does not overcommit (vm.overcommit_memory is 2), bytes.
fn commit_bytes(overcommit: Option<u64>, meminfo: &str) -> Option<u64> {
    let limit = field_bytes(meminfo, "CommitLimit:").filter(|_| overcommit == Some(2))?;
    Some(limit.saturating_sub(field_bytes(meminfo, "Committed_AS:").unwrap_or(0)))
}

/// The field `name` of a file such as /proc/meminfo, which is in KiB, as bytes.
fn field_bytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Reads a file that holds a number; `None` also if it holds the word `max`.
fn number(path: impl AsRef<Path>) -> Option<u64> {
    read(path).trim().parse().ok()
}

/// Reads a file of the kernel; empty if this kernel does not have it.
fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests;
