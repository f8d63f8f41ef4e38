//! Which gaps are closed, and that a guest does not notice.

use wasmtime::Module;

use super::*;
use crate::{
    artifacts::Code,
    sweep::tests::{engines, guest_without_writing, resident},
};

/// `(module (memory (export "m") 8) (data (i32.const 0) "x"))`
const GUEST: &[u8] = b"\0asm\x01\0\0\0\x05\x03\x01\0\x08\x07\x05\x01\x01m\x02\0\x0b\x07\x01\0\x41\0\x0b\x01x";

const GUEST_PAGES: usize = (8 << 16) / 4096;

const COMPONENT: Digest = Digest([7; 32]);

/// How many pages of its own each slot has that has memory of `component`.
pub(crate) fn pages_kept(component: Digest) -> Vec<usize> {
    let page_map = File::open("/proc/self/pagemap").unwrap();
    let page_bytes = maps::page_bytes().unwrap();
    let memories = memories(&maps::read().unwrap(), &format!("/memfd:{component}"));
    let kept =
        |memory: Memory| written(&page_map, &memory.range, page_bytes).unwrap().iter().map(Pages::len).sum();
    memories.into_iter().map(kept).collect()
}

/// Ranges of one page, each `gap` pages after the one before.
fn scattered(count: usize, gap: usize) -> Vec<Pages> {
    (0..count).map(|at| at * (gap + 1)).map(|page| page..page + 1).collect()
}

#[test]
fn smallest_gaps_are_closed_first() {
    let mut written = scattered(40, 9);
    written[7] = 70..78;
    written[20] = 193..201;
    let joined = join(written.clone(), 1000).unwrap();
    assert_eq!(joined.len(), RANGES_AIM);
    assert!(joined.iter().any(|range| range.contains(&78) && range.contains(&79)));
    assert!(joined.iter().any(|range| range.contains(&191) && range.contains(&192)));
    assert!(without(&written, &joined).is_empty());
}

#[test]
fn few_ranges_stay_as_they_are() {
    assert_eq!(join(scattered(RANGES_AIM, 1), 1000), Some(scattered(RANGES_AIM, 1)));
    assert_eq!(join(Vec::new(), 1000), Some(Vec::new()));
}

#[test]
fn a_slot_keeps_no_more_than_it_may() {
    // 60 pages, and 29 of the 59 gaps of a page: 31 ranges.
    assert_eq!(join(scattered(60, 1), 89).unwrap().len(), 31);
    assert_eq!(join(scattered(60, 1), 88), None, "the engine would not ask for that many");
    assert_eq!(join(scattered(60, 1), 10), None);
}

#[test]
fn ranges_that_touch_are_one() {
    assert_eq!(union(vec![5..6, 0..2, 2..3, 1..2, 9..10]), [0..3, 5..6, 9..10]);
}

#[test]
fn what_others_have_is_taken_out() {
    assert_eq!(without(&[0..10, 20..30], &[2..3, 5..7, 9..22, 29..40]), [0..2, 3..5, 7..9, 22..29]);
    assert_eq!(without(&[0..10, 11..12], &[]), [0..10, 11..12]);
    assert_eq!(without(&[0..1, 4..6], &[2..4, 6..9]), [0..1, 4..6]);
    let whole = Pages { start: 0, end: 10 };
    assert!(without(&[1..2, 4..6], std::slice::from_ref(&whole)).is_empty());
}

#[test]
fn memories_are_whole_and_of_one_component() {
    let maps = "\
1000-3000 rw-p 00000000 00:00 0 
3000-5000 rw-p 00007000 00:01 12 /memfd:abc-http02 (deleted)
5000-6000 rw-p 00000000 00:00 0 
6000-9000 ---p 00000000 00:00 0 
9000-a000 r--p 00007000 00:01 12 /memfd:abc-http02 (deleted)
b000-c000 rw-p 00008000 00:01 12 /memfd:abc-http02 (deleted)
c100-d000 rw-p 00000000 00:00 0 
e000-f000 rw-p 00007000 00:01 13 /memfd:other (deleted)
";
    let memory = |range, image| Memory { range, image };
    assert_eq!(
        memories(maps, "/memfd:abc"),
        [memory(0x1000..0x6000, 0x7000), memory(0xb000..0xc000, 0x8000)]
    );
}

