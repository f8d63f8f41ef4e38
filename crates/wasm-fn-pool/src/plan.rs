//! How many instances a machine holds, and how much memory they get: chosen from what the machine has.
//!
//! A slot reserves address space for the largest guest and memory for none: guests of 1 MiB and of
//! 1 GiB share one [`Budget`](crate::Budget), from which each takes what it grows to.

use std::fmt;

/// Fewest and most instances that are chosen when nobody says how many.
const CHOSEN: std::ops::RangeInclusive<u64> = 16..=1000;

/// Memory for each instance that is chosen, bytes: what a guest of a common language grows to.
const CHOSEN_BYTES: u64 = 8 << 20;

/// Memory that each instance is counted with at least, bytes.
const INSTANCE_BYTES_MIN: u64 = 1 << 20;

/// Share of the machine's memory for guests, in quarters; the rest is for code, buffers and the kernel.
const GUEST_QUARTERS: u64 = 3;

/// Free slots keep at most one part in so many of the machine's memory.
const KEPT_SHARE: u64 = 4;

/// Least that a free slot keeps, and the grain of what it keeps, bytes.
const KEPT_GRAIN: u64 = 64 << 10;

/// Mappings of the process that belong to no instance.
const MAPS_SPARED: u64 = 2000;

/// Address space of the process that belongs to no instance, bytes: code, heap, threads' stacks.
const ADDRESS_SPARED: u64 = 2 << 30;

/// What the machine has for this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Memory, bytes: the machine's, or less if its control group has a limit.
    pub memory_bytes: u64,
    /// Address space, bytes: the hardware's, or less if the process has a limit.
    pub address_bytes: u64,
    /// Mappings that one process may have. `None` when that is not known.
    pub maps_max: Option<u64>,
    /// Memory that the system would still promise, bytes; `None` when it promises more than it has.
    pub commit_bytes: Option<u64>,
}

/// What one slot takes from the machine before a guest touches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotCost {
    /// Address space, bytes.
    pub address_bytes: u64,
    /// Memory that a system which promises no more than it has counts, bytes.
    pub commit_bytes: u64,
    /// Mappings once it was used.
    pub maps: u64,
    /// Most that it is worth to keep for the next guest, bytes.
    pub keep_bytes_max: u64,
}

/// What the operator asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Instances alive at once; chosen when absent.
    pub instances_max: Option<u32>,
    /// Linear memory of all of them together, bytes; three quarters of the machine's when absent.
    pub memory_max_bytes: Option<u64>,
}

/// A pool that fits its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolPlan {
    /// Instances alive at once, ready and running; at least 1.
    pub instances_max: u32,
    /// Of those, how many may run; the others wait ready.
    pub running_max: u32,
    /// Linear memory of all instances together, bytes.
    pub memory_max_bytes: u64,
    /// What a free slot keeps for its next guest, bytes.
    pub keep_bytes: u64,
    /// Address space of all slots, bytes.
    pub address_bytes: u64,
}

/// What a pool takes from the machine, and runs out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scarce {
    /// Memory for guests.
    Memory,
    /// Addresses.
    AddressSpace,
    /// Entries in the process's table of mappings.
    Mappings,
    /// Memory that the system promises.
    Commit,
}

/// Why a pool does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// Too many instances, or no room for a single one.
    Instances {
        /// Instances asked for.
        asked: u32,
        /// What there is least of.
        scarce: Scarce,
        /// How much of it they need: bytes, or mappings.
        needed: u64,
        /// How much there is for them, in the same unit.
        found: u64,
        /// Instances for which there is enough of everything.
        fits: u32,
    },
    /// More memory for guests than there is.
    Memory {
        /// Bytes asked for.
        asked_bytes: u64,
        /// Bytes that the machine has.
        found_bytes: u64,
    },
}

