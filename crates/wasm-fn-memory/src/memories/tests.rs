//! What guests find in memories, with a real engine.

use std::{
    fs::File,
    io::Write as _,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    sync::mpsc,
    thread,
};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use wasmtime::{Config, Engine, Instance, InstanceAllocationStrategy, Memory, Module, Store};

use super::*;
use crate::{EXHAUSTED, ImageError, ThreadAffinity, reset_audit::MemoryReset};

const PAGE: usize = 4096;

/// What one memory can grow to: all that its code can address, so that nothing but what is closed there keeps
/// code from touching it.
const SLOT_BYTES: usize = 4 << 30;

const GUARD_BYTES: usize = 32 << 20;

/// What the module's memory has at first.
const BYTES: usize = 3 * (64 << 10);

/// Where the image lies in it.
const START: usize = 64 << 10;

const IMAGE_BYTES: usize = 8 * PAGE;

const OPTIONS: MemoriesOptions = MemoriesOptions {
    slots: 1,
    slot_bytes: SLOT_BYTES,
    guard_bytes: GUARD_BYTES,
    keep_bytes: 1 << 20,
    reset: MemoryReset::Counted,
    audit_one_in: 0,
};

const RESETS: [MemoryReset; 3] = [MemoryReset::Discard, MemoryReset::Scan, MemoryReset::Counted];

const GUEST: &str = r#"(module (memory (export "m") 3)
    (func (export "read") (param i32) (result i32) (i32.load8_u (local.get 0))))"#;

struct Node {
    memories: Arc<Memories>,
    module: Module,
}

/// A guest, its memory, and where it runs.
struct Guest {
    store: Store<()>,
    instance: Instance,
    memory: Memory,
    whereabouts: ThreadAffinity,
}

fn node(slots: usize, keep_bytes: usize) -> Node {
    node_of(MemoriesOptions { slots, keep_bytes, ..OPTIONS })
}

fn node_of(options: MemoriesOptions) -> Node {
    let memories = Memories::new(options).unwrap();
    let config = config(&memories, options.slot_bytes);
    let engine = Engine::new(&config).unwrap();
    Node { memories, module: Module::new(&engine, wat::parse_str(GUEST).unwrap()).unwrap() }
}

fn config(memories: &Arc<Memories>, slot_bytes: usize) -> Config {
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .with_host_memory(memories.clone())
        .memory_init_cow(false)
        .memory_reservation(slot_bytes as u64)
        .memory_guard_size(GUARD_BYTES as u64);
    config
}

fn unsealed(bytes: &[u8]) -> File {
    let mut file = File::from(memfd_create("image", MemfdFlags::ALLOW_SEALING).unwrap());
    file.write_all(bytes).unwrap();
    file
}

fn file(bytes: &[u8]) -> OwnedFd {
    let file = unsealed(bytes);
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK).unwrap();
    file.into()
}

/// Byte of the image `salt` at `offset` of it.
fn byte(salt: u8, offset: usize) -> u8 {
    u8::try_from(offset % 251).unwrap() ^ salt
}

impl Node {
    fn image(&self, salt: u8) -> Arc<Image> {
        let bytes: Vec<_> = (0..IMAGE_BYTES).map(|offset| byte(salt, offset)).collect();
        Image::new(&self.memories, file(&bytes), START, IMAGE_BYTES).unwrap()
    }

    fn guest(&self, image: &Arc<Image>) -> wasmtime::Result<Guest> {
        let whereabouts = ThreadAffinity::new();
        let mut store = Store::new(self.module.engine(), ());
        let instance = image.during(|| Instance::new(&mut store, &self.module, &[]))?;
        let memory = instance.get_memory(&mut store, "m").unwrap();
        Ok(Guest { store, instance, memory, whereabouts })
    }
}

impl Guest {
    /// Errs unless it has what it is to begin with.
    fn check(&mut self, salt: Option<u8>) {
        let data = self.memory.data(&self.store);
        assert_eq!(data.len(), BYTES);
        for (at, &found) in data.iter().enumerate() {
            let within = (START..START + IMAGE_BYTES).contains(&at);
            let expected = salt.filter(|_| within).map_or(0, |salt| byte(salt, at - START));
            assert_eq!(found, expected, "at {at}");
        }
        assert!(self.read(BYTES - 1).is_ok());
        assert!(self.read(BYTES).is_err(), "what lies behind it cannot be touched");
    }

