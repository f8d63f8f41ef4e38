//! The initial content of a component's memories, and the free slots that hold it.

use std::{
    cell::Cell,
    io,
    ops::Range,
    os::fd::{AsFd as _, OwnedFd},
    ptr,
    sync::{Arc, OnceLock},
};

use rustix::fs::{SealFlags, fcntl_get_seals};

use crate::{
    area::{FileMapping, page_bytes},
    free_list::FreeList,
    kernel::Initial,
    memories::Memories,
    slot::Slot,
};

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It does not begin and end at page boundaries, or lies outside of a memory.
    #[error("image of {bytes} bytes at {start}, expected whole pages of a memory")]
    Placed {
        /// Its offset in the memory.
        start: usize,
        /// Its size.
        bytes: usize,
    },
    /// Its file can still be changed.
    #[error("image in a file that is not sealed, expected seals against writing and shortening")]
    Unsealed,
    /// The system refused to map it.
    #[error("image is not mapped: {0}")]
    Io(#[from] io::Error),
}

/// The bytes of an image that are not zero.
#[derive(Debug)]
struct Content {
    range: Range<usize>,
    file: OwnedFd,
    mapped: FileMapping,
}

/// The initial content of memories.
#[derive(Debug)]
pub struct Image {
    pub(crate) memories: Arc<Memories>,
    content: Option<Content>,
    /// Clean slots that hold this image.
    pub(crate) free: FreeList<Slot>,
    /// An image of zeros, for memories that are too small for this one.
    small: OnceLock<Arc<Image>>,
}

thread_local! {
    /// The image of the instance that this thread is making.
    static CURRENT: Cell<*const Image> = const { Cell::new(ptr::null()) };
}

impl Image {
    /// An image of zeros, for memories of `memories`.
    pub fn blank(memories: &Arc<Memories>) -> Arc<Self> {
        Self::with_content(memories, None)
    }

    /// An image with the first `bytes` of `file` at offset `start` and zeros around them, for memories of
    /// `memories`.
    ///
    /// # Errors
    /// The bytes are not whole pages, the file is not sealed, so that somebody could change or shorten it, or
    /// the system refuses to map it.
    pub fn new(
        memories: &Arc<Memories>,
        file: OwnedFd,
        start: usize,
        bytes: usize,
    ) -> Result<Arc<Self>, ImageError> {
        let end = start.checked_add(bytes).filter(|&end| end <= memories.bytes_max());
        let whole = start.is_multiple_of(page_bytes()) && bytes.is_multiple_of(page_bytes());
        let Some(end) = end.filter(|_| whole && bytes > 0) else {
            return Err(ImageError::Placed { start, bytes });
        };
        // A file that cannot be sealed says that it has no seals, or does not know the question.
        let seals = fcntl_get_seals(&file).unwrap_or(SealFlags::empty());
        if !seals.contains(SealFlags::WRITE | SealFlags::SHRINK) {
            return Err(ImageError::Unsealed);
        }
        let mapped = FileMapping::new(file.as_fd(), bytes)?;
        Ok(Self::with_content(memories, Some(Content { range: start..end, file, mapped })))
    }

    fn with_content(memories: &Arc<Memories>, content: Option<Content>) -> Arc<Self> {
        let image = Arc::new(Self {
            memories: memories.clone(),
            content,
            free: FreeList::new(),
            small: OnceLock::new(),
        });
        memories.register(&image);
        image
    }

    /// Its bytes that are not zero; `None` when all are zero.
    pub(crate) fn initial(&self) -> Option<Initial<'_>> {
        let Content { range, file, mapped } = self.content.as_ref()?;
        Some(Initial { start: range.start, bytes: mapped.bytes(), file: file.as_fd() })
    }

    /// The image for a memory of `bytes`: this one, or zeros if the memory is too small for it.
    pub(crate) fn of_memory(self: Arc<Self>, bytes: usize) -> Arc<Self> {
        if self.content.as_ref().is_none_or(|content| content.range.end <= bytes) {
            return self;
        }
        self.small.get_or_init(|| Self::blank(&self.memories)).clone()
    }

    /// Runs `work`. Memories made meanwhile get this image, or zeros if they are too small for it.
    pub fn during<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        /// Restores the image that was current before.
        struct Before(*const Image);
        impl Drop for Before {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _before = Before(CURRENT.replace(Arc::as_ptr(self)));
        work()
    }

    /// The image of the instance that this thread is making; `None` when it makes none.
    pub(crate) fn current() -> Option<Arc<Self>> {
        let current = CURRENT.get();
        if current.is_null() {
            return None;
        }
        // SAFETY: the pointer comes from an `Arc` that `during` holds, and `during` has not returned.
        #[expect(unsafe_code, reason = "a thread-local variable cannot hold a reference")]
        unsafe {
            Arc::increment_strong_count(current);
            Some(Arc::from_raw(current))
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        while let Some(slot) = self.free.take() {
            self.memories.discard(slot);
        }
    }
}
