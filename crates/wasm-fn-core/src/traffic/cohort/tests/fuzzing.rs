//! Sticky keys, weights, egress rules and networks of hostile deployers: each is refused, or has
//! one spelling.

use std::{fmt::Display, str::FromStr};

use super::*;
use crate::{EgressRule, Network, PreviewDomain, VersionRef, Weight};

#[path = "../../../../../../tests/fuzzing.rs"]
mod engine;

/// Reads `text`, and what that is shown as.
fn again<T: FromStr + Display + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let shown = value.to_string();
        assert!(shown.parse::<T>().is_ok_and(|same| same == value), "{text:?} became {shown:?}");
    }
}

#[test]
fn any_short_text_is_refused_or_has_one_spelling() {
    engine::fuzz("short texts", &engine::corpus("tests/corpus/texts"), |case| {
        for text in String::from_utf8_lossy(case).lines() {
            again::<Sticky>(text);
            again::<Weight>(text);
            again::<EgressRule>(text);
            again::<Network>(text);
            again::<PreviewDomain>(text);
            again::<VersionRef>(text);
        }
    });
}
