//! Asks the kernel which pages of a range are the process's own.

#![expect(unsafe_code, reason = "the kernel's call has no safe interface")]

use std::{ffi::c_void, fs::File, io, ops::Range};

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};

use crate::kernel::OwnPages;

/// Ranges per call.
const RANGES: usize = 64;

/// Properties of a page (`PAGE_IS_*` of `linux/fs.h`): it belongs to a file; it is in memory; it is swapped
/// out; it is the shared page of zeros.
const FILE: u64 = 1 << 2;
const PRESENT: u64 = 1 << 3;
const SWAPPED: u64 = 1 << 4;
const ZERO: u64 = 1 << 5;

/// The kernel's map of this process's pages.
#[derive(Debug)]
pub(crate) struct PageMap(File);

impl PageMap {
    /// Opens the map, and makes an empty request to see that the kernel answers.
    ///
    /// # Errors
    /// The kernel has no `PAGEMAP_SCAN`, which came with Linux 6.7.
    pub(crate) fn open() -> io::Result<Self> {
        let map = Self(File::open("/proc/self/pagemap")?);
        map.scan(0..0, 1, &mut [PageRegion::default()])?;
        Ok(map)
    }

    fn scan(
        &self,
        range: Range<usize>,
        pages_max: usize,
        found: &mut [PageRegion],
    ) -> io::Result<(usize, usize)> {
        let args = ScanArgs {
            size: size_of::<ScanArgs>() as u64,
            flags: 0,
            start: range.start as u64,
            end: range.end as u64,
            walk_end: 0,
            found: found.as_mut_ptr().expose_provenance() as u64,
            found_max: found.len() as u64,
            pages_max: pages_max as u64,
            // The kernel reports pages that belong to no file and are not the page of zeros, ...
            inverted: FILE | ZERO,
            all_of: FILE | ZERO,
            // ... and are in memory or swapped out.
            any_of: PRESENT | SWAPPED,
            told: 0,
        };
        // SAFETY: the kernel writes at most as many ranges as there is room for, and changes nothing else.
        let (count, end) = unsafe { ioctl(&self.0, args)? };
        Ok((count.min(found.len()), end))
    }
}

impl OwnPages for PageMap {
    fn own(
        &self,
        range: Range<usize>,
        pages_max: usize,
        page_bytes: usize,
        mut own: impl FnMut(Range<usize>),
    ) -> io::Result<usize> {
        let (mut start, mut left) = (range.start, pages_max);
        while start < range.end && left > 0 {
            let mut found = [PageRegion::default(); RANGES];
            let (count, end) = self.scan(start..range.end, left, &mut found)?;
            for found in &found[..count] {
                let pages = address(found.start)..address(found.end);
                left = left.saturating_sub(pages.len() / page_bytes);
                own(pages);
            }
            start = end;
        }
        Ok(start)
    }
}

fn address(address: u64) -> usize {
    usize::try_from(address).expect("an address of this process")
}

/// `struct page_region`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct PageRegion {
    start: u64,
    end: u64,
    told: u64,
}

/// `struct pm_scan_arg`.
#[repr(C)]
struct ScanArgs {
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

// SAFETY: `PAGEMAP_SCAN` of `linux/fs.h` is number 16 of type `f`. It reads and writes this structure, and
// returns the number of ranges that it found.
unsafe impl Ioctl for ScanArgs {
    type Output = (usize, usize);

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        opcode::read_write::<Self>(b'f', 16)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut(self).cast()
    }

    unsafe fn output_from_ptr(count: IoctlOutput, args: *mut c_void) -> rustix::io::Result<Self::Output> {
        // SAFETY: this is the pointer that `as_ptr` returned.
        let end = unsafe { (*args.cast::<Self>()).walk_end };
        Ok((usize::try_from(count).unwrap_or(0), address(end)))
    }
}
