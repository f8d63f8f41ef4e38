//! Bytes in sealed memory: nobody can change or shorten them, whatever happens to the original.
//!
//! Several threads copy large ones. The kernel's work for new pages takes most of the time, and it does that
//! for two threads at once nearly as fast as for one.

use std::{
    fs::File,
    io,
    num::NonZero,
    ops::Range,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt as _,
    },
    panic::resume_unwind,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// How much is read, hashed and written at once, so that it stays in the processor's cache.
const PIECE_BYTES: usize = 128 << 10;

/// Pieces per thread, at least.
const PIECES_PER_THREAD: usize = 16;

/// Most threads that copy at once. More would leave too little for other requests.
const THREADS_MAX: usize = 4;

/// Bytes that several threads can read at once.
pub(crate) trait ReadAt: Sync {
    /// Fills `piece` with the bytes at offset `at`.
    ///
    /// # Errors
    /// There are too few bytes, or they cannot be read.
    fn read_at(&self, at: usize, piece: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_at(&self, at: usize, piece: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(piece, at as u64)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, at: usize, piece: &mut [u8]) -> io::Result<()> {
        let there = self.get(at..).and_then(|there| there.get(..piece.len()));
        piece.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Bytes in sealed memory.
pub(crate) struct Sealed {
    memory: OwnedFd,
    bytes: usize,
}

impl Sealed {
    /// Copies `range` of `source`. Also returns the results of `look` for each of its [`pieces`], in their
    /// order.
    ///
    /// # Errors
    /// The source has no such range, or the system provides no memory.
    pub(crate) fn copy<T: Send>(
        name: &str,
        source: &impl ReadAt,
        range: Range<usize>,
        look: impl Fn(&[u8]) -> T + Sync,
    ) -> io::Result<(Self, Vec<T>)> {
        let memory = File::from(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        let pieces = range.len().div_ceil(PIECE_BYTES);
        let next = AtomicUsize::new(0);
        let work = || {
            let (mut piece, mut seen) = (vec![0; PIECE_BYTES.min(range.len())], Vec::new());
            loop {
                let index = next.fetch_add(1, Relaxed);
                if index >= pieces {
                    return io::Result::Ok(seen);
                }
                let at = index * PIECE_BYTES;
                let piece_bytes = PIECE_BYTES.min(range.len() - at);
                let piece = &mut piece[..piece_bytes];
                source.read_at(range.start + at, piece)?;
                seen.push((index, look(piece)));
                memory.write_all_at(piece, at as u64)?;
            }
        };
        let mut seen = thread::scope(|scope| {
            // If a thread cannot be started, the others do its work.
            let start = |_| thread::Builder::new().name("copy".to_owned()).spawn_scoped(scope, work).ok();
            let others: Vec<_> = (1..threads(pieces)).map_while(start).collect();
            let mut seen = work();
            for other in others {
                let others = other.join().unwrap_or_else(|panic| resume_unwind(panic));
                seen = seen.and_then(|mut seen| {
                    seen.extend(others?);
                    Ok(seen)
                });
            }
            seen
        })?;
        seen.sort_unstable_by_key(|&(index, _)| index);
        fcntl_add_seals(&memory, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        let sealed = Self { memory: memory.into(), bytes: range.len() };
        Ok((sealed, seen.into_iter().map(|(_, seen)| seen).collect()))
    }

    /// Its size.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl AsFd for Sealed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

impl From<Sealed> for OwnedFd {
    fn from(sealed: Sealed) -> Self {
        sealed.memory
    }
}

/// The pieces of `bytes`, as they are copied.
pub(crate) fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(PIECE_BYTES)
}

/// How many threads copy `pieces`, including the caller's.
fn threads(pieces: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    (pieces / PIECES_PER_THREAD).clamp(1, cores.min(THREADS_MAX))
}

#[cfg(test)]
mod tests;
