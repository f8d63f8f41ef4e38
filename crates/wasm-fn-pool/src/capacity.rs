//! Calculates how many instances a machine holds, and how much memory they get.
//!
//! A slot reserves address space for the largest guest, but no memory: guests of 1 MiB and of 1 GiB share one
//! [`MemoryBudget`](crate::MemoryBudget), from which each takes what it grows to.

use std::fmt;

use wasm_fn_core::format_bytes;

/// Fewest and most instances when the operator names no number.
const CHOSEN: std::ops::RangeInclusive<u64> = 16..=1000;

/// Memory planned for each instance, bytes: what a guest of a common language grows to.
const CHOSEN_BYTES: u64 = 8 << 20;

/// Least memory that an instance counts with, bytes.
const INSTANCE_BYTES_MIN: u64 = 1 << 20;

/// Quarters of the machine's memory that guests get; the rest is for code, buffers and the kernel.
const GUEST_QUARTERS: u64 = 3;

/// Free slots keep at most one part in this many of the machine's memory.
const KEPT_SHARE: u64 = 4;

/// Least that a free slot keeps, bytes; it keeps a multiple of this.
const KEPT_GRAIN: u64 = 64 << 10;

/// Mappings reserved for the process itself.
const MAPS_SPARED: u64 = 2000;

/// Address space reserved for the process itself, bytes: code, heap, stacks of threads.
const ADDRESS_SPARED: u64 = 2 << 30;

/// What the machine has for this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Memory, bytes: that of the machine, or less if the control group has a limit.
    pub memory_bytes: u64,
    /// Address space, bytes: that of the hardware, or less if the process has a limit.
    pub address_bytes: u64,
    /// Most mappings of one process; `None` when unknown.
    pub maps_max: Option<u64>,
    /// Memory that the system still commits, bytes; `None` when it overcommits.
    pub commit_bytes: Option<u64>,
}

/// What one slot takes from the machine before a guest touches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotCost {
    /// Address space, bytes.
    pub address_bytes: u64,
    /// Memory that a system without overcommit counts, bytes.
    pub commit_bytes: u64,
    /// Mappings after its first use.
    pub maps: u64,
    /// Most memory worth keeping for the next guest, bytes.
    pub keep_bytes_max: u64,
}

/// What the operator asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Instances alive at once; by default as many as suit the machine.
    pub instances_max: Option<u32>,
    /// Linear memory of all instances together, bytes; by default three quarters of the machine's.
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
    /// Memory that a free slot keeps for its next guest, bytes.
    pub keep_bytes: u64,
    /// Address space of all slots, bytes.
    pub address_bytes: u64,
}

/// A resource of the machine that limits the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scarce {
    /// Memory for guests.
    Memory,
    /// Address space.
    AddressSpace,
    /// Mappings of the process.
    Mappings,
    /// Memory that the system commits.
    Commit,
}

/// Why a pool does not fit the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CapacityError {
    /// Too many instances, or not enough for a single one.
    Instances {
        /// Instances asked for.
        asked: u32,
        /// The resource that limits them most.
        scarce: Scarce,
        /// How much of it the instances need: bytes, or mappings.
        needed: u64,
        /// How much of it there is, in the same unit.
        found: u64,
        /// Most instances that fit.
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
/// The machine has less than `options` ask for; says what is needed, what was found, and what would fit.
pub fn plan(machine: &Machine, slot: &SlotCost, options: PlanOptions) -> Result<PoolPlan, CapacityError> {
    let memory_max_bytes = options.memory_max_bytes.unwrap_or(machine.memory_bytes / 4 * GUEST_QUARTERS);
    if memory_max_bytes > machine.memory_bytes {
        return Err(CapacityError::Memory {
            asked_bytes: memory_max_bytes,
            found_bytes: machine.memory_bytes,
        });
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
        return Err(CapacityError::Instances { asked, scarce, needed, found, fits });
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

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Instances { asked, scarce, needed, found, fits } => {
                let amount = |count: u64| match scarce {
                    Scarce::Mappings => count.to_string(),
                    _ => format_bytes(count),
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
                let (asked, found) = (format_bytes(asked_bytes), format_bytes(found_bytes));
                write!(f, "guests are to have {asked} of memory, found {found}: at most that fits")
            }
        }
    }
}

impl std::error::Error for CapacityError {}

#[cfg(test)]
mod tests;
