//! Tests for `outcome`.

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
fn clients_and_nodes_are_not_the_versions_fault() {
    for outcome in Outcome::ALL {
        let blame = match outcome {
            Outcome::Success => None,
            Outcome::Cancelled => Some(Blame::Client),
            Outcome::Shed | Outcome::Internal => Some(Blame::Node),
            _ => Some(Blame::Version),
        };
        assert_eq!(outcome.blame(), blame, "{outcome}");
        assert_eq!(outcome.is_failure(), blame == Some(Blame::Version), "{outcome}");
        assert_eq!(outcome.counts(), outcome.is_failure() || outcome == Outcome::Success, "{outcome}");
    }
}
