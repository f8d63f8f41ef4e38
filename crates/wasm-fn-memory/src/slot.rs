//! The addresses of one linear memory: what is mapped there, how much is open, and which pages are the
//! process's own.

use std::{io, mem, ops::Range};

use crate::{
    area::{Area, in_pages},
    image::Content,
    pages::PageMap,
};

/// Addresses for one linear memory. Offsets are in bytes from its start, and whole pages.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Its first address.
    start: usize,
    /// It can be touched up to this offset.
    open: usize,
    /// Something may be mapped or open up to this offset. It exceeds `open` only after the system refused a
    /// call.
    end: usize,
    /// Pages that are the process's own, in order. While no guest has the slot, those within `open` are as in
    /// the image, and those behind it are zero.
    own: Vec<Range<usize>>,
    /// Whether it is unknown how much is open.
    is_torn: bool,
}

/// What cleaning a slot needs.
#[derive(Debug)]
pub(crate) struct Cleaner {
    pub(crate) area: Area,
    pub(crate) page_bytes: usize,
    /// Most pages that a free slot keeps.
    pub(crate) pages_max: usize,
    /// `None` where the kernel cannot tell which pages a guest wrote; then a slot keeps none.
    pub(crate) page_map: Option<PageMap>,
    /// Whether the kernel counts faults. If not, every memory is scanned.
    pub(crate) faults_are_counted: bool,
}

impl Slot {
    /// A slot at `start` with nothing open.
    pub(crate) fn new(start: usize) -> Self {
        Self { start, open: 0, end: 0, own: Vec::new(), is_torn: false }
    }

    pub(crate) fn start(&self) -> usize {
        self.start
    }

    fn at(&self, offsets: Range<usize>) -> Range<usize> {
        self.start + offsets.start..self.start + offsets.end
    }

    /// Maps `content` into a slot in which nothing is open.
    pub(crate) fn map_image(&mut self, area: &Area, content: Option<&Content>) -> io::Result<()> {
        if let Some(content) = content {
            let image = content.range();
            self.end = image.end;
            area.open(&self.at(0..image.start))?;
            area.map(&self.at(image.clone()), content.file())?;
            self.open = image.end;
        }
        Ok(())
    }

    /// Opens exactly `bytes`, in whole pages.
    ///
    /// # Errors
    /// The system refuses. The slot must be discarded.
    pub(crate) fn fit(&mut self, area: &Area, bytes: usize) -> io::Result<()> {
        let bytes = in_pages(bytes).ok_or(io::ErrorKind::OutOfMemory)?;
        if bytes > self.open {
            self.end = self.end.max(bytes);
            area.open(&self.at(self.open..bytes))?;
        } else if bytes < self.open {
            area.close(&self.at(bytes..self.open))?;
        }
        self.open = bytes;
        Ok(())
    }

    /// Opens at least `bytes`.
    ///
    /// # Errors
    /// The system refuses. The slot stays as it was.
    pub(crate) fn grow(&mut self, area: &Area, bytes: usize) -> io::Result<()> {
        let before = self.open;
        if bytes <= before {
            return Ok(());
        }
        self.fit(area, bytes).inspect_err(|_| {
            // Part of it may be open.
            self.is_torn |= area.close(&self.at(before..self.end)).is_err();
        })
    }

    /// Restores what the slot's first guest found. `known` says that no page became the process's own since
    /// the last time.
    ///
    /// # Errors
    /// The slot is not clean and must be discarded.
    pub(crate) fn clean(
        &mut self,
        cleaner: &Cleaner,
        content: Option<&Content>,
        known: bool,
    ) -> io::Result<()> {
        if self.is_torn {
            return Err(io::Error::other("the system refused to open it and to close it"));
        }
        if !known {
            self.scan(cleaner)?;
        }
        for own in &self.own {
            if own.start >= self.open {
                break;
            }
            restore(&cleaner.area, self.start, own.start..own.end.min(self.open), content);
        }
        Ok(())
    }

    /// Finds the pages that are the process's own, and gives back those beyond the limit.
    fn scan(&mut self, cleaner: &Cleaner) -> io::Result<()> {
        let open = self.at(0..self.open);
        let Some(page_map) = &cleaner.page_map else {
            self.own.clear();
            return cleaner.area.decommit(&open);
        };
        let start = self.start;
        let mut behind = mem::take(&mut self.own);
        behind.retain_mut(|own| {
            own.start = own.start.max(self.open);
            own.start < own.end
        });
        let kept: usize = behind.iter().map(|own| own.len() / cleaner.page_bytes).sum();
        let pages_max = cleaner.pages_max.saturating_sub(kept);
        let own = &mut self.own;
        let scanned = page_map.own(open.clone(), pages_max, cleaner.page_bytes, |pages| {
            let pages = pages.start - start..pages.end - start;
            match own.last_mut() {
                Some(last) if last.end == pages.start => last.end = pages.end,
                _ => own.push(pages),
            }
        })?;
        if scanned < open.end {
            cleaner.area.decommit(&(scanned..open.end))?;
        }
        self.own.append(&mut behind);
        Ok(())
    }

    /// Gives all pages of a clean slot back to the system. Returns whether there were any.
    pub(crate) fn decommit(&mut self, area: &Area) -> io::Result<bool> {
        let Some(last) = self.own.last() else { return Ok(false) };
        area.decommit(&self.at(0..last.end))?;
        self.own = Vec::new();
        Ok(true)
    }

    /// Unmaps everything, so that nothing is open.
    pub(crate) fn unmap_image(&mut self, area: &Area) -> io::Result<()> {
        if self.end > 0 {
            area.clear(&self.at(0..self.end))?;
        }
        *self = Self::new(self.start);
        Ok(())
    }
}

/// Restores `pages` of the memory at `start` from `content`.
fn restore(area: &Area, start: usize, pages: Range<usize>, content: Option<&Content>) {
    let (image, bytes) = content.map_or((0..0, [].as_slice()), |content| (content.range(), content.bytes()));
    let at = |offsets: Range<usize>| start + offsets.start..start + offsets.end;
    let within = pages.start.clamp(image.start, image.end)..pages.end.clamp(image.start, image.end);
    if within.is_empty() {
        area.zero(&at(pages));
        return;
    }
    if pages.start < within.start {
        area.zero(&at(pages.start..within.start));
    }
    area.write(&at(within.clone()), &bytes[within.start - image.start..within.end - image.start]);
    if within.end < pages.end {
        area.zero(&at(within.end..pages.end));
    }
}
