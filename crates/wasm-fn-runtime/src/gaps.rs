//! Closes the gaps between the pages that a guest writes, where they make its memory costly to reset.
//!
//! When an instance ends, the engine asks the kernel which pages it wrote and restores them where they are. It asks
//! for [`RANGES_MAX`] ranges, and gives back all that lies behind them: the next guest in the slot faults it in again,
//! page by page. Interpreters write to more ranges, many of them a page or two apart. A page that was written once
//! stays one of the slot's own until it is given back, so a gap is closed by having the kernel treat its pages as
//! written, which changes nothing of what is in them. From then on they are restored with the others, and copying a
//! page costs a fraction of faulting it in.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rustix::mm::{Advice, madvise};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasm_fn_core::Digest;

use crate::maps::{self, mappings};

/// Ranges of written pages that the engine asks for: `MAX_REGIONS` in wasmtime's `vm/sys/unix/pagemap.rs`.
const RANGES_MAX: usize = 32;

/// Ranges that are left where that is possible: another request may write to some more.
const RANGES_AIM: usize = 24;

/// A look is followed by a rest of so many times its length: looks take a hundredth of a core at most.
const REST: u32 = 99;

/// Page faults of the process between two counts, a tenth of a second apart, that are worth a look at what causes them:
/// some 3 % of a core. A pool that grows causes hundreds, and is busy enough without one.
const FAULTS_MIN: u64 = 4096;

/// Most times that the wait for the next look is doubled because there was nothing to do.
const DOUBLED_MAX: u32 = 9;

/// An entry of the kernel's page map, one of 64 bits for each page: the page is in memory; it is a file's, or shared;
/// nobody else has it.
const PRESENT: u64 = 1 << 63;
const OF_FILE: u64 = 1 << 61;
const EXCLUSIVE: u64 = 1 << 56;

/// Pages of a memory, counted from its beginning.
type Pages = Range<usize>;

/// Closes the gaps in the memories of a node's slots.
pub(crate) struct Gaps {
    page_bytes: usize,
    /// Most pages of one slot that may stay its own.
    pages_max: usize,
    /// One look at a time: an instance is kept from its end meanwhile.
    turn: Arc<Semaphore>,
    /// When the rest after the last look is over, milliseconds since the node's start.
    rested_ms: AtomicU64,
}

/// The right to look at what instances wrote.
pub(crate) struct Look {
    gaps: Arc<Gaps>,
    began: Duration,
    _turn: OwnedSemaphorePermit,
}

impl Gaps {
    /// Slots keep `keep_bytes` at most, in pages of `page_bytes`.
    pub(crate) fn new(keep_bytes: u64, page_bytes: usize) -> Self {
        let pages_max = usize::try_from(keep_bytes).unwrap_or(usize::MAX) / page_bytes;
        Self { page_bytes, pages_max, turn: Arc::new(Semaphore::new(1)), rested_ms: AtomicU64::new(0) }
    }

    /// A look that begins at `now`, unless another is taken or was taken just before.
    pub(crate) fn look(self: &Arc<Self>, now: Duration) -> Option<Look> {
        if now < Duration::from_millis(self.rested_ms.load(Relaxed)) {
            return None;
        }
        let turn = self.turn.clone().try_acquire_owned().ok()?;
        Some(Look { gaps: self.clone(), began: now, _turn: turn })
    }
}

