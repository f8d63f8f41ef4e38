//! How often resets are audited. Each test has a thread of its own, and so a count of its own.

use super::*;

fn compared(one_in: u32, resets: usize) -> usize {
    let audit = Audit::new(MemoryReset::Scan, one_in);
    (0..resets).filter(|_| audit.compares()).count()
}

#[test]
fn every_reset_is_audited_if_all_are_to_be() {
    assert_eq!(compared(1, 1000), 1000);
}

#[test]
fn no_reset_is_audited_if_none_is_to_be() {
    assert_eq!(compared(0, 1000), 0);
}

#[test]
fn one_in_so_many_is_audited_on_average() {
    // Miri interprets each instruction.
    let (resets, expected) = if cfg!(miri) { (20_000, 130..=270) } else { (1_000_000, 9_500..=10_500) };
    let compared = compared(100, resets);
    assert!(expected.contains(&compared), "{compared}");
}

#[test]
fn audits_do_not_follow_turns() {
    let audit = Audit::new(MemoryReset::Scan, 2);
    let (mut even, mut odd) = (0, 0);
    for at in 0..10_000 {
        if audit.compares() {
            *(if at % 2 == 0 { &mut even } else { &mut odd }) += 1;
        }
    }
    assert!(even > 1000 && odd > 1000, "{even} {odd}");
}

#[test]
fn a_node_that_audits_often_does_not_wait_for_one_that_audits_rarely() {
    let (rare, often) = (Audit::new(MemoryReset::Scan, u32::MAX), Audit::new(MemoryReset::Scan, 1));
    assert!(!rare.compares());
    assert!(often.compares());
}

#[test]
fn after_a_fault_every_memory_is_discarded() {
    let audit = Audit::new(MemoryReset::Counted, 1);
    assert_eq!(audit.reset(), MemoryReset::Counted);
    audit.fail();
    let expected = Isolation { reset: MemoryReset::Discard, compared: 0, scanned: 0, faults: 1 };
    assert_eq!(audit.report(), expected);
}