    fn read(&mut self, at: usize) -> wasmtime::Result<i32> {
        let read = self.instance.get_typed_func::<i32, i32>(&mut self.store, "read")?;
        read.call(&mut self.store, i32::try_from(at).unwrap())
    }

    fn write(&mut self, at: usize) {
        let written = &mut self.memory.data_mut(&mut self.store)[at];
        *written = written.wrapping_add(1);
    }

    fn address(&self) -> usize {
        self.memory.data_ptr(&self.store).addr()
    }
}

/// Numbers that look like chance (Marsaglia's xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }

    /// Has `guest` write here and there, and grow.
    fn disturb(&mut self, guest: &mut Guest) {
        for _ in 0..self.below(8) {
            if self.below(4) == 0 {
                let pages = self.below(3) as u64;
                // More than the memory can have is refused.
                let _ = guest.memory.grow(&mut guest.store, pages);
            }
            let bytes = guest.memory.data_size(&guest.store);
            guest.write(self.below(bytes));
        }
    }
}

/// How many of the bytes at `address` are in memory, in pages.
fn resident(address: usize, bytes: usize) -> usize {
    let page_map = File::open("/proc/self/pagemap").unwrap();
    let is_own = |page: usize| {
        let mut entry = [0; 8];
        page_map.read_exact_at(&mut entry, ((address / PAGE + page) * 8) as u64).unwrap();
        // It is in memory, no file's, and nobody else's, as the one page of zeros is.
        let (present, of_file, exclusive) = (1 << 63, 1 << 61, 1 << 56);
        u64::from_ne_bytes(entry) & (present | of_file | exclusive) == present | exclusive
    };
    (0..bytes / PAGE).filter(|&page| is_own(page)).count()
}

#[test]
fn every_guest_finds_what_the_first_found() {
    for keep_bytes in [1 << 20, 3 * PAGE, 0] {
        let node = node(2, keep_bytes);
        let (image, blank) = (node.image(7), Image::blank(&node.memories));
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        for _ in 0..500 {
            // One after the other, two at a time, and of both images in turns: slots change hands.
            let mut guests = vec![(node.guest(&image).unwrap(), Some(7))];
            match numbers.below(3) {
                0 => guests.push((node.guest(&blank).unwrap(), None)),
                1 => guests.push((node.guest(&image).unwrap(), Some(7))),
                _ => {}
            }
            for (guest, salt) in &mut guests {
                guest.check(*salt);
                numbers.disturb(guest);
            }
        }
    }
}

#[test]
fn every_reset_leaves_nothing() {
    for reset in RESETS {
        let node = node_of(MemoriesOptions { reset, ..OPTIONS });
        let image = node.image(1);
        let mut numbers = Numbers(42);
        for _ in 0..100 {
            let mut guest = node.guest(&image).unwrap();
            guest.check(Some(1));
            numbers.disturb(&mut guest);
        }
        assert_eq!(node.memories.isolation(), Isolation { reset, compared: 0, scanned: 0, faults: 0 });
    }
}

#[test]
fn a_memory_that_is_discarded_keeps_no_page() {
    let node = node_of(MemoriesOptions { reset: MemoryReset::Discard, ..OPTIONS });
    let image = node.image(3);
    let mut guest = node.guest(&image).unwrap();
    let address = guest.address();
    (0..BYTES).step_by(PAGE).for_each(|at| guest.write(at));
    drop(guest);
    assert_eq!(resident(address, BYTES), 0);
}

