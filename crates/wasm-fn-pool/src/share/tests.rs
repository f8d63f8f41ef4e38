//! Facts about `share`.

use super::*;

/// What each of `greedy` ends up with of `all` when they take turns until none may take more.
fn settled(all: u64, greedy: usize) -> Vec<u64> {
    let mut held = vec![0; greedy];
    loop {
        let mut taken = false;
        for one in 0..greedy {
            let free = all - held.iter().sum::<u64>();
            if free > 0 && has(held[one] + 1, free - 1) {
                held[one] += 1;
                taken = true;
            }
        }
        if !taken {
            return held;
        }
    }
}

#[test]
fn one_alone_gets_seven_eighths() {
    for all in [8, 80, 750, 7500] {
        let held = settled(all, 1)[0];
        assert!(held.abs_diff(all * 7 / 8) <= 1, "{held} of {all}");
        assert!(held <= u64::from(max(u32::try_from(all).unwrap())));
    }
}

#[test]
fn greedy_ones_get_the_same_and_leave_something() {
    for greedy in 1..10 {
        let held = settled(750, greedy);
        let (least, most) = (held.iter().min().unwrap(), held.iter().max().unwrap());
        assert!(most - least <= 1, "{held:?}");
        let free = 750 - held.iter().sum::<u64>();
        assert!(free >= 1, "{held:?}");
        let fair = 750 * 7 / (7 * greedy as u64 + 1);
        assert!(most.abs_diff(fair) <= 1, "{held:?}, expected about {fair}");
    }
}

#[test]
fn whoever_came_first_yields_to_whoever_comes_later() {
    // One holds what it got alone. Each gives back one in its turn, and then everybody asks.
    let (all, mut held) = (750, [656, 0]);
    for turn in 0..10_000 {
        let one = turn % 2;
        held[one] = u64::saturating_sub(held[one], 1);
        for asking in [one, 1 - one] {
            let free = all - held[0] - held[1];
            if free > 0 && has(held[asking] + 1, free - 1) {
                held[asking] += 1;
            }
        }
    }
    assert!(held[0].abs_diff(held[1]) <= 2, "{held:?}");
    assert!(held[0].abs_diff(750 * 7 / 15) <= 2, "{held:?}");
}

#[test]
fn a_single_place_is_for_anybody() {
    assert_eq!([max(1), max(4), max(8), max(750)], [1, 4, 7, 657]);
}
