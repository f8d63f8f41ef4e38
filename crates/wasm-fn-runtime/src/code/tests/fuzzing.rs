//! Runs components of random shapes in every form. They follow from `WASM_FN_TEST_SEED`, by default 1.
//!
//! An ordinary run takes some hundred, or as many as fit in `WASM_FN_LINKING_SECONDS`. `WASM_FN_FUZZ_CASE`
//! runs one, and prints its text. What is found becomes a test in `found.rs`.

#![expect(clippy::disallowed_methods, reason = "the time bounds a run, and decides nothing in it")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    forms::{Forms, Problem},
    shape,
};

/// Components of an ordinary run.
const CASES: u64 = 400;

/// Longest ordinary run.
const TIME: Duration = Duration::from_secs(5);

/// Largest memory of a guest.
const MEMORY_BYTES_MAX: usize = 2 << 20;

/// With fewer components of a shape, it is chance how many are linked.
const RARE: u64 = 50;

/// Differences after which a run ends.
const DIFFERENCES_MAX: usize = 20;

/// What became of the components of one shape.
#[derive(Default)]
struct Count {
    ran: u64,
    linked: u64,
    data_out: u64,
    with_smith: u64,
    trapped: u64,
    refused: u64,
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn components_of_all_shapes_do_the_same_in_every_form() {
    let seed = setting("WASM_FN_TEST_SEED").unwrap_or(1);
    let seconds = setting("WASM_FN_LINKING_SECONDS").map(Duration::from_secs);
    let only = setting("WASM_FN_FUZZ_CASE");
    let (begun, time, forms) = (Instant::now(), seconds.unwrap_or(TIME), Forms::new(MEMORY_BYTES_MAX));
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    let mut traps: BTreeMap<String, u64> = BTreeMap::new();
    let (mut different, mut number) = (Vec::new(), only.unwrap_or(0));
    while begun.elapsed() < time && (seconds.is_some() || number < CASES || only.is_some()) {
        let made = shape::make(seed, number);
        let count = counts.entry(made.shape).or_default();
        let result = forms.run(&made.component, &made.calls);
        if only.is_some() {
            println!("{}\n{:?}\n{result:?}", made.text, made.calls);
        }
        match result {
            Ok(ran) => {
                count.ran += 1;
                count.with_smith += u64::from(made.smiths > 0);
                count.data_out += u64::from(ran.data_is_out);
                count.linked += u64::from(ran.not_linked.is_none());
                count.trapped += u64::from(ran.outcome.trapped().is_some());
                if let Some(trap) = ran.outcome.trapped() {
                    let started = if ran.outcome.results.len() > 1 { "" } else { "start: " };
                    *traps.entry(format!("{started}{trap}")).or_default() += 1;
                }
                if let Some(reason) = ran.not_linked {
                    *reasons.entry(reason).or_default() += 1;
                }
            }
            Err(Problem::Refused(reason)) => {
                count.refused += 1;
                *reasons
                    .entry(format!("refused: {}", reason.lines().last().unwrap_or_default()))
                    .or_default() += 1;
            }
            Err(Problem::Differs(how)) => {
                println!(
                    "case {number} of seed {seed}, {}, {} of wasm-smith: {how}",
                    made.shape, made.smiths
                );
                different.push(number);
            }
        }
        number += 1;
        if only.is_some() || different.len() >= DIFFERENCES_MAX {
            break;
        }
    }
    let (mut ran, mut linked) = (0, 0);
    for (shape, count) in &counts {
        let Count { ran: of_shape, linked: of_linked, data_out, with_smith, trapped, refused } = count;
        println!(
            "{shape:10} ran {of_shape:7}, linked {of_linked:7}, data out {data_out:7}, with wasm-smith \
             {with_smith:7}, trapped {trapped:7}, refused {refused}"
        );
        ran += of_shape;
        linked += of_linked;
        // One module has nothing to be linked with.
        let is_rare = *of_shape < RARE;
        assert!(*shape == "alone" || is_rare || 2 * of_linked > *of_shape, "{shape} is seldom linked");
    }
    for (reason, count) in reasons {
        println!("{count:7} not linked: {reason}");
    }
    for (trap, count) in traps {
        println!("{count:7} trapped: {trap}");
    }
    let isolation = forms.isolation();
    println!("seed {seed}: {ran} components ran, {linked} of them linked; {isolation:?}");
    assert_eq!(different, Vec::<u64>::new(), "cases of seed {seed} that differ");
    assert_eq!(isolation.faults, 0, "a memory was not reset");
}