#[test]
fn guests_that_change_threads_leave_nothing() {
    const THREADS: usize = 4;
    const SLOTS: usize = 4 * THREADS;
    let node = node(SLOTS, 1 << 20);
    let image = node.image(3);
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..THREADS).map(|_| mpsc::sync_channel::<(Guest, usize)>(SLOTS)).unzip();
    thread::scope(|scope| {
        for (at, receiver) in receivers.into_iter().enumerate() {
            let (node, image, next) = (&node, &image, senders[(at + 1) % THREADS].clone());
            scope.spawn(move || {
                let mut numbers = Numbers(at as u64 + 1);
                for _ in 0..1000 {
                    // As many as there are may be under way.
                    if let Ok(mut guest) = node.guest(image) {
                        guest.check(Some(3));
                        numbers.disturb(&mut guest);
                        // Some go round and come back before they end, others end elsewhere. Where nobody
                        // listens any more, they end at once.
                        if numbers.below(2) == 0 {
                            let _ = next.send((guest, numbers.below(THREADS + 2)));
                        }
                    }
                    while let Ok((mut guest, moves)) = receiver.try_recv() {
                        guest.whereabouts.arrive();
                        numbers.disturb(&mut guest);
                        if let Some(moves) = moves.checked_sub(1) {
                            let _ = next.send((guest, moves));
                        }
                    }
                }
            });
        }
    });
    node.guest(&image).unwrap().check(Some(3));
}

#[test]
fn a_guest_that_wrote_on_another_thread_and_came_back_leaves_nothing() {
    let node = node(1, 1 << 20);
    let image = node.image(3);
    let (there, arrivals) = mpsc::sync_channel::<(Guest, usize)>(1);
    let (back, returns) = mpsc::sync_channel(1);
    let other = thread::spawn(move || {
        for (mut guest, at) in arrivals {
            guest.whereabouts.arrive();
            guest.write(at);
            back.send(guest).unwrap();
        }
    });
    for page in (0..BYTES).step_by(PAGE) {
        // This thread is made to have no faults of its own.
        for _ in 0..3 {
            node.guest(&image).unwrap().check(Some(3));
        }
        there.send((node.guest(&image).unwrap(), page)).unwrap();
        let guest = returns.recv().unwrap();
        guest.whereabouts.arrive();
        drop(guest);
        node.guest(&image).unwrap().check(Some(3));
    }
    drop(there);
    other.join().unwrap();
}

#[test]
fn a_slot_keeps_its_pages_for_the_next_guest() {
    let node = node(1, 1 << 20);
    let image = node.image(3);
    let mut guest = node.guest(&image).unwrap();
    let address = guest.address();
    let pages = [0, START, START + PAGE, BYTES - PAGE];
    pages.iter().for_each(|&at| guest.write(at));
    drop(guest);
    assert_eq!(resident(address, BYTES), pages.len());
    let mut next = node.guest(&image).unwrap();
    assert_eq!(next.address(), address);
    next.check(Some(3));
    assert_eq!(resident(address, BYTES), pages.len());
}

#[test]
fn a_slot_keeps_no_more_than_it_may() {
    let node = node(1, 5 * PAGE);
    let image = node.image(3);
    let mut guest = node.guest(&image).unwrap();
    let address = guest.address();
    (0..BYTES).step_by(2 * PAGE).for_each(|at| guest.write(at));
    guest.memory.grow(&mut guest.store, 1).unwrap();
    guest.write(BYTES);
    drop(guest);
    assert_eq!(resident(address, 2 * BYTES), 5);
    node.guest(&image).unwrap().check(Some(3));
}

#[test]
fn free_slots_are_given_back_and_live_ones_are_not() {
    let node = node(4, 1 << 20);
    let image = node.image(9);
    let mut guests: Vec<_> = (0..4).map(|_| node.guest(&image).unwrap()).collect();
    for guest in &mut guests {
        (0..BYTES).step_by(PAGE).for_each(|at| guest.write(at));
    }
    let free: Vec<_> = guests.split_off(1).iter().map(Guest::address).collect();
    let held = |address: &usize| resident(*address, BYTES);
    assert!(free.iter().map(held).all(|pages| pages == BYTES / PAGE));
    assert_eq!(node.memories.decommit(), 3);
    assert!(free.iter().map(held).all(|pages| pages == 0));
    assert_eq!(held(&guests[0].address()), BYTES / PAGE);
    assert_eq!(node.memories.decommit(), 0);
    for _ in 0..3 {
        let mut guest = node.guest(&image).unwrap();
        guest.check(Some(9));
        guests.push(guest);
    }
}

