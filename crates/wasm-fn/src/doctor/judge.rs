//! Rates findings, and says what to do about them. Pure.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime},
};

use wasm_fn_pool::{CapacityError, PoolPlan};
use wasm_fn_runtime::{MemoryReset, slot_cost};

use super::{Finding, bytes};
use crate::{
    machine::{self, DESCRIPTORS_SPARED},
    node::is_exposed,
    tls::{self, KeyPair, KeyPairError, KeyPairFiles, Warning},
};

/// Memory below which a single large function may not fit, bytes.
const MEMORY_BYTES_FEW: u64 = 512 << 20;

/// Free space below which a few deployments can fill the disk, bytes.
const SPACE_BYTES_FEW: u64 = 1 << 30;

/// Free space below which not even one component and its native code may fit, bytes.
const SPACE_BYTES_NONE: u64 = 64 << 20;

/// Open files below which a node can hardly serve.
const DESCRIPTORS_FEW: u64 = 512;

/// The start of 2026, when this program was made: no correct clock is earlier.
const BUILT: Duration = Duration::from_secs(1_767_225_600);

/// Tolerance between two readings of the time.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// `asked` is how memories are to be reset, `fastest` the fastest way that the kernel offers.
pub(super) fn kernel(release: &str, asked: MemoryReset, fastest: MemoryReset) -> Finding {
    let reset = asked.min(fastest);
    match fastest {
        MemoryReset::Counted | MemoryReset::Scan if reset == asked => {
            Finding::ok("kernel", format!("Linux {release} with PAGEMAP_SCAN: memory reset is {reset}"))
        }
        MemoryReset::Discard if reset == asked => {
            Finding::ok("kernel", format!("Linux {release}: memory reset is {reset}"))
        }
        MemoryReset::Counted | MemoryReset::Scan => Finding::warning(
            "kernel",
            format!("Linux {release} does not count page faults: memory reset is {reset}, which costs more"),
            "run the node without a sandbox around its system calls",
        ),
        MemoryReset::Discard => Finding::warning(
            "kernel",
            format!("Linux {release} without PAGEMAP_SCAN: memory reset is {reset}, which costs more"),
            "use Linux 6.7 or later",
        ),
    }
}

/// `is_marked` says that the node that runs, or ran last, found the memory of a guest that was not clean.
pub(super) fn isolation(is_marked: bool) -> Finding {
    let name = "isolation";
    if !is_marked {
        return Finding::ok(name, "no audit has found a memory that was not clean");
    }
    Finding::problem(
        name,
        "the memory of a guest was not clean after its reset; the node discards every memory since",
        "save its log and its metrics, report the fault (SECURITY.md), and set `memory_reset = \"discard\"` \
         before you restart it",
    )
}

/// The token of the admin API can do everything. `has_tls` says that others cannot read it along, `insecure`
/// that they may.
pub(super) fn admin_tls(address: SocketAddr, has_tls: bool, insecure: bool) -> Finding {
    let name = "admin-tls";
    if has_tls {
        return Finding::ok(name, format!("{address} is reached over TLS"));
    }
    if !is_exposed(address) {
        return Finding::ok(name, format!("{address} is reached from this machine only"));
    }
    let found = format!("{address} may be reached by other machines, over plain HTTP");
    if insecure {
        let help = "use --admin-tls-cert and --admin-tls-key, or let only a proxy with TLS reach it";
        return Finding::warning(name, found, help);
    }
    let help =
        "listen on 127.0.0.1, use --admin-tls-cert and --admin-tls-key, or accept it with --insecure-admin";
    Finding::problem(name, found, help)
}

/// A certificate with its key in `files`, read at `now`.
pub(super) fn certificate(
    files: &KeyPairFiles,
    read: &Result<KeyPair, KeyPairError>,
    now: SystemTime,
) -> Finding {
    let name = "certificate";
    let pair = match read {
        Ok(pair) => pair,
        Err(error @ KeyPairError::Exposed { path, .. }) => {
            return Finding::problem(name, error.to_string(), format!("chmod 600 {}", path.display()));
        }
        Err(error) => {
            return Finding::problem(name, error.to_string(), "a node with these files does not start");
        }
    };
    if let Some(warning) = pair.warnings.first() {
        let help = match warning {
            Warning::Expired { .. } => "renew it: a running node reads the new files by itself",
            Warning::NotYetValid { .. } => "check the clock, or wait",
            Warning::WrongOrder { .. } => "the node sends them in the right order; put the file in order",
        };
        return Finding::warning(name, warning.to_string(), help);
    }
    let (cert, title) = (files.cert.display(), pair.certificate.title());
    let until = humantime::format_rfc3339_seconds(pair.certificate.not_after);
    let found = format!("the one of {title} in {cert} is valid until {until} and has its key");
    match tls::nearness(&pair.certificate, now) {
        Some(_) => Finding::warning(name, found, "renew it soon, and check what should have renewed it"),
        None => Finding::ok(name, found),
    }
}

