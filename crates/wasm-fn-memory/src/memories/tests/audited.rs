//! What an audit finds, and what follows.

use std::{fs::OpenOptions, ptr};

use super::*;
use crate::kernel::Addresses as _;

/// Writes to memories as no guest does: no thread of a guest faults, so the count vouches for them.
struct Stranger {
    addresses: mpsc::SyncSender<usize>,
    written: mpsc::Receiver<()>,
}

impl Stranger {
    fn new() -> Self {
        let (addresses, asked) = mpsc::sync_channel(1);
        let (done, written) = mpsc::sync_channel(1);
        thread::spawn(move || {
            let memory = OpenOptions::new().write(true).open("/proc/self/mem").unwrap();
            for address in asked {
                memory.write_all_at(&[99], address as u64).unwrap();
                done.send(()).unwrap();
            }
        });
        Self { addresses, written }
    }

    fn write(&self, address: usize) {
        self.addresses.send(address).unwrap();
        self.written.recv().unwrap();
    }
}

const TRIES: usize = 1000;

/// Where pages of the image are, before it, and behind it.
const PLACES: [usize; 4] = [5, START + 1, START + IMAGE_BYTES - 1, BYTES - 1];

#[test]
fn audits_of_clean_memories_find_nothing() {
    for reset in RESETS {
        let node = node_of(MemoriesOptions { reset, audit_one_in: 1, slots: 1, ..OPTIONS });
        let (image, mut numbers) = (node.image(3), Numbers(7));
        for _ in 0..50 {
            let mut guest = node.guest(&image).unwrap();
            guest.check(Some(3));
            numbers.disturb(&mut guest);
        }
        let found = node.memories.isolation();
        assert_eq!((found.reset, found.compared, found.faults), (reset, 50, 0));
        assert_eq!(found.scanned > 0, reset == MemoryReset::Counted);
    }
}

#[test]
fn a_memory_that_is_not_clean_ends_its_use_and_all_trust() {
    for at in PLACES {
        let node = node_of(MemoriesOptions { audit_one_in: 1, slots: 3, ..OPTIONS });
        let image = node.image(3);
        let other = node.guest(&image).unwrap();
        let stranger = Stranger::new();
        for _ in 0..TRIES {
            // Pages that are known are restored, so none is known.
            node.memories.decommit();
            (0..4).for_each(|_| drop(node.guest(&image).unwrap()));
            let guest = node.guest(&image).unwrap();
            stranger.write(guest.address() + at);
            drop(guest);
            // If this thread faulted, or a guest of another test moved, a scan has found the page.
            if node.memories.isolation().faults > 0 {
                break;
            }
        }
        let found = node.memories.isolation();
        assert_eq!((found.reset, found.faults), (MemoryReset::Discard, 1), "at {at}");
        drop(other);
        // Two slots are left, and nothing is in them.
        let mut guests: Vec<_> = (0..2).map(|_| node.guest(&image).unwrap()).collect();
        guests.iter_mut().for_each(|guest| guest.check(Some(3)));
        assert!(node.guest(&image).is_err());
        let address = guests[0].address();
        guests[0].write(0);
        drop(guests);
        assert_eq!(resident(address, BYTES), 0, "every memory is discarded");
    }
}

#[test]
fn a_byte_that_a_reset_left_is_found_by_a_comparison() {
    let large = COMPARED_HERE_BYTES + (64 << 10);
    let places = PLACES.map(|at| (at, BYTES)).into_iter().chain([(large - 1, large)]);
    for (at, bytes) in places {
        let node = node_of(MemoriesOptions { reset: MemoryReset::Scan, slots: 2, ..OPTIONS });
        let image = node.image(3);
        let slot = node.memories.take(&image, bytes).unwrap().unwrap();
        let address = slot.start() + at;
        node.memories.cleaner.area.write(&(address..address + 1), &[99]);
        Memories::put_compared(&node.memories, &image, slot);
        // A large memory is compared elsewhere.
        while node.memories.isolation().faults == 0 {
            thread::yield_now();
        }
        assert_eq!(node.memories.isolation().reset, MemoryReset::Discard, "at {at}");
        let mut guest = node.guest(&image).unwrap();
        guest.check(Some(3));
        assert_ne!(guest.address() + at, address);
        assert!(node.guest(&image).is_err(), "the slot is not used again");
    }
}

#[test]
fn a_slot_that_was_free_when_a_fault_was_found_is_mapped_anew() {
    let node = node_of(MemoriesOptions { audit_one_in: 1, slots: 3, ..OPTIONS });
    let image = node.image(3);
    let guests: Vec<_> = (0..3).map(|_| node.guest(&image).unwrap()).collect();
    let addresses: Vec<_> = guests.iter().map(Guest::address).collect();
    drop(guests);
    // One free slot is dirty, and the fault is found in another.
    Stranger::new().write(addresses[0] + 5);
    node.memories.audit.fail();
    for _ in 0..3 {
        let mut guests: Vec<_> = (0..3).map(|_| node.guest(&image).unwrap()).collect();
        guests.iter_mut().for_each(|guest| guest.check(Some(3)));
    }
}

#[test]
fn a_large_memory_is_compared_on_a_thread_of_its_own() {
    let node = node_of(MemoriesOptions { audit_one_in: 1, ..OPTIONS });
    let image = node.image(3);
    let mut guest = node.guest(&image).unwrap();
    let address = guest.address();
    guest.memory.grow(&mut guest.store, (COMPARED_HERE_BYTES >> 16) as u64).unwrap();
    guest.write(COMPARED_HERE_BYTES);
    drop(guest);
    // The next guest waits for a slot until the comparison is over.
    let mut next = loop {
        match node.guest(&image) {
            Ok(guest) => break guest,
            Err(_) => thread::yield_now(),
        }
    };
    assert_eq!(next.address(), address);
    next.check(Some(3));
    assert_eq!(node.memories.isolation().faults, 0);
}

#[test]
fn a_forked_child_has_no_memory_of_guests() {
    let node = node(1, 1 << 20);
    let image = node.image(3);
    let mut guest = node.guest(&image).unwrap();
    guest.write(0);
    let pages = [guest.address(), guest.address() + START];
    // SAFETY: the child calls nothing but the system.
    #[expect(unsafe_code, reason = "a fork has no safe interface")]
    let status = unsafe {
        let child = libc::fork();
        if child == 0 {
            let mut resident = 0;
            let there = pages.iter().any(|&page| {
                libc::mincore(ptr::with_exposed_provenance_mut(page), PAGE, &raw mut resident) == 0
            });
            libc::_exit(i32::from(there));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        status
    };
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status}");
    assert_eq!(guest.read(0).unwrap(), 1, "the parent keeps it");
}