#[test]
fn memory_of_a_guest_that_writes_here_and_there_stays_resident_and_is_reset() {
    let engines = engines();
    let engine = &engines.sequential;
    let serialized = engine.precompile_module(GUEST).unwrap();
    let code = Code::copy(&COMPONENT.to_string(), serialized.as_slice(), |_| {}).unwrap();
    let module: Module = code.module(engine).unwrap();
    let gaps = Arc::new(Gaps::new(1 << 20, maps::page_bytes().unwrap()));
    let write = |data: &mut [u8]| data.chunks_mut(2 * 4096).for_each(|pages| pages[..4096].fill(7));
    let (mut store, memory, address) = guest_without_writing(&module);
    write(memory.data_mut(&mut store));
    drop(store);
    assert_eq!(resident(address, GUEST_PAGES), RANGES_MAX, "the engine asks for so many ranges");

    let (mut store, memory, address) = guest_without_writing(&module);
    let other = guest_without_writing(&module);
    write(memory.data_mut(&mut store));
    let looking = gaps.look(Duration::ZERO).unwrap();
    assert!(gaps.look(Duration::ZERO).is_none(), "one at a time");
    drop(looking);
    let closed = gaps.look(Duration::ZERO).unwrap().close(COMPONENT).unwrap();
    // 64 ranges with gaps of a page between them.
    assert_eq!(closed, 64 - RANGES_AIM);
    let pages = memory.data(&store).chunks(4096);
    assert!(
        pages.enumerate().all(|(at, page)| page.iter().all(|&byte| byte == if at % 2 == 0 { 7 } else { 0 }))
    );
    assert!(resident(other.2, GUEST_PAGES) <= 1, "an instance that has not run is left alone");
    assert_eq!(gaps.look(Duration::ZERO).unwrap().close(COMPONENT).unwrap(), 0, "it is done once");
    assert_eq!(
        gaps.look(Duration::ZERO).unwrap().close(Digest([8; 32])).unwrap(),
        0,
        "of another component nothing was said"
    );

    drop(store);
    assert_eq!(resident(address, GUEST_PAGES), GUEST_PAGES, "nothing is given back");
    // The pool gives a module the slots that it had.
    let again: Vec<_> = (0..4).map(|_| guest_without_writing(&module)).collect();
    let (store, memory, _) = again.iter().find(|&&(_, _, found)| found == address).unwrap();
    assert_eq!(memory.data(store)[0], b'x');
    assert!(memory.data(store)[1..].iter().all(|&byte| byte == 0));
}

#[test]
fn looks_take_a_hundredth_of_the_time() {
    let gaps = Arc::new(Gaps::new(1 << 20, maps::page_bytes().unwrap()));
    let ms = Duration::from_millis;
    gaps.look(ms(100)).unwrap().end(ms(102));
    assert!(gaps.look(ms(102 + 197)).is_none());
    assert!(gaps.look(ms(102 + 198)).is_some());
    // Dropped, as when its thread ends: nobody rests for it.
    assert!(gaps.look(ms(102 + 198)).is_some());
}

#[test]
fn components_are_looked_at_less_often_the_longer_it_is_of_no_use() {
    let attention = Attention::default();
    let until_look = || {
        let mut counts = 1;
        attention.faulted();
        while !attention.is_wanted() {
            attention.faulted();
            counts += 1;
        }
        counts
    };
    assert!(!attention.is_wanted(), "nobody faulted");
    assert_eq!(until_look(), 1);
    let counts: Vec<_> = (0..12)
        .map(|_| {
            attention.looked(false);
            assert!(!attention.is_wanted());
            until_look()
        })
        .collect();
    assert_eq!(counts, [2, 4, 8, 16, 32, 64, 128, 256, 512, 512, 512, 512]);
    attention.looked(true);
    assert_eq!(until_look(), 1);
}

#[test]
fn faults_are_found_behind_any_name() {
    let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1234 0 5 0 3 1 0 0 20 0 4 0 100 200 300";
    assert_eq!(faults(stat), Some(1234));
    assert_eq!(faults("7 (a) S 1"), None);
    assert_eq!(faults(""), None);
    let mut faults = Faults::default();
    faults.are_many().unwrap();
    // Far more pages than `FAULTS_MIN`, each touched.
    let touched = vec![1_u8; 64 << 20];
    assert!(faults.are_many().unwrap(), "{} bytes", touched.len());
}
