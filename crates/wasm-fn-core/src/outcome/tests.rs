//! Facts about `outcome`.

use std::collections::HashSet;

use super::*;

#[test]
fn indices_are_the_places_in_all() {
    for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
        assert_eq!(outcome.index(), place);
    }
}

#[test]
fn every_outcome_has_a_word_of_its_own() {
    let words: HashSet<_> = Outcome::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(words.len(), Outcome::ALL.len());
    assert!(words.iter().all(|word| word.bytes().all(|b| b == b'-' || b.is_ascii_lowercase())));
}

#[test]
fn limits_clients_and_hosts_are_not_the_version_s_fault() {
    let blameless = [Outcome::Success, Outcome::Shed, Outcome::Cancelled, Outcome::Internal];
    for outcome in Outcome::ALL {
        assert_eq!(outcome.is_failure(), !blameless.contains(&outcome), "{outcome}");
    }
}
