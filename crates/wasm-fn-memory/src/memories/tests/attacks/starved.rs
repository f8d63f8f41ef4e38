//! Guests that get memory while the process has used up its mappings, so that calls fail that succeed
//! otherwise.
//!
//! It runs in a process of its own: whatever else ran there would fail as well.

use std::ptr;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::{machine::alone, *};

const SLOTS: usize = 2;

/// Most mappings that are used up for a test.
const MAPPINGS_MAX: usize = 300_000;

/// Mappings that end when this is dropped.
struct Mappings {
    start: usize,
    pages: usize,
    /// Each second page up to here is a mapping of its own.
    used: usize,
}

#[expect(unsafe_code, reason = "mappings are what this is about")]
impl Mappings {
    fn new() -> Self {
        let pages = 2 * MAPPINGS_MAX;
        // SAFETY: the system chooses addresses that nobody has.
        let start =
            unsafe { mmap_anonymous(ptr::null_mut(), pages * PAGE, ProtFlags::empty(), MapFlags::PRIVATE) };
        Self { start: start.unwrap().expose_provenance(), pages, used: 0 }
    }

    /// Uses up all mappings of the process.
    fn use_up(&mut self) {
        while self.protect(self.used + 2, MprotectFlags::READ) {
            self.used += 2;
        }
        assert!(self.used > 0, "there are fewer mappings than were prepared for");
    }

    /// Gives `count` of them back, or one less.
    fn give_back(&mut self, count: usize) {
        for _ in 0..count / 2 {
            assert!(self.protect(self.used, MprotectFlags::empty()));
            self.used -= 2;
        }
    }

    fn protect(&self, page: usize, flags: MprotectFlags) -> bool {
        let start = ptr::with_exposed_provenance_mut(self.start + page * PAGE);
        // SAFETY: nobody has a reference to these pages.
        page < self.pages && unsafe { mprotect(start, PAGE, flags) }.is_ok()
    }
}

impl Drop for Mappings {
    #[expect(unsafe_code, reason = "as above")]
    fn drop(&mut self) {
        // SAFETY: nobody has a reference to these pages.
        unsafe { munmap(ptr::with_exposed_provenance_mut(self.start), self.pages * PAGE) }.unwrap();
    }
}

#[test]
fn one_that_grows_while_the_mappings_of_the_process_are_used_up() {
    let most = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse();
    if most.is_ok_and(|most: usize| most > MAPPINGS_MAX) {
        return machine::skip("one that grows without mappings", "the system allows too many of them");
    }
    if alone(module_path!(), "one_that_grows_while_the_mappings_of_the_process_are_used_up") {
        return;
    }
    let mut mappings = Mappings::new();
    mappings.use_up();
    for reset in RESETS {
        let (mut numbers, mut refused, mut lost) = (Numbers(0x5eed), 0, 0);
        for _ in 0..runs() {
            mappings.give_back(400);
            // None of its slots was used, so each needs mappings.
            let node = audited(SLOTS, reset);
            let images = [3, 9, 11].map(|salt| (node.image(salt), salt));
            mappings.use_up();
            mappings.give_back(numbers.below(16));
            for _ in 0..6 {
                let Ok(mut guest) = node.guest(&images[numbers.below(images.len())].0) else {
                    refused += 1;
                    continue;
                };
                for _ in 0..4 {
                    let before = guest.memory.data_size(&guest.store);
                    let grown = guest.memory.grow(&mut guest.store, 1 + numbers.below(32) as u64);
                    refused += usize::from(grown.is_err());
                    let bytes = guest.memory.data_size(&guest.store);
                    assert_eq!(grown.is_err(), before == bytes);
                    guest.write(bytes - 1);
                    guest.write(numbers.below(bytes));
                    assert!(guest.read(bytes).is_err());
                }
            }
            mappings.give_back(400);
            let (image, salt) = &images[numbers.below(images.len())];
            // What could not be mapped anew is never used again.
            let mut witnesses: Vec<_> = (0..SLOTS).filter_map(|_| node.guest(image).ok()).collect();
            witnesses.iter_mut().for_each(|witness| witness.check(Some(*salt)));
            lost += SLOTS - witnesses.len();
            let Isolation { reset: now, faults, .. } = node.memories.isolation();
            assert_eq!((now, faults), (reset, 0));
        }
        println!("{reset}: {refused} times refused, {lost} memories lost");
        assert!(refused > 0);
    }
}