#[test]
fn when_all_are_in_use_the_next_is_refused() {
    let node = node(2, 1 << 20);
    let [one, other] = [1, 2].map(|salt| node.image(salt));
    let first = node.guest(&one).unwrap();
    let second = node.guest(&one).unwrap();
    let refused = node.guest(&other).err().unwrap();
    assert!(refused.chain().any(|cause| cause.to_string() == EXHAUSTED), "{refused:?}");
    drop(second);
    // A free slot becomes another image's.
    node.guest(&other).unwrap().check(Some(2));
    drop(first);
    node.guest(&one).unwrap().check(Some(1));
}

#[test]
fn slots_of_an_image_that_is_gone_are_used_again() {
    let node = node(1, 1 << 20);
    for salt in 0..100 {
        let image = node.image(salt);
        let mut guest = node.guest(&image).unwrap();
        guest.check(Some(salt));
        guest.write(0);
        guest.write(START);
        // The guest lives longer than whoever made it.
        drop(image);
    }
    assert!(lock(&node.memories.images).known.len() < 40);
}

#[test]
fn a_memory_grows_to_what_it_may_and_no_further() {
    const SLOT_BYTES: usize = 4 << 20;
    let node = node_of(MemoriesOptions { slot_bytes: SLOT_BYTES, ..OPTIONS });
    let image = Image::blank(&node.memories);
    let mut guest = node.guest(&image).unwrap();
    let left = ((SLOT_BYTES - BYTES) >> 16) as u64;
    assert!(guest.memory.grow(&mut guest.store, left + 1).is_err());
    guest.memory.grow(&mut guest.store, left).unwrap();
    guest.write(SLOT_BYTES - 1);
    assert_eq!(guest.read(SLOT_BYTES - 1).unwrap(), 1);
    assert!(guest.read(SLOT_BYTES).is_err());
    drop(guest);
    node.guest(&image).unwrap().check(None);
}

#[test]
fn a_memory_too_small_for_its_image_is_zero() {
    let node = node(1, 1 << 20);
    let image = Image::new(&node.memories, file(&[1; PAGE]), BYTES, PAGE).unwrap();
    for _ in 0..3 {
        let mut guest = node.guest(&image).unwrap();
        guest.check(None);
        guest.write(BYTES - 1);
    }
}

#[test]
fn a_memory_outside_of_an_instance_is_refused() {
    let node = node(1, 1 << 20);
    let mut store = Store::new(node.module.engine(), ());
    assert!(Instance::new(&mut store, &node.module, &[]).is_err());
    // Nor is it one of another node's.
    let other = Image::blank(&self::node(1, 0).memories);
    assert!(node.guest(&other).is_err());
}

#[test]
fn an_image_that_is_not_whole_pages_of_a_memory_is_refused() {
    let node = node(1, 1 << 20);
    for (start, bytes) in
        [(1, PAGE), (0, PAGE - 1), (0, 0), (SLOT_BYTES, PAGE), (usize::MAX - PAGE + 1, PAGE)]
    {
        let image = Image::new(&node.memories, file(&[0; 2 * PAGE]), start, bytes);
        assert!(matches!(image, Err(ImageError::Placed { .. })), "{start} {bytes}");
    }
}

#[test]
fn an_image_in_a_file_that_can_be_changed_is_refused() {
    let node = node(1, 1 << 20);
    let refused = |file| matches!(Image::new(&node.memories, file, 0, PAGE), Err(ImageError::Unsealed));
    assert!(refused(unsealed(&[0; PAGE]).into()));
    let shortens = unsealed(&[0; PAGE]);
    fcntl_add_seals(&shortens, SealFlags::WRITE).unwrap();
    assert!(refused(shortens.into()));
    // A file that cannot be sealed at all.
    assert!(refused(File::open("/proc/self/exe").unwrap().into()));
}

#[test]
fn more_than_there_are_addresses_is_refused() {
    for slots in [1 << 30, usize::MAX] {
        assert!(Memories::new(MemoriesOptions { slots, ..OPTIONS }).is_err());
    }
}

mod attacks;
mod audited;
