//! Which pages of a range are the process's own, as the kernel sees it.

#![expect(unsafe_code, reason = "the kernel's call has no safe interface")]

use std::{ffi::c_void, fs::File, io, ops::Range};

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};

/// Ranges that are asked for at once.
const RANGES: usize = 64;

/// What the kernel says of a page (`PAGE_IS_*` of `linux/fs.h`): it is a file's; it is in memory; it is where the system
/// keeps what memory has no room for; it is the one page of zeros.
const FILE: u64 = 1 << 2;
const PRESENT: u64 = 1 << 3;
const SWAPPED: u64 = 1 << 4;
const ZERO: u64 = 1 << 5;

/// The kernel's map of this process's pages.
#[derive(Debug)]
pub(crate) struct PageMap(File);

impl PageMap {
    /// Opens it, and asks it of nothing to see that it answers.
    ///
    /// # Errors
    /// The kernel cannot tell, which takes Linux 6.7 (`PAGEMAP_SCAN`).
    pub(crate) fn open() -> io::Result<Self> {
        let map = Self(File::open("/proc/self/pagemap")?);
        map.look(0..0, 1, &mut [Found::default()])?;
        Ok(map)
    }

    /// Adds to `own` the pages of `range` that are the process's own, in order, but no more than `pages_max`; where
    /// the look ended.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn own(
        &self,
        range: Range<usize>,
        pages_max: usize,
        page_bytes: usize,
        mut own: impl FnMut(Range<usize>),
    ) -> io::Result<usize> {
        let (mut start, mut left) = (range.start, pages_max);
        while start < range.end && left > 0 {
            let mut found = [Found::default(); RANGES];
            let (count, end) = self.look(start..range.end, left, &mut found)?;
            for found in &found[..count] {
                let pages = address(found.start)..address(found.end);
                left = left.saturating_sub(pages.len() / page_bytes);
                own(pages);
            }
            start = end;
        }
        Ok(start)
    }

    fn look(&self, range: Range<usize>, pages_max: usize, found: &mut [Found]) -> io::Result<(usize, usize)> {
        let look = Look {
            size: size_of::<Look>() as u64,
            flags: 0,
            start: range.start as u64,
            end: range.end as u64,
            walk_end: 0,
            found: found.as_mut_ptr().expose_provenance() as u64,
            found_max: found.len() as u64,
            pages_max: pages_max as u64,
            // A page is told of when it is neither a file's nor the one of zeros, ...
            inverted: FILE | ZERO,
            all_of: FILE | ZERO,
            // ... and in memory or kept elsewhere.
            any_of: PRESENT | SWAPPED,
            told: 0,
        };
        // SAFETY: the kernel writes as many ranges as it is given room for, and changes nothing else.
        let (count, end) = unsafe { ioctl(&self.0, look)? };
        Ok((count.min(found.len()), end))
    }
}

/// Whether the kernel can tell.
pub fn can_look() -> bool {
    PageMap::open().is_ok()
}

fn address(address: u64) -> usize {
    usize::try_from(address).expect("an address of this process")
}

/// `struct page_region`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Found {
    start: u64,
    end: u64,
    told: u64,
}

/// `struct pm_scan_arg`.
#[repr(C)]
struct Look {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    found: u64,
    found_max: u64,
    pages_max: u64,
    inverted: u64,
    all_of: u64,
    any_of: u64,
    told: u64,
}

// SAFETY: `PAGEMAP_SCAN` of `linux/fs.h` is number 16 of the type `f`, reads and writes this structure, and gives the
// number of ranges that it has found.
unsafe impl Ioctl for Look {
    type Output = (usize, usize);

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        opcode::read_write::<Self>(b'f', 16)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut(self).cast()
    }

    unsafe fn output_from_ptr(count: IoctlOutput, look: *mut c_void) -> rustix::io::Result<Self::Output> {
        // SAFETY: it is what `as_ptr` gave.
        let end = unsafe { (*look.cast::<Self>()).walk_end };
        Ok((usize::try_from(count).unwrap_or(0), address(end)))
    }
}
