//! Facts about what is charged. Whole guests are in the tests of `node::runtime`.

use super::*;

/// Longer than anything that runs between two readings of a clock.
const A_WHILE: Duration = Duration::from_millis(20);

fn cpu() -> Cpu {
    Cpu::new(Arc::new(EpochTicker::new(1, 10)))
}

fn compute(time: Duration) {
    let begun = thread_time();
    while thread_time() < begun + time {
        std::hint::spin_loop();
    }
}

#[test]
fn guest_without_a_limit_is_not_measured_until_it_is_past_an_epoch() {
    let cpu = cpu();
    cpu.begin(None);
    cpu.resume();
    compute(A_WHILE);
    assert!(!cpu.pause());
    assert_eq!(cpu.account().spent, Duration::ZERO);
}

#[test]
fn only_what_passes_between_resume_and_pause_is_charged() {
    let cpu = cpu();
    cpu.begin(Some(A_WHILE * 2));
    cpu.resume();
    compute(A_WHILE);
    assert!(!cpu.pause());
    // Another guest on the same thread.
    compute(A_WHILE * 10);
    cpu.resume();
    assert!(!cpu.pause());
    let spent = cpu.account().spent;
    assert!(spent >= A_WHILE && spent < A_WHILE * 2, "{spent:?}");
}

#[test]
fn next_request_begins_with_nothing_charged() {
    let cpu = cpu();
    for _ in 0..3 {
        cpu.begin(Some(A_WHILE * 2));
        cpu.resume();
        compute(A_WHILE);
        assert!(!cpu.pause());
        assert!(!cpu.is_over());
    }
    cpu.begin(Some(A_WHILE / 2));
    cpu.resume();
    compute(A_WHILE);
    assert!(cpu.pause());
    assert!(cpu.is_over());
}

#[test]
fn guest_is_measured_once_it_computed_through_an_epoch_after_the_one_it_was_resumed_in() {
    let cpu = cpu();
    cpu.resume();
    for measured in [false, false, true] {
        assert_eq!(cpu.check(), CpuCheck::Short);
        assert_eq!(cpu.measured.load(Relaxed), measured);
        assert_eq!(cpu.ticker.advance(&[]), Some(measured));
    }
    compute(A_WHILE);
    assert_eq!(cpu.check(), CpuCheck::Long);
}

#[test]
fn guest_that_is_measured_stands_back_after_each_epoch() {
    let cpu = cpu();
    cpu.begin(Some(A_WHILE * 10));
    cpu.resume();
    compute(A_WHILE);
    assert_eq!(cpu.check(), CpuCheck::Short);
    cpu.ticker.advance(&[]);
    assert_eq!(cpu.check(), CpuCheck::Long);
}
