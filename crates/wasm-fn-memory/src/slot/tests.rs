//! A slot against a pretended system, any call of which fails, all of it or after some pages: the next guest
//! finds its image and nothing else, or there is no next guest.

use std::{cell::RefCell, collections::BTreeMap, io::stdin, os::fd::AsFd as _, rc::Rc};

use proptest::{collection::vec, prelude::*, test_runner::RngSeed};

use super::*;
use crate::area::page_bytes;

/// Pages of the slot.
const PAGES: usize = 6;

/// Most pages that it keeps while it is free.
const KEPT: usize = 3;

/// Where it begins.
const START: usize = 1 << 30;

/// Images: the first page of each, and how many it has. The first image is zeros.
const IMAGES: [(usize, usize); 3] = [(0, 0), (1, 2), (0, 1)];

/// The page of an image in which all bytes are the same.
fn page_of(image: usize, page: usize) -> u8 {
    let (start, pages) = IMAGES[image];
    if (start..start + pages).contains(&page) { u8::try_from(16 * image + page).unwrap() } else { 0 }
}

#[derive(Clone, Copy, Default)]
struct Page {
    is_open: bool,
    is_own: bool,
    is_swapped_out: bool,
}

/// The system.
struct Pretended {
    pages: [Page; PAGES],
    /// What is read.
    bytes: Vec<u8>,
    /// What is read of pages that are not the process's own.
    mapped: Vec<u8>,
    /// Calls that fail, by their number, and how many pages they change before.
    failing: BTreeMap<usize, usize>,
    calls: usize,
    /// Whether a page became the process's own since this was last false.
    has_faulted: bool,
}

type System = Rc<RefCell<Pretended>>;

fn pages(range: &Range<usize>) -> Range<usize> {
    let page = |at: usize| {
        assert!(at.is_multiple_of(page_bytes()), "whole pages");
        (at - START) / page_bytes()
    };
    page(range.start)..page(range.end)
}

fn bytes(page: usize) -> Range<usize> {
    page * page_bytes()..(page + 1) * page_bytes()
}

impl Pretended {
    fn new(failing: BTreeMap<usize, usize>) -> System {
        let zeros = vec![0; PAGES * page_bytes()];
        let (pages, mapped) = ([Page::default(); PAGES], zeros.clone());
        Rc::new(RefCell::new(Self { pages, bytes: zeros, mapped, failing, calls: 0, has_faulted: false }))
    }

    /// Makes a call: changes each page of `range`, or fails after some.
    fn call(&mut self, range: &Range<usize>, mut change: impl FnMut(&mut Self, usize)) -> io::Result<()> {
        self.calls += 1;
        let pages = pages(range);
        let failing = self.failing.get(&self.calls).copied();
        let done = failing.map_or(pages.end, |done| pages.end.min(pages.start + done));
        (pages.start..done).for_each(|page| change(self, page));
        if failing.is_some() { Err(io::ErrorKind::OutOfMemory.into()) } else { Ok(()) }
    }

    /// Shows what is mapped at `page`.
    fn give_back(&mut self, page: usize) {
        self.bytes[bytes(page)].copy_from_slice(&self.mapped[bytes(page)]);
        let is_open = self.pages[page].is_open;
        self.pages[page] = Page { is_open, ..Page::default() };
    }

    /// Touches a page to write to it.
    fn touch(&mut self, page: usize) {
        let page = &mut self.pages[page];
        assert!(page.is_open, "who writes to a closed page ends the process");
        self.has_faulted |= !page.is_own || page.is_swapped_out;
        (page.is_own, page.is_swapped_out) = (true, false);
    }
}

impl Addresses for System {
    fn open(&self, range: &Range<usize>) -> io::Result<()> {
        self.borrow_mut().call(range, |system, page| system.pages[page].is_open = true)
    }

    fn close(&self, range: &Range<usize>) -> io::Result<()> {
        self.borrow_mut().call(range, |system, page| system.pages[page].is_open = false)
    }

    fn map(&self, range: &Range<usize>, initial: &Initial<'_>) -> io::Result<()> {
        let first = pages(range).start;
        self.borrow_mut().call(range, |system, page| {
            system.mapped[bytes(page)].copy_from_slice(&initial.bytes[bytes(page - first)]);
            system.give_back(page);
            system.pages[page].is_open = true;
        })
    }

