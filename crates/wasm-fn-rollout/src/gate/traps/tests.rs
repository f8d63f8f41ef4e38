//! Tests of novel traps: how many hits are too many, and how likely a trap that both versions have hits so
//! often.

use super::{Chance, HITS_MIN, KNOWN_MAX, NOVEL_MAX, Traps};

/// A usual part of alpha.
const ALPHA: f64 = 0.0000375;

/// Hits that fail a trap which is the `number`th to be novel.
fn needed(number: u64, chance: Chance, alpha: f64) -> Option<u64> {
    let mut traps = Traps::default();
    (1..number).for_each(|other| _ = traps.take(1000 + other, None, chance, alpha));
    (1..=1000).find_map(|_| traps.take(9, None, chance, alpha))
}

#[test]
fn hits_needed_follow_from_the_share() {
    let by_share = |share| needed(1, Chance::Share(share), ALPHA).unwrap();
    assert_eq!([0.0001, 0.01, 0.1, 0.5].map(by_share), [3, 3, 6, 17]);
}

#[test]
fn a_trap_of_both_sides_hits_the_canary_alone_no_more_often_than_alpha_says() {
    // Until stable shows it, each hit is the canary's with the probability of its share.
    for share in [0.0001_f64, 0.01, 0.1, 0.5, 0.9, 0.999] {
        for alpha in [0.01, 0.001, ALPHA] {
            let numbers = [1, 2, 3, 10, 50];
            let each = numbers.map(|number| {
                let hits = needed(number, Chance::Share(share), alpha).unwrap_or(u64::MAX);
                share.powf(hits as f64)
            });
            assert!(each[0] <= alpha / 4.0, "share {share}, alpha {alpha}: {}", each[0]);
            for (number, chance) in numbers.into_iter().zip(each) {
                let part = alpha / (2 * number * (number + 1)) as f64;
                assert!(chance <= part * 1.000_001, "share {share}, trap {number}: {chance} > {part}");
            }
        }
    }
}

#[test]
fn the_parts_of_all_novel_traps_add_up_to_half_of_alpha() {
    let sum: f64 = (1..=1_000_000_u64).map(|number| 1.0 / (2 * number * (number + 1)) as f64).sum();
    assert!(sum <= 0.5 && sum > 0.499_99, "{sum}");
}

/// The probability that a trap with `rate`, which both versions have, spares all of `stable` requests and
/// then fails the canary within `requests`: exact, by the number of hits so far.
fn fails_by_past(rate: f64, stable: u64, requests: u64, alpha: f64) -> f64 {
    // The hits by which it fails: at each number of them, up to which request of the canary.
    let enough = |hits: usize, canary: u64| {
        let mut traps = Traps::default();
        let early = Chance::Past { canary: u64::MAX, stable };
        (1..hits).for_each(|_| _ = traps.take(9, None, early, alpha));
        traps.take(9, None, Chance::Past { canary, stable }, alpha).is_some()
    };
    let mut alive = vec![(1.0 - rate).powf(stable as f64)];
    let mut failed = 0.0;
    for canary in 1..=requests {
        let mut next = vec![0.0; (alive.len() + 1).min(60)];
        for (hits, probability) in alive.iter().enumerate() {
            next[hits] += probability * (1.0 - rate);
            let hit = probability * rate;
            match next.get_mut(hits + 1) {
                Some(_) if hit > 1e-15 && enough(hits + 1, canary) => failed += hit,
                Some(next) => *next += hit,
                None => failed += hit,
            }
        }
        alive = next;
    }
    failed
}

#[test]
fn a_trap_that_the_past_happens_not_to_have_fails_no_more_often_than_alpha_says() {
    for stable in [0, 10, 100, 1_000] {
        for rate in [0.001, 0.003, 0.01, 0.05] {
            let alpha = 0.01;
            let failed = fails_by_past(rate, stable, 400, alpha);
            assert!(failed <= alpha / 4.0, "rate {rate}, past of {stable}: {failed}");
        }
    }
}

#[test]
fn a_long_past_needs_few_hits_and_none_needs_more_than_there_can_be() {
    let past = |canary, stable| needed(1, Chance::Past { canary, stable }, ALPHA);
    assert_eq!(past(3, 1_000_000), Some(HITS_MIN));
    assert_eq!(past(1_000, 10_000), Some(7));
    assert_eq!(past(1_000, 0), None);
}

#[test]
fn hits_of_both_kinds_are_counted_apart() {
    let mut traps = Traps::default();
    let (share, past) = (Chance::Share(0.1), Chance::Past { canary: 1_000, stable: 10_000 });
    assert!((0..5).all(|_| traps.take(9, None, share, ALPHA).is_none()));
    assert!((0..6).all(|_| traps.take(9, None, past, ALPHA).is_none()));
    assert_eq!(traps.take(9, None, share, ALPHA), Some(12));
}

#[test]
fn traps_that_stable_has_too_are_not_novel() {
    let (mut traps, rare) = (Traps::default(), Chance::Share(0.0001));
    traps.know(9);
    assert!((0..10).all(|_| traps.take(9, None, rare, ALPHA).is_none()));
    assert!((0..2).all(|_| traps.take(8, None, rare, ALPHA).is_none()));
    assert_eq!(traps.novel_hits(8), Some(2));
    traps.know(8);
    assert_eq!(traps.take(8, None, rare, ALPHA), None);
    assert_eq!(traps.novel_hits(8), None);
}

#[test]
fn one_user_is_one_hit() {
    let (mut traps, rare) = (Traps::default(), Chance::Share(0.0001));
    assert!((0..10).all(|_| traps.take(9, Some(1), rare, ALPHA).is_none()));
    assert_eq!(traps.take(9, Some(2), rare, ALPHA), None);
    assert_eq!(traps.take(9, Some(3), rare, ALPHA), Some(3));
}

#[test]
fn endless_fingerprints_are_bounded_on_both_sides() {
    let (mut traps, rare) = (Traps::default(), Chance::Share(0.0001));
    (0..100_000).for_each(|fingerprint| _ = traps.take(fingerprint, None, rare, ALPHA));
    assert_eq!(traps.novel.len(), NOVEL_MAX);
    (0..100_000).for_each(|fingerprint| traps.know(fingerprint));
    assert_eq!(traps.known.len(), KNOWN_MAX);
    assert!((0..3).all(|_| traps.take(1 << 40, None, rare, ALPHA).is_none()), "perhaps stable had it");
    let stored = Traps::knowing(traps.known().collect(), traps.known_overflowed());
    assert!(stored.known_overflowed() && stored.known.len() == KNOWN_MAX);
}
