//! One linear memory's place: what is mapped there, how much of it is open, and which of its pages are its own.

use std::{io, mem, ops::Range};

use crate::{
    area::{Area, in_pages},
    image::Content,
    pages::PageMap,
};

/// Addresses for one linear memory. Offsets are bytes from its beginning, and whole pages.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Where it begins.
    start: usize,
    /// Up to here it can be touched.
    open: usize,
    /// Up to here something may be mapped or open: only more than that when the system refused something.
    end: usize,
    /// Pages that are its own, in order. Those behind what is open are zero, and those in it are as the image
    /// has them while no guest has the slot.
    own: Vec<Range<usize>>,
    /// What is open is not known.
    is_torn: bool,
}

/// What is needed to clean slots.
#[derive(Debug)]
pub(crate) struct Cleaner {
    pub(crate) area: Area,
    pub(crate) page_bytes: usize,
    /// Most pages that a free slot keeps.
    pub(crate) pages_max: usize,
    /// `None` where the kernel cannot tell which pages a guest wrote: then none is kept.
    pub(crate) page_map: Option<PageMap>,
    /// Whether it counts faults: if not, a guest can be vouched for by nothing.
    pub(crate) faults_are_counted: bool,
}

impl Slot {
    /// The slot whose addresses begin at `start`. None of them is open.
    pub(crate) fn new(start: usize) -> Self {
        Self { start, open: 0, end: 0, own: Vec::new(), is_torn: false }
    }

    pub(crate) fn start(&self) -> usize {
        self.start
    }

    fn at(&self, offsets: Range<usize>) -> Range<usize> {
        self.start + offsets.start..self.start + offsets.end
    }

    /// Puts what `content` has into a slot in which nothing is open.
    pub(crate) fn dress(&mut self, area: &Area, content: Option<&Content>) -> io::Result<()> {
        if let Some(content) = content {
            let image = content.range();
            self.end = image.end;
            area.open(&self.at(0..image.start))?;
            area.map(&self.at(image.clone()), content.file())?;
            self.open = image.end;
        }
        Ok(())
    }

    /// Opens `bytes` and not a page more.
    ///
    /// # Errors
    /// The system refuses it; the slot is of no use.
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
    /// The system refuses it; the slot is as it was.
    pub(crate) fn grow(&mut self, area: &Area, bytes: usize) -> io::Result<()> {
        let before = self.open;
        if bytes <= before {
            return Ok(());
        }
        self.fit(area, bytes).inspect_err(|_| {
            // It may have opened a part.
            self.is_torn |= area.close(&self.at(before..self.end)).is_err();
        })
    }

    /// Makes the slot what its first guest found in it. `known` says that no page became its own since that was done
    /// last.
    ///
    /// # Errors
    /// It is not clean, and must not be used again.
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
            self.look(cleaner)?;
        }
        for own in &self.own {
            if own.start >= self.open {
                break;
            }
            restore(&cleaner.area, self.start, own.start..own.end.min(self.open), content);
        }
        Ok(())
    }

    /// Finds the pages that are its own, and gives back those that are too many.
    fn look(&mut self, cleaner: &Cleaner) -> io::Result<()> {
        let open = self.at(0..self.open);
        let Some(page_map) = &cleaner.page_map else {
            self.own.clear();
            return cleaner.area.give_back(&open);
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
        let looked = page_map.own(open.clone(), pages_max, cleaner.page_bytes, |pages| {
            let pages = pages.start - start..pages.end - start;
            match own.last_mut() {
                Some(last) if last.end == pages.start => last.end = pages.end,
                _ => own.push(pages),
            }
        })?;
        if looked < open.end {
            cleaner.area.give_back(&(looked..open.end))?;
        }
        self.own.append(&mut behind);
        Ok(())
    }

    /// Lets the system have all pages of a clean slot; whether there were any.
    pub(crate) fn give_back(&mut self, area: &Area) -> io::Result<bool> {
        let Some(last) = self.own.last() else { return Ok(false) };
        area.give_back(&self.at(0..last.end))?;
        self.own = Vec::new();
        Ok(true)
    }

    /// Takes everything out, so that nothing is open.
    pub(crate) fn undress(&mut self, area: &Area) -> io::Result<()> {
        if self.end > 0 {
            area.clear(&self.at(0..self.end))?;
        }
        *self = Self::new(self.start);
        Ok(())
    }
}

/// Writes into `pages` of the memory at `start` what `content` has there.
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