    fn clear(&self, range: &Range<usize>) -> io::Result<()> {
        self.borrow_mut().call(range, |system, page| {
            system.mapped[bytes(page)].fill(0);
            system.give_back(page);
            system.pages[page].is_open = false;
        })
    }

    fn decommit(&self, range: &Range<usize>) -> io::Result<()> {
        self.borrow_mut().call(range, Pretended::give_back)
    }

    fn read<T>(&self, range: &Range<usize>, look: impl FnOnce(&[u8]) -> T) -> T {
        let system = self.borrow();
        assert!(
            pages(range).all(|page| system.pages[page].is_open),
            "who reads a closed page ends the process"
        );
        look(&system.bytes[range.start - START..range.end - START])
    }

    fn zero(&self, range: &Range<usize>) {
        self.write(range, &vec![0; range.len()]);
    }

    fn write(&self, range: &Range<usize>, bytes: &[u8]) {
        let mut system = self.borrow_mut();
        pages(range).for_each(|page| system.touch(page));
        system.bytes[range.start - START..range.end - START].copy_from_slice(bytes);
    }
}

impl OwnPages for System {
    fn own(
        &self,
        range: Range<usize>,
        pages_max: usize,
        page_bytes: usize,
        mut own: impl FnMut(Range<usize>),
    ) -> io::Result<usize> {
        let (mut found, mut end) = (Vec::new(), range.end);
        let scanned = self.borrow_mut().call(&range, |system, page| {
            if system.pages[page].is_own && found.len() < pages_max {
                found.push(page);
            }
        });
        if found.len() == pages_max {
            end = found.last().map_or(range.start, |page| START + (page + 1) * page_bytes);
        }
        for page in found {
            let start = START + page * page_bytes;
            own(start..start + page_bytes);
        }
        scanned.map(|()| end)
    }
}

/// What a guest does, and what is done to it.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write { page: usize, byte: u8 },
    Grow { pages: usize },
    SwapOut { page: usize },
}

#[derive(Clone, Debug)]
struct Guest {
    image: usize,
    /// Pages that it begins with, at least those of its image.
    pages: usize,
    steps: Vec<Step>,
    /// How its memory is to be reset.
    reset: Cleaning,
    is_audited: bool,
    /// Whether the slot gives its pages back while it is free.
    is_decommitted: bool,
    /// A page that is swapped out while the slot is free.
    swapped_out: usize,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..PAGES, 1..=u8::MAX).prop_map(|(page, byte)| Step::Write { page, byte }),
        2 => (1..=PAGES).prop_map(|pages| Step::Grow { pages }),
        1 => (0..PAGES).prop_map(|page| Step::SwapOut { page }),
    ];
    vec(step, 0..5)
}

fn guest() -> impl Strategy<Value = Guest> {
    let reset = prop_oneof![Just(Cleaning::Discard), Just(Cleaning::Scan), Just(Cleaning::Known)];
    // Mostly the same image, so that slots are reset in place.
    let image = prop_oneof![4 => Just(1), 1 => Just(0), 1 => Just(2)];
    let fate = (reset, any::<bool>(), prop::bool::weighted(0.3), 0..PAGES);
    (image, 1..=PAGES, steps(), fate).prop_map(|(image, pages, steps, fate)| {
        let (reset, is_audited, is_decommitted, swapped_out) = fate;
        let (start, in_image) = IMAGES[image];
        let pages = pages.max(start + in_image);
        Guest { image, pages, steps, reset, is_audited, is_decommitted, swapped_out }
    })
}

struct Run {
    system: System,
    cleaner: Cleaner<System, System>,
    contents: Vec<Vec<u8>>,
}

impl Run {
    fn new(failing: BTreeMap<usize, usize>, can_scan: bool) -> Self {
        let system = Pretended::new(failing);
        let page_map = can_scan.then(|| system.clone());
        let cleaner = Cleaner { area: system.clone(), page_bytes: page_bytes(), pages_max: KEPT, page_map };
        let content = |(image, &(start, pages)): (usize, &(usize, usize))| {
            (start..start + pages).flat_map(|page| vec![page_of(image, page); page_bytes()]).collect()
        };
        Self { system, cleaner, contents: IMAGES.iter().enumerate().map(content).collect() }
    }

