//! The chart shows each system that answers hello, with its figure.

use super::{bars, draw};
use crate::{guests::Guest, results::tests::example};

#[test]
fn bars_are_the_hello_systems_cheapest_first() {
    let mut results = example();
    results.rows.reverse();
    let mut other = results.rows[0].clone();
    other.guest = Guest::Echo;
    results.rows.push(other);
    let bars: Vec<_> = bars(&results).into_iter().map(|bar| (bar.name, bar.ours, bar.cost_us)).collect();
    assert_eq!(bars, [("wasm-fn".to_owned(), true, 25.0), ("wasmtime serve".to_owned(), false, 100.0)]);
}

#[test]
fn system_without_a_figure_has_no_bar() {
    let mut results = example();
    results.rows[1].samples = Err("the server was idle".to_owned());
    assert_eq!(bars(&results).len(), 1);
    results.rows[0].samples = Err("the server was idle".to_owned());
    assert_eq!(
        draw(&bars(&results), "2026-11-24").unwrap_err().to_string(),
        "no system has a figure to draw"
    );
}

#[test]
fn chart_names_each_system_its_figure_and_the_day() {
    let svg = draw(&bars(&example()), "2026-11-24").unwrap();
    for part in ["<svg", "wasm-fn\n", "wasmtime serve\n", "\n25.0\n", "\n100.0\n", "2026-11-24"] {
        assert!(svg.contains(part), "{part} in {svg}");
    }
}
