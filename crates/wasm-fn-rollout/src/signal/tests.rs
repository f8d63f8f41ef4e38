//! Tests of the signals' names and of the events' places.

use std::collections::BTreeSet;

use super::{Class, Event, Signal};

#[test]
fn every_signal_is_read_as_it_is_written() {
    for signal in Signal::ALL {
        assert_eq!(signal.to_string().parse(), Ok(signal));
    }
}

#[test]
fn unknown_signals_are_named_with_what_was_expected() {
    for text in ["", "error", "Errors", "errors.", "errors.oops", "latency", "latency_p95"] {
        let error = text.parse::<Signal>().unwrap_err().to_string();
        assert!(error.contains(&format!("{text:?} is not a signal, expected errors")), "{error}");
    }
}

#[test]
fn events_have_places_of_their_own() {
    let mut events =
        vec![Event::FailedAtAll, Event::Slow, Event::Large, Event::OverCeiling, Event::AboveMedian];
    events.extend(Class::ALL.map(Event::Failed));
    let places: BTreeSet<_> = events.into_iter().map(Event::index).collect();
    assert_eq!(places, (0..Event::COUNT).collect());
}
