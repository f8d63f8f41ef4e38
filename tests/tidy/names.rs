//! One word is one thing: a public type's name stands in one crate.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::{all, none};

/// Names that stand in more than one crate, and why.
const SHARED: &[(&str, &str)] = &[];

/// The name of the public type that `line` defines.
fn defined(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub ")?;
    let rest =
        ["struct ", "enum ", "trait ", "type ", "union "].iter().find_map(|word| rest.strip_prefix(word))?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

#[test]
fn public_types_of_two_crates_have_two_names() {
    let mut crates: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in all().into_iter().filter(|source| source.path.starts_with("crates/") && !source.is_test()) {
        let of = source.path.split('/').nth(1).unwrap_or_default().to_owned();
        for (_, line) in source.code() {
            if let Some(name) = defined(line) {
                crates.entry(name.to_owned()).or_default().insert(of.clone());
            }
        }
    }
    let shared = crates.iter().filter(|(_, of)| of.len() > 1);
    let known = |name: &str| SHARED.iter().any(|(known, _)| *known == name);
    let mut faults: Vec<_> = shared
        .filter(|(name, _)| !known(name))
        .map(|(name, of)| {
            format!("{name} stands in {}", Vec::from_iter(of.iter().map(String::as_str)).join(" and "))
        })
        .collect();
    let gone = SHARED.iter().filter(|(name, _)| crates.get(*name).is_none_or(|of| of.len() < 2));
    faults.extend(gone.map(|(name, _)| format!("{name} is listed as shared and is not")));
    none(&faults);
}