/// Chooses a pool for `machine`.
///
/// # Errors
/// What was asked does not fit: what it needs, what was found, and what would fit.
pub fn plan(machine: &Machine, slot: &SlotCost, options: PlanOptions) -> Result<PoolPlan, PlanError> {
    let memory_max_bytes = options.memory_max_bytes.unwrap_or(machine.memory_bytes / 4 * GUEST_QUARTERS);
    if memory_max_bytes > machine.memory_bytes {
        return Err(PlanError::Memory { asked_bytes: memory_max_bytes, found_bytes: machine.memory_bytes });
    }
    let mut limits = vec![
        (Scarce::Memory, memory_max_bytes, INSTANCE_BYTES_MIN),
        (Scarce::AddressSpace, machine.address_bytes.saturating_sub(ADDRESS_SPARED), slot.address_bytes),
    ];
    limits.extend(machine.maps_max.map(|max| (Scarce::Mappings, max.saturating_sub(MAPS_SPARED), slot.maps)));
    limits.extend(machine.commit_bytes.map(|bytes| (Scarce::Commit, bytes, slot.commit_bytes)));
    let fitting = limits.into_iter().map(|(scarce, found, each)| {
        let fits = u32::try_from(found / each.max(1)).unwrap_or(u32::MAX);
        (fits, scarce, found, each)
    });
    let scarcest = fitting.min_by_key(|&(fits, ..)| fits);
    let (fits, scarce, found, each) = scarcest.expect("memory is always among them");
    let chosen = (memory_max_bytes / CHOSEN_BYTES).clamp(*CHOSEN.start(), *CHOSEN.end());
    let chosen = u32::try_from(chosen).unwrap_or(u32::MAX).min(fits).max(1);
    let asked = options.instances_max.unwrap_or(chosen);
    if asked > fits {
        let needed = each.saturating_mul(asked.into());
        return Err(PlanError::Instances { asked, scarce, needed, found, fits });
    }
    let instances_max = asked.max(1);
    let kept = machine.memory_bytes / KEPT_SHARE / u64::from(instances_max) / KEPT_GRAIN * KEPT_GRAIN;
    Ok(PoolPlan {
        instances_max,
        // A quarter of the instances may wait ready while the others run.
        running_max: (instances_max - instances_max / 4).max(1),
        memory_max_bytes,
        keep_bytes: kept.max(KEPT_GRAIN).min(slot.keep_bytes_max),
        address_bytes: slot.address_bytes.saturating_mul(instances_max.into()),
    })
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Instances { asked, scarce, needed, found, fits } => {
                let amount = |count: u64| match scarce {
                    Scarce::Mappings => count.to_string(),
                    _ => bytes(count),
                };
                let what = match scarce {
                    Scarce::Memory => "of memory for guests",
                    Scarce::AddressSpace => "of address space",
                    Scarce::Mappings => "memory mappings (vm.max_map_count)",
                    Scarce::Commit => "of memory promised (vm.overcommit_memory is 2)",
                };
                write!(
                    f,
                    "{asked} instances need {} {what}, found {}: at most {fits} fit",
                    amount(needed),
                    amount(found)
                )
            }
            Self::Memory { asked_bytes, found_bytes } => {
                let (asked, found) = (bytes(asked_bytes), bytes(found_bytes));
                write!(f, "guests are to have {asked} of memory, found {found}: at most that fits")
            }
        }
    }
}

impl std::error::Error for PlanError {}

/// `4.0 TiB`: a size for people, cut to tenths.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = usize::try_from(bytes.max(1).ilog2() / 10).unwrap_or(0).min(UNITS.len() - 1);
    if unit == 0 {
        return format!("{bytes} B");
    }
    let shift = 10 * unit;
    // Tenths are cut, so that what is said to fit does.
    let tenths = (bytes >> (shift - 10)) % 1024 * 10 / 1024;
    format!("{}.{tenths} {}", bytes >> shift, UNITS[unit])
}

#[cfg(test)]
mod tests;
