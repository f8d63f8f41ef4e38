//! What the kernel says of a process is read right.

use super::ticks;

#[test]
fn cpu_time_is_user_and_kernel_time_without_that_of_children() {
    let stat = "7 (wasm-fn) S 1 7 7 0 -1 4194560 900 0 3 0 1200 34 5 6 20 0 4 0 100 1000000 500";
    assert_eq!(ticks(stat), Some(1234));
}

#[test]
fn name_of_a_process_may_hold_blanks_and_parentheses() {
    let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 900 0 3 0 1 2 5 6 20 0 4 0 100 1000000 500";
    assert_eq!(ticks(stat), Some(3));
}

#[test]
fn text_that_ends_early_has_no_times() {
    assert_eq!(ticks("7 (wasm-fn) S 1 7 7 0 -1 4194560 900 0 3 0 1200"), None);
    assert_eq!(ticks(""), None);
}
