//! The addresses of one linear memory: what is mapped there, how much is open, and which pages are the
//! process's own.

use std::{io, mem, ops::Range};

use crate::{
    area::{Area, in_pages},
    kernel::{Addresses, Initial, OwnPages},
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
    /// Where an image may be mapped.
    image: Range<usize>,
    /// Pages that are the process's own, in order. While no guest has the slot, those within `open` are as in
    /// the image, and those behind it are zero.
    own: Vec<Range<usize>>,
    /// Whether it is unknown how much is open.
    is_torn: bool,
    /// Whether none of its pages was the process's own after the last reset, whatever `own` says.
    is_discarded: bool,
}

/// How a slot is cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cleaning {
    /// All pages are given back.
    Discard,
    /// The kernel finds the pages that are the process's own.
    Scan,
    /// No page became the process's own since the last time.
    Known,
}

/// What cleaning a slot needs.
#[derive(Debug)]
pub(crate) struct Cleaner<A = Area, P = PageMap> {
    pub(crate) area: A,
    pub(crate) page_bytes: usize,
    /// Most pages that a free slot keeps.
    pub(crate) pages_max: usize,
    /// `None` where the kernel cannot tell which pages a guest wrote; then a slot keeps none.
    pub(crate) page_map: Option<P>,
}

impl Slot {
    /// A slot at `start` with nothing open.
    pub(crate) fn new(start: usize) -> Self {
        Self { start, open: 0, end: 0, image: 0..0, own: Vec::new(), is_torn: false, is_discarded: true }
    }

    pub(crate) fn start(&self) -> usize {
        self.start
    }

    fn at(&self, offsets: Range<usize>) -> Range<usize> {
        self.start + offsets.start..self.start + offsets.end
    }

    /// Maps `initial` into a slot in which nothing is open.
    pub(crate) fn map_image(
        &mut self,
        area: &impl Addresses,
        initial: Option<Initial<'_>>,
    ) -> io::Result<()> {
        if let Some(initial) = initial {
            let image = initial.range();
            self.end = image.end;
            area.open(&self.at(0..image.start))?;
            self.image = image.clone();
            area.map(&self.at(image.clone()), &initial)?;
            self.open = image.end;
        }
        Ok(())
    }

