//! What is in a component's memory when an instance of it begins, and the slots that have it.

use std::{
    cell::Cell,
    io,
    ops::Range,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    ptr,
    sync::{Arc, OnceLock},
};

use crate::{
    area::{Mapped, page_bytes},
    memories::Memories,
    shelf::Shelf,
    slot::Slot,
};

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It does not begin and end where pages do, or lies outside of what a memory can have.
    #[error("image of {bytes} bytes at {start}, expected whole pages of a memory")]
    Placed {
        /// Offset in the memory at which it begins.
        start: usize,
        /// Its size.
        bytes: usize,
    },
    /// The system refused it.
    #[error("image is not mapped: {0}")]
    Io(#[from] io::Error),
}

/// The bytes that are not zero.
#[derive(Debug)]
pub(crate) struct Content {
    range: Range<usize>,
    file: OwnedFd,
    mapped: Mapped,
}

impl Content {
    /// Where they are, as offsets.
    pub(crate) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.mapped.bytes()
    }
}

/// What memories begin with.
#[derive(Debug)]
pub struct Image {
    pub(crate) memories: Arc<Memories>,
    pub(crate) content: Option<Content>,
    /// Slots that have it, clean.
    pub(crate) free: Shelf<Slot>,
    /// Zeros, for memories that are too small for it.
    small: OnceLock<Arc<Image>>,
}

thread_local! {
    /// The image of the instance that is made on this thread.
    static CURRENT: Cell<*const Image> = const { Cell::new(ptr::null()) };
}

impl Image {
    /// Zeros, for memories of `memories`.
    pub fn blank(memories: &Arc<Memories>) -> Arc<Self> {
        Self::with_content(memories, None)
    }

    /// The first `bytes` of `file` at the offset `start`, and zeros around them, for memories of `memories`.
    ///
    /// Nobody must be able to change or to shorten the file: it has to be sealed.
    ///
    /// # Errors
    /// They are no whole pages, or the system refuses to map them.
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
        let mapped = Mapped::new(file.as_fd(), bytes)?;
        Ok(Self::with_content(memories, Some(Content { range: start..end, file, mapped })))
    }

    fn with_content(memories: &Arc<Memories>, content: Option<Content>) -> Arc<Self> {
        let image = Arc::new(Self {
            memories: memories.clone(),
            content,
            free: Shelf::new(),
            small: OnceLock::new(),
        });
        memories.know(&image);
        image
    }

    /// What a memory of `bytes` begins with: this, or zeros when it has no room for this.
    pub(crate) fn of_memory(self: Arc<Self>, bytes: usize) -> Arc<Self> {
        if self.content.as_ref().is_none_or(|content| content.range.end <= bytes) {
            return self;
        }
        self.small.get_or_init(|| Self::blank(&self.memories)).clone()
    }

    /// Does `work`; memories that are made in it have this image, if they have room for it, and zeros if not.
    pub fn during<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        /// The image that was current before is so again.
        struct Before(*const Image);
        impl Drop for Before {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _before = Before(CURRENT.replace(Arc::as_ptr(self)));
        work()
    }

    /// The image of the instance that is made on this thread; `None` when none is.
    pub(crate) fn current() -> Option<Arc<Self>> {
        let current = CURRENT.get();
        if current.is_null() {
            return None;
        }
        // SAFETY: it came from an `Arc` to which `during`, which has not returned, has a reference.
        #[expect(unsafe_code, reason = "references cannot be kept in a thread's own variables")]
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
