//! What a slot asks of the system: to open and to map its addresses, and which of their pages are the
//! process's own.
//!
//! [`Area`](crate::area::Area) and [`PageMap`](crate::pages::PageMap) ask the real system; tests pretend one
//! that fails. Neither knows what a slot is.

use std::{io, ops::Range, os::fd::BorrowedFd};

/// The bytes of an image that are not zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Initial<'a> {
    /// Their first offset in the memory.
    pub(crate) start: usize,
    pub(crate) bytes: &'a [u8],
    /// A sealed file that begins with them.
    pub(crate) file: BorrowedFd<'a>,
}

impl Initial<'_> {
    /// Their offsets in the memory.
    pub(crate) fn range(&self) -> Range<usize> {
        self.start..self.start + self.bytes.len()
    }
}

/// Addresses, and the calls that change them. A call that fails may have changed a part of its range.
pub(crate) trait Addresses {
    /// Lets `range` be read and written.
    fn open(&self, range: &Range<usize>) -> io::Result<()>;

    /// Lets nobody touch `range`. Its content stays.
    fn close(&self, range: &Range<usize>) -> io::Result<()>;

    /// Maps `initial` into `range`, which is as long, privately, and opens it.
    fn map(&self, range: &Range<usize>, initial: &Initial<'_>) -> io::Result<()>;

    /// Makes `range` as it was when it was reserved: closed, and zero.
    fn clear(&self, range: &Range<usize>) -> io::Result<()>;

    /// Gives the pages of `range` back to the system. Afterwards the range holds what was mapped there, or
    /// zeros.
    fn decommit(&self, range: &Range<usize>) -> io::Result<()>;

    /// Calls `look` with the bytes of the open `range`. Nobody may write to it meanwhile.
    fn read<T>(&self, range: &Range<usize>, look: impl FnOnce(&[u8]) -> T) -> T;

    /// Writes zeros to the open `range`.
    fn zero(&self, range: &Range<usize>);

    /// Writes `bytes` to the open `range`, which is as long.
    fn write(&self, range: &Range<usize>, bytes: &[u8]);
}

/// Tells which pages are the process's own: written by it, in memory or swapped out.
pub(crate) trait OwnPages {
    /// Passes the pages of `range` that are the process's own to `own`, in order and at most `pages_max`.
    /// Returns where the scan ended.
    ///
    /// # Errors
    /// The error of the system.
    fn own(
        &self,
        range: Range<usize>,
        pages_max: usize,
        page_bytes: usize,
        own: impl FnMut(Range<usize>),
    ) -> io::Result<usize>;
}
