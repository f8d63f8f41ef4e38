//! Pictures, as a terminal shows them.

use expect_test::{Expect, expect};
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Cell,
    style::{Color, Modifier},
};

use super::draw;
use crate::{
    args::TopSort,
    top::{
        Key, Listed, Top,
        tests::{rolling, status},
    },
};

/// The picture of `top` on a terminal of this size.
fn picture(top: &mut Top, columns: u16, lines: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    top.fits(lines);
    terminal.draw(|frame| draw(frame, top)).unwrap();
    terminal
}

fn check(top: &mut Top, columns: u16, lines: u16, expected: &Expect) {
    let terminal = picture(top, columns, lines);
    let buffer = terminal.backend().buffer();
    let lines = buffer
        .content()
        .chunks(usize::from(columns))
        .map(|line| line.iter().map(Cell::symbol).collect::<String>().trim_end().to_owned());
    expected.assert_eq(&lines.map(|line| line + "\n").collect::<String>());
}

/// The cells of `text`.
fn cells<'a>(terminal: &'a Terminal<TestBackend>, columns: u16, text: &str) -> &'a [Cell] {
    for line in terminal.backend().buffer().content().chunks(usize::from(columns)) {
        let shown: Vec<_> = line.iter().map(Cell::symbol).collect();
        let wanted: Vec<_> = text.chars().map(|c| c.to_string()).collect();
        if let Some(at) = shown.windows(wanted.len()).position(|window| window == wanted) {
            return &line[at..at + wanted.len()];
        }
    }
    panic!("{text} is not shown");
}

fn listed(function: &str, requests: u64, failures: u64, canary: Option<&str>) -> Listed {
    Listed {
        function: function.to_owned(),
        requests,
        failures,
        latency_p50_ms: (requests > 0).then_some(0.84),
        latency_p99_ms: (requests > 0).then_some(12.3),
        canaries: canary.map(str::to_owned).into_iter().collect(),
    }
}

fn top(colours: bool) -> Top {
    let mut top = Top::new("http://127.0.0.1:8081".to_owned(), String::new(), TopSort::Requests, colours);
    let functions = |factor: u64| {
        vec![
            listed("hello", 100 * factor, factor, Some("v2 10%")),
            listed("idle", 0, 0, None),
            listed("shop", 1240 * factor, 0, None),
        ]
    };
    top.listed(functions(1), 1_000);
    top.listed(functions(2), 2_000);
    top.told(status("hello", "v1", 3, 1536 << 10), 2_000);
    top
}

