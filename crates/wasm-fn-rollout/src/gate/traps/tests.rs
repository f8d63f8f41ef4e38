//! Tests of novel traps.

use wasm_fn_core::Side;

use super::{KNOWN_MAX, NOVEL_MAX, Traps};

#[test]
fn the_third_hit_of_a_novel_trap_is_too_many() {
    let mut traps = Traps::default();
    let hits = [(); 3].map(|()| traps.take(Side::Canary, 9, None));
    assert_eq!(hits, [None, None, Some(3)]);
}

#[test]
fn traps_that_stable_has_too_are_not_novel() {
    let mut traps = Traps::default();
    traps.take(Side::Stable, 9, None);
    assert!((0..10).all(|_| traps.take(Side::Canary, 9, None).is_none()));
    traps.take(Side::Canary, 8, None);
    traps.take(Side::Canary, 8, None);
    traps.take(Side::Stable, 8, None);
    assert_eq!(traps.take(Side::Canary, 8, None), None);
}

#[test]
fn one_user_is_one_hit() {
    let mut traps = Traps::default();
    assert!((0..10).all(|_| traps.take(Side::Canary, 9, Some(1)).is_none()));
    assert_eq!(traps.take(Side::Canary, 9, Some(2)), None);
    assert_eq!(traps.take(Side::Canary, 9, Some(3)), Some(3));
}

#[test]
fn endless_fingerprints_are_bounded_on_both_sides() {
    let mut traps = Traps::default();
    (0..100_000).for_each(|fingerprint| _ = traps.take(Side::Canary, fingerprint, None));
    assert_eq!(traps.novel.len(), NOVEL_MAX);
    (0..100_000).for_each(|fingerprint| _ = traps.take(Side::Stable, fingerprint, None));
    assert_eq!(traps.known.len(), KNOWN_MAX);
    assert!((0..3).all(|_| traps.take(Side::Canary, 1 << 40, None).is_none()), "perhaps stable had it");
}
