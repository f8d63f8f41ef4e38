//! Gives a parser what a hostile sender could: files of a corpus, changed by chance. The tests of several
//! crates include this file, which knows none of them.
//!
//! An ordinary run takes some thousand cases, or `WASM_FN_FUZZ_SECONDS` if that is set. The cases follow from
//! `WASM_FN_TEST_SEED`, by default 1. A case that fails is printed: it becomes a named test.

#![expect(clippy::disallowed_methods, reason = "the time bounds a run, and decides nothing in it")]

use std::{
    fs,
    panic::{self, AssertUnwindSafe},
    path::Path,
    time::{Duration, Instant},
};

/// Cases of an ordinary run.
const CASES: u64 = 4000;

/// Longest ordinary run: enough for all cases where nothing else runs.
const TIME: Duration = Duration::from_secs(5);

/// Longest case, bytes.
const CASE_BYTES_MAX: usize = 64 << 10;

/// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below a usize")
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// The files in `folder` of the repository, in the order of their names.
pub(crate) fn corpus(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.expect("the corpus can be listed").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).expect("the corpus can be read")).collect()
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Gives `check` every file of `corpus` as it is, and then changed ones. It panics if something is wrong.
pub(crate) fn fuzz(target: &str, corpus: &[Vec<u8>], check: impl Fn(&[u8])) {
    let seed = setting("WASM_FN_TEST_SEED").unwrap_or(1);
    let seconds = setting("WASM_FN_FUZZ_SECONDS").map(Duration::from_secs);
    let (begun, time) = (Instant::now(), seconds.unwrap_or(TIME));
    let run = |number: u64, case: &[u8]| {
        if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| check(case))) {
            let shown = &case[..case.len().min(4096)];
            eprintln!(
                "{target}: case {number} of seed {seed}, {} bytes: {}",
                case.len(),
                shown.escape_ascii()
            );
            panic::resume_unwind(panic);
        }
    };
    assert!(!corpus.is_empty(), "{target} has no corpus");
    corpus.iter().for_each(|file| run(0, file));
    let mut number = 0;
    while begun.elapsed() < time && (seconds.is_some() || number < CASES) {
        number += 1;
        run(number, &mutated(corpus, &mut Random(seed ^ number.rotate_left(32))));
    }
    println!("{target}: {number} cases of seed {seed}");
}

/// A file of `corpus`, changed in a few places.
fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut case = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(6) {
        mutate(&mut case, corpus, random);
    }
    case.truncate(CASE_BYTES_MAX);
    case
}

fn mutate(case: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    // What parsers treat in a way of its own: ends, signs, limits of integers, halves of characters.
    const WORDS: [&[u8]; 24] = [
        b"\0",
        b"\"",
        b"\\",
        b"\r\n",
        b"\n\n",
        b";",
        b"=",
        b":",
        b",",
        b"{",
        b"}",
        b"[",
        b"]",
        b"-1",
        b"18446744073709551616",
        b"1e999",
        b"null",
        b"\xff\xfe",
        b"\xc3",
        b"\xed\xa0\x80",
        b"%00",
        b"\\u0000",
        b"\xff\xff\xff\xff\x0f",
        b"\x80\x80\x80\x80\x80",
    ];
    let at = random.below(case.len() + 1);
    let length = random.below(1 + (case.len() - at).min(64));
    match random.below(8) {
        0 if at < case.len() => case[at] ^= 1 << random.below(8),
        1 if at < case.len() => case[at] = random.byte(),
        2 => drop(case.drain(at..at + length)),
        3 => {
            let piece = case[at..at + length].to_vec();
            let times = 1 + random.below(50);
            drop(case.splice(at..at, piece.repeat(times)));
        }
        4 => case.truncate(at),
        5 => {
            let other = &corpus[random.below(corpus.len())];
            let from = random.below(other.len() + 1);
            let to = from + random.below(other.len() - from + 1);
            drop(case.splice(at..at + length, other[from..to].iter().copied()));
        }
        _ => drop(case.splice(at..at, WORDS[random.below(WORDS.len())].iter().copied())),
    }
}
