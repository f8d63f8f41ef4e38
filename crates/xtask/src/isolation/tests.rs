//! Facts about the comparison of ways: within a round, by medians.

use super::*;

#[test]
fn ways_are_compared_within_a_round() {
    // The machine was twice as slow in the second round.
    let samples = Samples(vec![vec![10.0, 11.0], vec![20.0, 22.0], vec![10.0, 12.0]]);
    assert_eq!(samples.median(1), 12.0);
    assert_eq!(samples.against_first(0), "");
    assert_eq!(samples.against_first(1), "1.100 [1.100–1.100]");
}

#[test]
fn a_way_is_named_to_the_program() {
    let args = |reset, is_linked| Way { reset, is_linked }.args().join(" ".as_ref());
    assert_eq!(args("scan", true), "--memory-reset scan");
    assert_eq!(args("discard", false), "--memory-reset discard --unlinked");
}
