//! Budgets compare what they name, within a round, and only what is known.

use super::{BOUNDS, Check, NEW_02, Name, RATIOS, Required, TLS, Unit, check, row, sides};
use crate::{
    guests::Guest,
    results::{Latency, Row, Sample},
    systems::System,
    tls,
};

const SERVE: Name = ("wasmtime serve", Guest::Hello02);

/// A row with these costs and medians, a round each.
fn measured((system, guest): Name, costs: &[f64]) -> Row {
    let sample = |cost: &f64| Sample {
        requests_per_second: 1e6 / cost,
        cpu_us_per_request: *cost,
        memory_max_bytes: 0,
    };
    let latency = |cost: &f64| Latency { rate: 1.0, p50_us: *cost, p99_us: 10.0 * cost, p999_us: 0.0 };
    Row {
        system: system.to_owned(),
        guest,
        ours: false,
        samples: Ok(costs.iter().map(sample).collect()),
        latencies: Ok(costs.iter().map(latency).collect()),
    }
}

fn only(rows: &[Row]) -> Check {
    let [check] = check(rows, &[], None, None).try_into().unwrap();
    check
}

#[test]
fn every_budget_compares_systems_that_exist() {
    let systems: Vec<_> = System::all().unwrap().iter().map(|system| (system.name, system.guest)).collect();
    for ratio in &RATIOS {
        assert!(systems.contains(&ratio.of), "{}", ratio.name());
        assert!(systems.contains(&ratio.beside), "{}", ratio.name());
    }
}

#[test]
fn ratio_compares_within_a_round() {
    // The second round was three times slower for both: it says nothing about either.
    let check = only(&[measured(NEW_02, &[20.0, 60.0, 50.0]), measured(SERVE, &[100.0, 300.0, 200.0])]);
    assert_eq!(check.name, "wasm-fn, hello 0.2 / wasmtime serve, hello 0.2");
    assert_eq!(check.found.clone().unwrap().median, 0.2);
    assert_eq!((check.required, check.unit, check.held()), (Required::AtMost(0.27), Unit::Ratio, Some(true)));
}

#[test]
fn budget_is_exceeded_above_its_bound_only() {
    assert_eq!(only(&[measured(NEW_02, &[27.0]), measured(SERVE, &[100.0])]).held(), Some(true));
    assert_eq!(only(&[measured(NEW_02, &[27.1]), measured(SERVE, &[100.0])]).held(), Some(false));
}

#[test]
fn refused_side_makes_the_budget_unknown_with_its_reason() {
    let mut serve = measured(SERVE, &[]);
    serve.samples = Err("the server was idle".to_owned());
    let check = only(&[measured(NEW_02, &[27.0]), serve]);
    assert_eq!((check.held(), check.found), (None, Err("the server was idle".to_owned())));
}

#[test]
fn side_that_was_not_chosen_is_no_budget() {
    assert_eq!(check(&[measured(NEW_02, &[27.0])], &[], None, None), []);
}

#[test]
fn added_latency_is_the_difference_of_neighbours() {
    let latency = |p50_us: f64| Latency { rate: 1.0, p50_us, p99_us: 10.0 * p50_us, p999_us: 0.0 };
    let both = [(90.0, 30.0), (80.0, 40.0), (200.0, 140.0)].map(|(ours, limit)| [ours, limit].map(latency));
    let [p50, p99] = check(&[], &[], Some(&Ok(both.to_vec())), None).try_into().unwrap();
    assert_eq!(p50.name, "wasm-fn: p50 over hyper alone at 50 % load");
    assert_eq!((p50.found.clone().unwrap().median, p50.unit), (60.0, Unit::Microseconds));
    assert_eq!((p50.held(), p99.held()), (Some(true), Some(false)));
    let [unknown, _] = check(&[], &[], Some(&Err("no answer".to_owned())), None).try_into().unwrap();
    assert_eq!((unknown.held(), unknown.found), (None, Err("no answer".to_owned())));
}

#[test]
fn what_tls_adds_is_compared_within_a_round() {
    // Both were twice as slow in the second.
    let rounds = [([10.0, 13.3], [5.0, 8.0]), ([20.0, 26.6], [10.0, 16.0])];
    let rounds = rounds.map(|(ours, limit)| tls::tests::round(ours, limit)).to_vec();
    let [adds, rate, cpu] = check(&[], &[], None, Some(&Ok(rounds))).try_into().unwrap();
    assert!((adds.found.clone().unwrap().high - 1.1).abs() < 1e-9, "{adds:?}");
    assert_eq!((adds.required, adds.held()), (Required::AtMost(1.15), Some(true)));
    // A connection costs ten times what a request with TLS does.
    for check in [rate, cpu] {
        assert!((check.found.clone().unwrap().median - 8.0 / 13.3).abs() < 1e-9, "{check:?}");
        assert_eq!((check.required, check.held()), (Required::AtLeast(0.9), Some(false)));
    }
    let unknown = check(&[], &[], None, Some(&Err("no answer".to_owned())));
    assert_eq!(unknown.len(), TLS.len());
    assert!(unknown.iter().all(|check| check.found == Err("no answer".to_owned())));
}

#[test]
fn pair_is_checked_when_it_was_measured() {
    let [_, whole, by_hand] = &BOUNDS;
    let ratios = [(whole, Ok(vec![1.0, 1.03, 1.5])), (by_hand, Err("no answer".to_owned()))];
    let [held, unknown] = check(&[], &ratios, None, None).try_into().unwrap();
    assert_eq!((held.name.as_str(), held.held()), (whole.pair.name, Some(true)));
    assert_eq!((unknown.name.as_str(), unknown.held()), (by_hand.pair.name, None));
}

#[test]
fn text_in_a_budget_chooses_both_its_sides() {
    assert_eq!(sides("workerd"), ["wasm-fn, hello 0.2", "workerd"]);
    assert_eq!(sides("no such thing"), Vec::<String>::new());
}

#[test]
fn row_is_found_by_name_and_guest() {
    let rows = [measured(SERVE, &[1.0]), measured(("wasmtime serve", Guest::Echo), &[2.0])];
    assert_eq!(row(&rows, ("wasmtime serve", Guest::Echo)).unwrap().guest, Guest::Echo);
    assert!(row(&rows, NEW_02).is_none());
}