    /// Lets `guests` have one slot, one after the other, as [`Memories`](crate::Memories) does.
    fn run(&self, guests: &[Guest]) {
        let stdin = stdin();
        let initial = |image: usize| {
            let bytes = self.contents[image].as_slice();
            let start = IMAGES[image].0 * page_bytes();
            (!bytes.is_empty()).then(|| Initial { start, bytes, file: stdin.as_fd() })
        };
        let (mut slot, mut holds) = (Slot::new(START), None);
        for guest in guests {
            let content = initial(guest.image);
            if holds != Some(guest.image) {
                // A slot that is not cleared is lost.
                if holds.take().is_some() && slot.unmap_image(&self.system).is_err() {
                    return;
                }
                if slot.map_image(&self.system, content).is_ok() {
                    holds = Some(guest.image);
                }
            }
            let fits = holds.is_some() && slot.fit(&self.system, guest.pages * page_bytes()).is_ok();
            if fits {
                self.witness(guest);
                self.live(&mut slot, guest);
            }
            if !fits || !self.reset(&mut slot, content, guest) {
                holds = None;
                if slot.unmap_image(&self.system).is_err() {
                    return;
                }
                continue;
            }
            if guest.is_decommitted {
                let _ = slot.decommit(&self.system);
            }
            self.swap_out(guest.swapped_out);
        }
    }

    /// Reads all that the guest can, and tries all that it cannot.
    fn witness(&self, guest: &Guest) {
        let system = self.system.borrow();
        for (page, state) in system.pages.iter().enumerate() {
            assert_eq!(state.is_open, page < guest.pages, "page {page} of {guest:?}");
            // What lies behind shows when the guest grows.
            let expected = vec![page_of(guest.image, page); page_bytes()];
            assert!(system.bytes[bytes(page)] == expected, "page {page} of {guest:?}");
        }
    }

    fn live(&self, slot: &mut Slot, guest: &Guest) {
        self.system.borrow_mut().has_faulted = false;
        let mut open = guest.pages;
        for &step in &guest.steps {
            match step {
                Step::Write { page, byte } if page < open => {
                    let start = START + page * page_bytes();
                    self.system.write(&(start..start + page_bytes()), &vec![byte; page_bytes()]);
                }
                Step::Grow { pages } => {
                    let grown = slot.grow(&self.system, pages * page_bytes());
                    open = if grown.is_ok() { open.max(pages) } else { open };
                    let system = self.system.borrow();
                    let are_open =
                        |range: Range<usize>| system.pages[range].iter().filter(|page| page.is_open);
                    assert_eq!(are_open(0..open).count(), open);
                    // Where the system neither opened nor closed it, the slot is not used again.
                    assert!(slot.is_torn || are_open(open..PAGES).count() == 0);
                }
                Step::SwapOut { page } => self.swap_out(page),
                Step::Write { .. } => {}
            }
        }
    }

    fn swap_out(&self, page: usize) {
        let page = &mut self.system.borrow_mut().pages[page];
        page.is_swapped_out = page.is_own;
    }

    /// Returns whether the slot is clean.
    fn reset(&self, slot: &mut Slot, content: Option<Initial<'_>>, guest: &Guest) -> bool {
        let how = match guest.reset {
            // It vouches only for a guest that did not fault.
            Cleaning::Known if self.system.borrow().has_faulted => Cleaning::Scan,
            how => how,
        };
        if how == Cleaning::Known && guest.is_audited {
            match slot.unknown_page(&self.cleaner) {
                Ok(unknown) => assert_eq!(unknown, None, "{guest:?}"),
                Err(_) => return false,
            }
        }
        if slot.clean(&self.cleaner, content, how).is_err() {
            return false;
        }
        let own = self.system.borrow().pages.iter().filter(|page| page.is_own).count();
        assert!(own <= KEPT, "{own} pages are kept");
        if !guest.is_audited {
            return true;
        }
        match slot.difference(&self.system, content) {
            Ok(different) => assert_eq!(different, None, "{guest:?}"),
            Err(_) => return false,
        }
        true
    }
}

fn config() -> ProptestConfig {
    // Miri interprets each instruction, and has no files.
    let cases = if cfg!(miri) { 8 } else { 2000 };
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(7),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_fails_the_next_guest_finds_its_image(
        guests in vec(guest(), 1..14),
        // A few calls in a row fail, each after fewer pages.
        failing in vec((0..60_usize, 1..3_usize, 0..PAGES), 0..4),
        can_scan in prop::bool::weighted(0.9),
    ) {
        let calls = |(first, count, done)| (first..first + count).map(move |call| (call, done >> (call - first)));
        Run::new(failing.into_iter().flat_map(calls).collect(), can_scan).run(&guests);
    }
}