pub(super) fn cores(cores: usize) -> Finding {
    if cores < 2 {
        return Finding::warning("cores", "1", "compiling a component slows requests down: use two or more");
    }
    Finding::ok("cores", cores.to_string())
}

pub(super) fn memory(memory_bytes: u64) -> Finding {
    let found = bytes(memory_bytes);
    if memory_bytes < MEMORY_BYTES_FEW {
        return Finding::warning("memory", found, "large functions need 512 MiB or more");
    }
    Finding::ok("memory", found)
}

pub(super) fn pool(plan: &Result<PoolPlan, CapacityError>) -> Finding {
    match plan {
        Ok(plan) => Finding::ok(
            "pool",
            format!(
                "{} instances, {} running, {} for guests, a free slot keeps {}, {} of address space",
                plan.instances_max,
                plan.running_max,
                bytes(plan.memory_max_bytes),
                bytes(plan.keep_bytes),
                bytes(plan.address_bytes)
            ),
        ),
        Err(error) => Finding::problem("pool", error.to_string(), machine::help(error)),
    }
}

pub(super) fn mappings(max: u64, plan: &Result<PoolPlan, CapacityError>) -> Finding {
    let needed = plan.as_ref().map_or(0, |plan| slot_cost().maps * u64::from(plan.instances_max));
    let found = format!("vm.max_map_count is {max}, the instances need {needed}");
    if needed > max / 4 * 3 {
        let help = format!("sysctl -w vm.max_map_count={}", needed.saturating_mul(2));
        return Finding::warning("mappings", found, help);
    }
    Finding::ok("mappings", found)
}

/// `max` is `None` if there is no limit.
pub(super) fn descriptors(max: Option<u64>, connections_max: u32) -> Finding {
    let needed = u64::from(connections_max) + DESCRIPTORS_SPARED;
    let Some(max) = max else { return Finding::ok("files", "any number may be open") };
    let found = format!("{max} may be open, {connections_max} connections need {needed}");
    let help = format!("raise it (LimitNOFILE={needed}, ulimit -Hn), or lower --connections-max");
    match max {
        _ if max >= needed => Finding::ok("files", found),
        _ if max >= DESCRIPTORS_FEW => Finding::warning("files", found, help),
        _ => Finding::problem("files", found, help),
    }
}

pub(super) fn space(free_bytes: u64) -> Finding {
    let found = format!("{} free in the data directory", bytes(free_bytes));
    match free_bytes {
        SPACE_BYTES_FEW.. => Finding::ok("space", found),
        SPACE_BYTES_NONE.. => {
            Finding::warning("space", found, "components and their native code will soon need 1 GiB")
        }
        _ => Finding::problem("space", found, "free some space: changes that cannot be written are refused"),
    }
}

pub(super) fn private(path: &Path, mode: u32) -> Finding {
    let shown = path.display();
    let found = format!("{shown} has mode {:04o}", mode & 0o7777);
    if mode & 0o077 == 0 {
        return Finding::ok("private", found);
    }
    Finding::problem("private", format!("{found}: other users can access it"), format!("chmod 600 {shown}"))
}

/// `now`, and `written`, the time of the last change of the state, both since the epoch.
pub(super) fn clock(now: Duration, written: Option<Duration>) -> Finding {
    let help = "set the clock and keep it correct with NTP: it times the steps of rollouts";
    if now < BUILT {
        return Finding::problem(
            "clock",
            "it shows a time before the year in which this program was made",
            help,
        );
    }
    match written {
        Some(written) if written > now + CLOCK_SLACK => {
            let ahead = Duration::from_secs((written - now).as_secs());
            let ahead = humantime::format_duration(ahead);
            Finding::warning("clock", format!("the state was changed {ahead} in the clock's future"), help)
        }
        _ => Finding::ok("clock", "plausible"),
    }
}

#[cfg(test)]
mod tests;
