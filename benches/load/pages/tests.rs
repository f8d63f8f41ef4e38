//! Tables say what was found, and go where the page wants them.

use super::{MARKERS, checks, figures, refused, replaced, section, tls as tls_table};
use crate::{budgets::Required, results::tests::example, tls};

#[test]
fn figures_have_a_row_for_each_system() {
    let table = figures(&example());
    let rows: Vec<_> = table.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>()).collect();
    assert_eq!(
        rows[2][1..10],
        [
            "wasm-fn",
            "hello 0.2",
            "25.0 [25.0–25.0]",
            "40000 [40000–40000]",
            "70 [70–70]",
            "140 [140–140]",
            "1200 [1200–1200]",
            "20000 [20000–20000]",
            "32 [32–32]",
        ]
    );
    assert_eq!(rows.len(), 4, "{table}");
}

#[test]
fn refused_figure_is_a_line_with_its_reason_and_no_number() {
    let mut results = example();
    results.rows[0].latencies = Err("the generator was late".to_owned());
    results.rows[1].samples = Err("the server was idle".to_owned());
    results.rows[1].latencies = Err("the server was idle".to_owned());
    assert_eq!(
        refused(&results),
        [
            "no latency for wasm-fn, hello 0.2: the generator was late",
            "no figure for wasmtime serve, hello 0.2: the server was idle",
        ]
    );
    let table = figures(&results);
    assert_eq!(table.matches("| refused ").count(), 4, "{table}");
    assert!(!table.contains("wasmtime serve"), "{table}");
}

#[test]
fn budgets_say_found_required_and_held() {
    let mut results = example();
    let line = |results: &crate::results::Results| {
        let table = checks(&results.checks);
        let last = table.lines().last().unwrap();
        last.split('|').map(str::trim).skip(2).take(3).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line(&results), ["0.250 [0.240–0.260]", "at most 0.270", "yes"]);
    results.checks[0].required = Required::AtMost(0.2);
    assert_eq!(line(&results)[2], "no");
    results.checks[0].required = Required::AtLeast(0.2);
    assert_eq!(line(&results)[1..], ["at least 0.200", "yes"]);
    results.checks[0].found = Err("the server was idle".to_owned());
    assert_eq!(line(&results), ["unknown", "at least 0.200", "unknown"]);
}

#[test]
fn tls_has_a_table_when_it_was_measured() {
    let mut results = example();
    assert_eq!(tls_table(&results), None);
    results.tls = Some(Ok(vec![tls::tests::round([10.0, 13.0], [5.0, 8.0])]));
    let table = tls_table(&results).unwrap();
    let rows: Vec<_> = table.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>()).collect();
    let adds = ["10.0 [10.0–10.0]", "13.0 [13.0–13.0]", "3.0 [3.0–3.0]"];
    assert_eq!((rows[2][1], &rows[2][2..5]), ("wasm-fn", &adds[..]));
    assert_eq!((rows[3][1], rows[3][4]), ("hyper alone", "3.0 [3.0–3.0]"));
    assert!(section(&results).contains(&table));
    results.tls = Some(Err("no answer".to_owned()));
    assert_eq!(refused(&results), ["no figure for TLS: no answer"]);
    assert!(!results.good());
}

#[test]
fn section_names_machine_day_command_and_what_was_skipped() {
    let mut results = example();
    results.skipped.push("workerd: cannot be started".to_owned());
    let text = section(&results);
    for part in ["2026-11-24", "2 cores of Some Processor", "Linux 6.18", "wasmtime 48.0.8"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.contains("`cargo xtask bench --compare`: 1 rounds of 3 s"), "{text}");
    assert!(text.contains("\n- workerd: cannot be started\n"), "{text}");
}

#[test]
fn section_replaces_what_lies_between_the_markers() {
    let [begin, end] = MARKERS;
    let page = format!("# Performance\n{begin}old\n{end}more\n");
    assert_eq!(replaced(&page, "new\n").unwrap(), format!("# Performance\n{begin}new\n{end}more\n"));
}

#[test]
fn page_without_markers_is_left_alone() {
    let refused = replaced("# Performance\n", "new\n").unwrap_err().to_string();
    assert!(refused.starts_with("no place for the tables, expected the lines `<!-- written by"), "{refused}");
}