impl Look {
    /// Closes gaps in the slots that have memory of `component`, of which an instance has ended and still lives: its
    /// slot shows all that a request writes. The number of pages that were none of a slot's own. Takes a
    /// millisecond or so.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn close(&self, component: Digest) -> io::Result<usize> {
        let page_map = File::open("/proc/self/pagemap")?;
        let mut by_image: HashMap<u64, Vec<(Memory, Vec<Pages>)>> = HashMap::new();
        for memory in memories(&maps::read()?, &format!("/memfd:{component}")) {
            let written = written(&page_map, &memory.range, self.gaps.page_bytes)?;
            by_image.entry(memory.image).or_default().push((memory, written));
        }
        let mut closed = 0;
        for memories in by_image.into_values() {
            let all = memories.iter().flat_map(|(_, written)| written.iter().cloned());
            let Some(joined) = join(union(all.collect()), self.gaps.pages_max) else { continue };
            // A slot with few ranges holds an instance that has not run, or no longer needs this.
            for (memory, written) in memories.iter().filter(|(_, written)| written.len() > RANGES_AIM) {
                for gap in without(&joined, written) {
                    closed += memory.own(&gap, self.gaps.page_bytes);
                }
            }
        }
        Ok(closed)
    }

    /// Ends the look at `now`.
    pub(crate) fn end(self, now: Duration) {
        let rested = now + now.saturating_sub(self.began) * REST;
        self.gaps.rested_ms.store(u64::try_from(rested.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// A memory of a slot.
#[derive(Debug, PartialEq, Eq)]
struct Memory {
    /// Its addresses.
    range: Range<usize>,
    /// Which memory of its component it is: where in the code the bytes lie that it begins with.
    image: u64,
}

impl Memory {
    /// Makes `pages` the slot's own, as if the guest had written what is there; their number, or 0 when the memory
    /// has changed meanwhile.
    fn own(&self, pages: &Pages, page_bytes: usize) -> usize {
        let start = self.range.start + pages.start * page_bytes;
        let start = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: no byte is changed, wherever this is, and where nothing may be written it fails.
        #[expect(unsafe_code, reason = "the engine has no call for it")]
        let owned = unsafe { madvise(start, pages.len() * page_bytes, Advice::LinuxPopulateWrite) };
        if owned.is_ok() { pages.len() } else { 0 }
    }
}

/// The memories in `maps` that begin with bytes of a file whose path begins with `path`.
fn memories(maps: &str, path: &str) -> Vec<Memory> {
    let mut found = Vec::new();
    let mut memory: Option<(Range<usize>, Option<u64>)> = None;
    let mut end = |memory: Option<(Range<usize>, Option<u64>)>| {
        if let Some((range, Some(image))) = memory {
            found.push(Memory { range, image });
        }
    };
    for mapping in mappings(maps).filter(|mapping| mapping.is_private_data) {
        // What lies before the image and behind it are mappings of their own.
        let (mut range, mut image) = match memory.take() {
            Some((range, image)) if range.end == mapping.range.start => (range, image),
            before => {
                end(before);
                (mapping.range.clone(), None)
            }
        };
        range.end = mapping.range.end;
        if mapping.path.starts_with(path) {
            image = Some(mapping.offset);
        }
        memory = Some((range, image));
    }
    end(memory);
    found
}

/// The pages of `page_bytes` in `range` of addresses that are the process's own.
fn written(page_map: &File, range: &Range<usize>, page_bytes: usize) -> io::Result<Vec<Pages>> {
    const ENTRY_BYTES: usize = size_of::<u64>();
    let mut entries = vec![0; range.len() / page_bytes * ENTRY_BYTES];
    page_map.read_exact_at(&mut entries, (range.start / page_bytes * ENTRY_BYTES) as u64)?;
    let entries = entries.chunks_exact(ENTRY_BYTES);
    let entries = entries.map(|entry| u64::from_ne_bytes(entry.try_into().expect("chunks of this size")));
    let own = |&(_, entry): &(usize, u64)| entry & (PRESENT | OF_FILE | EXCLUSIVE) == PRESENT | EXCLUSIVE;
    Ok(union(entries.enumerate().filter(own).map(|(page, _)| page..page + 1).collect()))
}

/// The same pages in order, in as few ranges as they take.
fn union(mut pages: Vec<Pages>) -> Vec<Pages> {
    pages.sort_by_key(|pages| pages.start);
    pages.dedup_by(|next, before| {
        let touches = next.start <= before.end;
        if touches {
            before.end = before.end.max(next.end);
        }
        touches
    });
    pages
}

/// `written` with the smallest gaps closed until no more than [`RANGES_AIM`] ranges are left, or as few as
/// `pages_max` allows; `None` when that is still more than the engine asks for.
fn join(written: Vec<Pages>, pages_max: usize) -> Option<Vec<Pages>> {
    let mut gaps: Vec<Pages> = written.windows(2).map(|pair| pair[0].end..pair[1].start).collect();
    gaps.sort_by_key(Pages::len);
    let mut pages: usize = written.iter().map(Pages::len).sum();
    let mut ranges = written.len();
    let closed = gaps.into_iter().take_while(|gap| {
        let fits = ranges > RANGES_AIM && pages + gap.len() <= pages_max;
        if fits {
            pages += gap.len();
            ranges -= 1;
        }
        fits
    });
    let joined = union(closed.collect::<Vec<_>>().into_iter().chain(written).collect());
    (joined.len() < RANGES_MAX).then_some(joined)
}

/// The parts of `pages` that are not in `others`; both in order.
fn without(pages: &[Pages], others: &[Pages]) -> Vec<Pages> {
    let mut left = Vec::new();
    for range in pages {
        let mut start = range.start;
        let from = others.partition_point(|other| other.end <= range.start);
        for other in others[from..].iter().take_while(|other| other.start < range.end) {
            if start < other.start {
                left.push(start..other.start);
            }
            start = other.end;
        }
        if start < range.end {
            left.push(start..range.end);
        }
    }
    left
}

/// When the slots of a component are looked at: while the process faults often, and less often the longer there was
/// nothing to do.
#[derive(Debug, Default)]
pub(crate) struct Attention {
    wanted: AtomicBool,
    /// Counts of many faults until the next look.
    wait: AtomicU32,
    /// Looks in a row that found nothing.
    fruitless: AtomicU32,
}

impl Attention {
    /// The process faulted often since this was called last.
    pub(crate) fn faulted(&self) {
        let waits = self.wait.fetch_update(Relaxed, Relaxed, |wait| wait.checked_sub(1)).is_ok();
        if !waits {
            self.wanted.store(true, Relaxed);
        }
    }

    /// Whether to look now.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed)
    }

    /// A look was taken.
    pub(crate) fn looked(&self, was_fruitful: bool) {
        self.wanted.store(false, Relaxed);
        let fruitless = if was_fruitful { 0 } else { (self.fruitless.load(Relaxed) + 1).min(DOUBLED_MAX) };
        self.fruitless.store(fruitless, Relaxed);
        self.wait.store((1 << fruitless) - 1, Relaxed);
    }
}

/// Counts the process's page faults that needed no disk.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    before: u64,
}

impl Faults {
    /// Whether there were many since this was called last.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn are_many(&mut self) -> io::Result<bool> {
        let faults = faults(&fs::read_to_string("/proc/self/stat")?)
            .ok_or_else(|| io::Error::other("/proc/self/stat has no count of faults"))?;
        let many = faults.saturating_sub(self.before) >= FAULTS_MIN;
        self.before = faults;
        Ok(many)
    }
}

/// The minor faults in a process's `stat`: the tenth field, the eighth after the name in parentheses.
fn faults(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(7)?.parse().ok()
}

#[cfg(test)]
pub(crate) mod tests;