    /// Opens exactly `bytes`, in whole pages.
    ///
    /// # Errors
    /// The system refuses. The slot must be discarded.
    pub(crate) fn fit(&mut self, area: &impl Addresses, bytes: usize) -> io::Result<()> {
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
    pub(crate) fn grow(&mut self, area: &impl Addresses, bytes: usize) -> io::Result<()> {
        let before = self.open;
        if bytes <= before {
            return Ok(());
        }
        self.fit(area, bytes).inspect_err(|_| {
            // Part of it may be open.
            self.is_torn |= area.close(&self.at(before..self.end)).is_err();
        })
    }

    /// Whether its last reset left no page.
    pub(crate) fn is_discarded(&self) -> bool {
        self.is_discarded
    }

    /// Restores what the slot's first guest found.
    ///
    /// # Errors
    /// The slot is not clean and must be discarded.
    pub(crate) fn clean(
        &mut self,
        cleaner: &Cleaner<impl Addresses, impl OwnPages>,
        initial: Option<Initial<'_>>,
        how: Cleaning,
    ) -> io::Result<()> {
        if self.is_torn {
            return Err(io::Error::other("the system refused to open it and to close it"));
        }
        self.is_discarded = how == Cleaning::Discard || cleaner.page_map.is_none();
        match how {
            Cleaning::Discard => return self.discard(&cleaner.area),
            Cleaning::Scan => self.scan(cleaner)?,
            Cleaning::Known => {}
        }
        for own in &self.own {
            if own.start >= self.open {
                break;
            }
            restore(&cleaner.area, self.start, own.start..own.end.min(self.open), initial);
        }
        Ok(())
    }

    /// Gives all pages back, also those that are not open.
    fn discard(&mut self, area: &impl Addresses) -> io::Result<()> {
        self.own.clear();
        if self.end > 0 { area.decommit(&self.at(0..self.end)) } else { Ok(()) }
    }

    /// The offset of a page that is the process's own and that the slot does not know of; `None` if there is
    /// none, or the kernel cannot tell.
    ///
    /// # Errors
    /// The error of the system.
    pub(crate) fn unknown_page(
        &self,
        cleaner: &Cleaner<impl Addresses, impl OwnPages>,
    ) -> io::Result<Option<usize>> {
        let Some(page_map) = &cleaner.page_map else { return Ok(None) };
        let mut unknown = None;
        page_map.own(self.at(0..self.open), usize::MAX, cleaner.page_bytes, |pages| {
            let offsets = pages.start - self.start..pages.end - self.start;
            let first = offsets.step_by(cleaner.page_bytes).find(|&page| !self.knows(page));
            unknown = unknown.or(first);
        })?;
        Ok(unknown)
    }

    fn knows(&self, page: usize) -> bool {
        let at = self.own.partition_point(|own| own.end <= page);
        self.own.get(at).is_some_and(|own| own.start <= page)
    }

    /// Bytes that a comparison with the image reads.
    pub(crate) fn compared_bytes(&self) -> usize {
        self.own.last().map_or(self.open, |own| own.end.max(self.open))
    }

    /// The offset of a byte of this clean slot that is not as in the image. Reads everything that is open,
    /// and what the slot keeps behind that.
    ///
    /// # Errors
    /// The system refuses to open or to close what lies behind. The slot must be discarded.
    pub(crate) fn difference(
        &self,
        area: &impl Addresses,
        initial: Option<Initial<'_>>,
    ) -> io::Result<Option<usize>> {
        let behind = self.open..self.compared_bytes();
        if !behind.is_empty() {
            area.open(&self.at(behind.clone()))?;
        }
        let found = area.read(&self.at(0..behind.end), |found| difference(found, initial));
        if !behind.is_empty() {
            area.close(&self.at(behind))?;
        }
        Ok(found)
    }

    /// Finds the pages that are the process's own, and gives back those beyond the limit.
    fn scan(&mut self, cleaner: &Cleaner<impl Addresses, impl OwnPages>) -> io::Result<()> {
        let open = self.at(0..self.open);
        let Some(page_map) = &cleaner.page_map else { return self.discard(&cleaner.area) };
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
    pub(crate) fn decommit(&mut self, area: &impl Addresses) -> io::Result<bool> {
        let Some(last) = self.own.last() else { return Ok(false) };
        area.decommit(&self.at(0..last.end))?;
        self.own = Vec::new();
        Ok(true)
    }

    /// Unmaps everything, so that nothing is open.
    pub(crate) fn unmap_image(&mut self, area: &impl Addresses) -> io::Result<()> {
        if self.end > 0 {
            let all = self.at(0..self.end);
            // Each of these calls needs no mapping more than there is, so that it succeeds where the process
            // has used up its mappings.
            area.close(&all)?;
            area.decommit(&all)?;
        }
        if !self.image.is_empty() {
            area.clear(&self.at(self.image.clone()))?;
        }
        *self = Self::new(self.start);
        Ok(())
    }
}

/// The offset of the first of `found` that is not as in the image.
fn difference(found: &[u8], initial: Option<Initial<'_>>) -> Option<usize> {
    let (image, bytes) = initial.map_or((0..0, [].as_slice()), |initial| (initial.range(), initial.bytes));
    let (before, rest) = found.split_at(image.start.min(found.len()));
    let (within, behind) = rest.split_at(image.len().min(rest.len()));
    let other = |found: &[u8], at: usize| not_zero(found).map(|offset| at + offset);
    other(before, 0)
        .or_else(|| {
            let same = within == &bytes[..within.len()];
            (!same)
                .then(|| within.iter().zip(bytes).position(|(found, byte)| found != byte))
                .flatten()
                .map(|offset| image.start + offset)
        })
        .or_else(|| other(behind, image.end))
}

/// The offset of the first byte that is not zero.
fn not_zero(bytes: &[u8]) -> Option<usize> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let chunk = bytes.chunks(ZEROS.len()).position(|chunk| chunk != &ZEROS[..chunk.len()])?;
    let at = chunk * ZEROS.len();
    bytes[at..].iter().position(|&byte| byte != 0).map(|offset| at + offset)
}

/// Restores `pages` of the memory at `start` from `initial`.
fn restore(area: &impl Addresses, start: usize, pages: Range<usize>, initial: Option<Initial<'_>>) {
    let (image, bytes) = initial.map_or((0..0, [].as_slice()), |initial| (initial.range(), initial.bytes));
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

#[cfg(test)]
#[path = "slot/tests.rs"]
mod tests;