#[test]
fn functions_are_listed_busiest_first() {
    check(
        &mut top(false),
        100,
        8,
        &expect![[r#"
        wasm-fn top  http://127.0.0.1:8081  3 functions, 1340 requests/s
        FUNCTION                  REQUESTS/S  ERRORS/S       P50       P99 INSTANCES     MEMORY CANARY
        shop                            1240         0   0.84 ms   12.3 ms         -          -
        hello                            100       1.0   0.84 ms   12.3 ms         3    1.5 MiB v2 10%
        idle                               -         -         -         -         -          -


        Enter rollout   / filter   sort: n r e 5 9 i m   q quit
    "#]],
    );
}

#[test]
fn a_function_shows_its_rollout() {
    let mut top = top(false);
    top.key(Key::Down);
    top.key(Key::Enter);
    check(
        &mut top,
        60,
        4,
        &expect![[r#"
        wasm-fn top  http://127.0.0.1:8081  hello
        asking the node…

        Esc back   ↑↓ scroll   q quit
    "#]],
    );
    top.told(rolling("hello", "wait", 12.4, 0.33), 186_000);
    check(
        &mut top,
        110,
        30,
        &expect![[r#"
        wasm-fn top  http://127.0.0.1:8081  hello
        live     1% ✓ [10%] 100%  v1 → v2, progressing
        verdict  wait: 34 requests on the canary, 100 needed
        errors            [=======                 ] 12 of 2000  4 of 340 requests failed, 3 of 3060 on stable
        latency_p99       [                        ] 0.80 of 2000  as fast as stable

        hello  stage live  revision 3
        routes   /hello/*
        rollout  canary from v1 to v2, progressing, began 3m ago
        step     2 of 3: 10% set, 10.00% of all requests since it began
        time     [============>           ] 34s of 1m in this step
        requests [=======>                ] 34 of 100 needed in this step
        gate     wait: 34 requests on the canary, 100 needed
        evidence [======>                 ] e-value 12, fails at 2000; errors: 4 (1.18%) on v2, 3 (0.10%) on v1

        in the rollout, since its gate began:
        ROLE    VERSION  REQUESTS   FAILURES      P50      P99
        canary  v2            340  4 (1.18%)  0.84 ms  12.3 ms
        stable  v1           3060  3 (0.10%)  0.84 ms  12.3 ms

        since the node started:
        VERSION  ROLE    WEIGHT  REQUESTS  FAILURES      P50      P99   MEMORY
        v1       stable    100%       100         0  0.84 ms  12.3 ms  1.0 MiB






        Esc back   ↑↓ scroll   q quit
    "#]],
    );
    // On a small terminal it scrolls.
    top.key(Key::PageDown);
    check(
        &mut top,
        60,
        8,
        &expect![[r#"
        wasm-fn top  http://127.0.0.1:8081  hello
        requests [=======>                ] 34 of 100 needed in this
        gate     wait: 34 requests on the canary, 100 needed
        evidence [======>                 ] e-value 12, fails at 200

        in the rollout, since its gate began:
        ROLE    VERSION  REQUESTS   FAILURES      P50      P99
        Esc back   ↑↓ scroll   q quit
    "#]],
    );
    top.gone("hello");
    assert!(!cells(&picture(&mut top, 60, 8), 60, "deleted").is_empty());
}

#[test]
fn what_is_typed_is_shown_and_what_it_leaves() {
    let mut top = top(false);
    top.key(Key::Char('/'));
    top.key(Key::Char('x'));
    check(
        &mut top,
        60,
        5,
        &expect![[r#"
        wasm-fn top  http://127.0.0.1:8081  0 of 3 functions, 0 requ
        no function has "x" in its name


        filter: x▏  Enter keep   Esc clear
    "#]],
    );
    top.key(Key::Backspace);
    top.key(Key::Char('h'));
    top.key(Key::Char('o'));
    top.key(Key::Enter);
    check(
        &mut top,
        100,
        6,
        &expect![[r#"
        wasm-fn top  http://127.0.0.1:8081  1 of 3 functions, 1240 requests/s
        FUNCTION                  REQUESTS/S  ERRORS/S       P50       P99 INSTANCES     MEMORY CANARY
        shop                            1240         0   0.84 ms   12.3 ms         -          -


        "ho"   Enter rollout   / filter   sort: n r e 5 9 i m   q quit
    "#]],
    );
}

#[test]
fn the_cursor_is_reversed_and_failures_have_a_colour() {
    let columns = 100;
    let mut plain = top(false);
    let terminal = picture(&mut plain, columns, 8);
    let cursor = cells(&terminal, columns, "shop");
    assert!(cursor.iter().all(|cell| cell.modifier.contains(Modifier::REVERSED)));
    assert!(cells(&terminal, columns, "hello").iter().all(|cell| cell.modifier.is_empty()));
    let colours = |terminal: &Terminal<TestBackend>| {
        let cells = terminal.backend().buffer().content().iter();
        cells.filter(|cell| cell.fg == Color::Red && cell.symbol() != " ").count()
    };
    assert_eq!(colours(&terminal), 0);
    assert_eq!(colours(&picture(&mut top(true), columns, 8)), 3);
    let mut failing = top(true);
    failing.key(Key::Down);
    failing.key(Key::Enter);
    failing.told(rolling("hello", "fail", 2100.0, 1.0), 186_000);
    let terminal = picture(&mut failing, columns, 30);
    assert!(cells(&terminal, columns, "fail").iter().all(|cell| cell.fg == Color::Red));
}

#[test]
fn a_node_that_is_away_is_said() {
    let mut top = Top::new("http://node:8081".to_owned(), String::new(), TopSort::Requests, false);
    check(
        &mut top,
        60,
        4,
        &expect![[r#"
        wasm-fn top  http://node:8081  0 functions, 0 requests/s
        asking the node…

        Enter rollout   / filter   sort: n r e 5 9 i m   q quit
    "#]],
    );
    top.listed(vec![], 1_000);
    top.away("no node answers\u{1b}[2J".to_owned());
    check(
        &mut top,
        90,
        4,
        &expect![[r#"
        wasm-fn top  http://node:8081  0 functions, 0 requests/s  no node answers\u{1b}[2J; retryi
        no functions yet; `wasm-fn deploy FILE` deploys one

        Enter rollout   / filter   sort: n r e 5 9 i m   q quit
    "#]],
    );
}

#[test]
fn no_size_is_too_small() {
    let mut top = top(true);
    for (columns, lines) in [(1, 1), (2, 2), (10, 3), (300, 1)] {
        picture(&mut top, columns, lines);
    }
    top.key(Key::Enter);
    top.told(rolling("shop", "pass", 0.1, 0.0), 3_000);
    for (columns, lines) in [(1, 1), (2, 2), (10, 3), (300, 1)] {
        picture(&mut top, columns, lines);
    }
}
