//! What the kernel says of a process is read right, and adds up.

use std::time::Duration;

use super::{Cpu, Usage, memory_max, ran, ticks};

fn cpu(whole_ms: u64, threads: &[(u32, u64)]) -> Cpu {
    let threads = threads.iter().map(|(thread, ns)| (*thread, Duration::from_nanos(*ns)));
    Cpu { whole: Duration::from_millis(whole_ms), threads: threads.collect() }
}

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
    assert_eq!(ran(""), None);
}

#[test]
fn schedstat_opens_with_the_time_on_a_core() {
    assert_eq!(ran("41242139 68710968 104\n"), Some(Duration::from_nanos(41_242_139)));
}

#[test]
fn peak_memory_is_the_high_water_mark() {
    let status = "Name:\twasm-fn\nVmPeak:\t 9000 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
    assert_eq!(memory_max(status), Some(2 * 1024 * 1024));
    assert_eq!(memory_max("Name:\tkthreadd\n"), None);
}

#[test]
fn fine_account_counts_new_threads() {
    let (before, now) = (cpu(0, &[(1, 500)]), cpu(10, &[(1, 700), (2, 40)]));
    assert_eq!(now.since(&before), Duration::from_nanos(240));
}

#[test]
fn coarse_account_counts_when_a_thread_has_ended() {
    let (before, now) = (cpu(10, &[(1, 500), (2, 10)]), cpu(30, &[(1, 700)]));
    assert_eq!(now.since(&before), Duration::from_millis(20));
}

#[test]
fn usage_of_several_processes_adds_up() {
    let usage = |pid, ns, memory_max_bytes| Usage {
        processes: [(pid, cpu(0, &[(pid, ns)]))].into(),
        memory_max_bytes,
    };
    let before = usage(1, 100, 10).and(usage(2, 100, 20));
    let after = usage(1, 300, 11).and(usage(2, 150, 22));
    assert_eq!(after.cpu_since(&before), Duration::from_nanos(250));
    assert_eq!(after.memory_max_bytes, 33);
}
