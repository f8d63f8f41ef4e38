//! Reading cachegrind's file, and comparing counts.

use std::collections::BTreeMap;

use super::{
    baseline::{Baseline, Toolchain, advice, compare, judge, table},
    cachegrind::instructions,
    per_operation, read,
};

/// A file of cachegrind 3.19, without most of its functions.
const CACHEGRIND: &str = "\
desc: I1 cache:         32768 B, 64 B, 8-way associative
desc: D1 cache:         32768 B, 64 B, 8-way associative
desc: LL cache:         268435456 B, 64 B, direct-mapped
cmd: target/quick/instructions tally 10000
events: Ir
fl=???
fn=_start
0 2
fn=main
0 1234565
summary: 1234567
";

fn counts(counts: &[(&str, f64)]) -> BTreeMap<String, f64> {
    counts.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
}

fn toolchain() -> Toolchain {
    Toolchain { rustc: "rustc 1.95.0 (abc 2026-04-01)".to_owned(), arch: "x86_64".to_owned() }
}

#[test]
fn instructions_are_the_summary_of_the_file() {
    assert_eq!(instructions(CACHEGRIND).unwrap(), 1_234_567);
}

#[test]
fn files_that_are_not_whole_are_refused() {
    let refused = |text: &str| format!("{:#}", instructions(text).unwrap_err());
    assert_eq!(refused(""), "found no line `events:`");
    assert_eq!(refused(CACHEGRIND.split("summary").next().unwrap()), "found no line `summary:`");
    let two_columns = CACHEGRIND.replace("events: Ir", "events: Ir Dr");
    assert_eq!(refused(&two_columns), "found events `Ir Dr`, expected `Ir`");
    let no_number = CACHEGRIND.replace("summary: 1234567", "summary: many");
    assert!(refused(&no_number).starts_with("found summary `many`, expected a number of instructions"));
}

#[test]
fn set_up_is_not_counted() {
    assert_eq!(per_operation(1_000_000, 1_123_456, 1000).unwrap(), 123.5);
    let error = per_operation(1_000_000, 1_000_000, 1000).unwrap_err().to_string();
    assert_eq!(error, "1000 operations took 1000000 instructions, and twice as many took 1000000");
}

#[test]
fn five_per_cent_more_pass_and_a_little_above_fails() {
    let baseline = counts(&[("route", 1000.0), ("tally", 200.0)]);
    judge(&compare(&baseline, &counts(&[("route", 1049.9), ("tally", 100.0)]))).unwrap();
    let error = judge(&compare(&baseline, &counts(&[("route", 1050.1), ("tally", 200.0)]))).unwrap_err();
    let expected = "over 5 % more instructions than the baseline: route;";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn only_a_gain_above_five_per_cent_asks_for_an_update() {
    let baseline = counts(&[("route", 1000.0), ("tally", 200.0)]);
    assert_eq!(advice(&compare(&baseline, &counts(&[("route", 950.1), ("tally", 300.0)]))), None);
    let advice = advice(&compare(&baseline, &counts(&[("route", 949.9), ("tally", 200.0)]))).unwrap();
    assert!(advice.starts_with("cheaper than the baseline: route;"), "{advice}");
}

#[test]
fn workloads_of_one_side_only_are_refused() {
    for (baseline, now) in
        [(&[][..], &[("tally", 1.0)][..]), (&[("tally", 1.0)], &[]), (&[("tally", 0.0)], &[("tally", 1.0)])]
    {
        let error = judge(&compare(&counts(baseline), &counts(now))).unwrap_err().to_string();
        assert!(error.starts_with("counted now or in the baseline, but not in both: tally;"), "{error}");
    }
}

#[test]
fn table_shows_every_workload_with_its_change() {
    let rows =
        compare(&counts(&[("route", 1000.0), ("gone", 5.0)]), &counts(&[("route", 1100.0), ("tally", 7.25)]));
    let expected = "\
workload      baseline         now    change
gone               5.0           -         -
route           1000.0      1100.0   +10.0 %
tally                -         7.2         -";
    assert_eq!(table(&rows), expected);
}

#[test]
fn baseline_is_read_as_it_was_written() {
    let baseline = Baseline { toolchain: toolchain(), instructions: counts(&[("route", 812.5)]) };
    assert_eq!(Baseline::parse(&baseline.text().unwrap()).unwrap(), baseline);
}

#[test]
fn baseline_of_another_compiler_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("baseline.json");
    let baseline = Baseline { toolchain: toolchain(), instructions: counts(&[("route", 812.5)]) };
    std::fs::write(&path, baseline.text().unwrap()).unwrap();
    assert_eq!(read(&path, &toolchain()).unwrap(), baseline);

    let newer = Toolchain { rustc: "rustc 1.96.0 (def 2026-05-01)".to_owned(), ..toolchain() };
    let error = read(&path, &newer).unwrap_err().to_string();
    let expected = "benches/instructions/baseline.json was counted with rustc 1.95.0 (abc 2026-04-01) on \
                    x86_64, expected rustc 1.96.0 (def 2026-05-01) on x86_64";
    assert!(error.starts_with(expected), "{error}");
}
