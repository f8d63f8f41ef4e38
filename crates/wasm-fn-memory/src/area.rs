//! Ranges of addresses, and the calls that change them.

#![expect(unsafe_code, reason = "addresses are what this crate is about")]

use std::{io, ops::Range, os::fd::BorrowedFd, ptr, sync::LazyLock};

use rustix::mm::{
    Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mmap_anonymous, mprotect, munmap,
};

use crate::kernel::{Addresses, Initial};

/// Bytes of a page.
pub fn page_bytes() -> usize {
    static BYTES: LazyLock<usize> = LazyLock::new(|| {
        // SAFETY: the call changes nothing.
        let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(bytes).expect("pages have a size")
    });
    *BYTES
}

/// `bytes`, rounded up to whole pages; `None` on overflow.
pub(crate) fn in_pages(bytes: usize) -> Option<usize> {
    bytes.checked_next_multiple_of(page_bytes())
}

/// A reserved range of addresses. None of them may be touched before it is opened.
#[derive(Debug)]
pub(crate) struct Area {
    range: Range<usize>,
}

impl Area {
    /// Reserves `bytes` of addresses, whole pages, and no memory.
    ///
    /// # Errors
    /// The process has no such range left.
    pub(crate) fn reserve(bytes: usize) -> io::Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: the system chooses addresses that nobody has.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::empty(), flags)? };
        let start = start.expose_provenance();
        let area = Self { range: start..start + bytes };
        area.keep_pages(&area.range)?;
        Ok(area)
    }

    pub(crate) fn start(&self) -> usize {
        self.range.start
    }

    fn pointer(&self, range: &Range<usize>) -> *mut std::ffi::c_void {
        assert!(self.range.start <= range.start && range.end <= self.range.end, "a range of this area");
        ptr::with_exposed_provenance_mut(range.start)
    }

    fn protect(&self, range: &Range<usize>, flags: MprotectFlags) -> io::Result<()> {
        let start = self.pointer(range);
        // SAFETY: the range is part of the area, and only open ranges have references into them.
        unsafe { mprotect(start, range.len(), flags)? };
        Ok(())
    }

    /// Keeps the kernel from joining small pages of `range` to huge ones, and from sharing pages with the
    /// same bytes. So each page becomes the process's own in a fault of its own, and stays so. A forked child
    /// does not get the range at all.
    fn keep_pages(&self, range: &Range<usize>) -> io::Result<()> {
        let start = self.pointer(range);
        for advice in [Advice::LinuxNoHugepage, Advice::LinuxUnmergeable, Advice::LinuxDontFork] {
            // SAFETY: this changes no byte.
            match unsafe { madvise(start, range.len(), advice) } {
                // A kernel that cannot do this does not know the advice.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Addresses for Area {
    fn open(&self, range: &Range<usize>) -> io::Result<()> {
        self.protect(range, MprotectFlags::READ | MprotectFlags::WRITE)
    }

    fn close(&self, range: &Range<usize>) -> io::Result<()> {
        self.protect(range, MprotectFlags::empty())
    }

    fn map(&self, range: &Range<usize>, initial: &Initial<'_>) -> io::Result<()> {
        let (start, flags) = (self.pointer(range), MapFlags::PRIVATE | MapFlags::FIXED);
        // SAFETY: the range is the area's, so nothing else is replaced; the file is sealed.
        unsafe { mmap(start, range.len(), ProtFlags::READ | ProtFlags::WRITE, flags, initial.file, 0)? };
        self.keep_pages(range)
    }

    fn clear(&self, range: &Range<usize>) -> io::Result<()> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        let start = self.pointer(range);
        // SAFETY: the range is the area's, so nothing else is replaced.
        unsafe { mmap_anonymous(start, range.len(), ProtFlags::empty(), flags)? };
        self.keep_pages(range)
    }

    fn decommit(&self, range: &Range<usize>) -> io::Result<()> {
        let start = self.pointer(range);
        // SAFETY: the range is the area's; its bytes change as if they were written.
        unsafe { madvise(start, range.len(), Advice::LinuxDontNeed)? };
        Ok(())
    }

    fn read<T>(&self, range: &Range<usize>, look: impl FnOnce(&[u8]) -> T) -> T {
        let start = self.pointer(range).cast::<u8>();
        // SAFETY: the range is part of the area and open, and whoever calls this owns it.
        look(unsafe { std::slice::from_raw_parts(start, range.len()) })
    }

    fn zero(&self, range: &Range<usize>) {
        let start = self.pointer(range).cast::<u8>();
        // SAFETY: the range is part of the area and open, and no references into it are left.
        unsafe { ptr::write_bytes(start, 0, range.len()) };
    }

    fn write(&self, range: &Range<usize>, bytes: &[u8]) {
        let start = self.pointer(range).cast::<u8>();
        assert_eq!(range.len(), bytes.len(), "as many bytes as addresses");
        // SAFETY: as above; the bytes are mapped elsewhere.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) };
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        let start = self.pointer(&self.range);
        // SAFETY: every slot keeps its area, so none is left.
        let unmapped = unsafe { munmap(start, self.range.len()) };
        unmapped.expect("a range that was mapped can be unmapped");
    }
}

/// A read-only mapping of a sealed file.
#[derive(Debug)]
pub(crate) struct FileMapping {
    start: usize,
    bytes: usize,
}

impl FileMapping {
    /// Maps the first `bytes` of `file`, which nobody can change.
    pub(crate) fn new(file: BorrowedFd<'_>, bytes: usize) -> io::Result<Self> {
        // SAFETY: the system chooses addresses that nobody has.
        let start = unsafe { mmap(ptr::null_mut(), bytes, ProtFlags::READ, MapFlags::PRIVATE, file, 0)? };
        Ok(Self { start: start.expose_provenance(), bytes })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let start = ptr::with_exposed_provenance(self.start);
        // SAFETY: they are mapped for as long as this lives, and never change.
        unsafe { std::slice::from_raw_parts(start, self.bytes) }
    }
}

impl Drop for FileMapping {
    fn drop(&mut self) {
        // SAFETY: nobody has a reference to them any more.
        let unmapped = unsafe { munmap(ptr::with_exposed_provenance_mut(self.start), self.bytes) };
        unmapped.expect("a range that was mapped can be unmapped");
    }
}
