//! Components of hostile deployers: each is recognised, linked and measured, or refused, in bounded time.

use super::*;
use crate::{
    code::{effort, size},
    fuzzing,
};

#[test]
fn any_bytes_are_inspected_without_a_panic() {
    let mut corpus = fuzzing::corpus("guest-examples/prebuilt");
    // Those that are inspected soon.
    corpus.retain(|file| file.starts_with(b"\0asm") && file.len() < 20_000);
    fuzzing::fuzz("components", &corpus, |case| {
        let Ok(recognised) = recognise(case) else { return };
        let Ok(component) = into_component(&recognised, case.to_vec()) else { return };
        let (sized, effort) = (size::check(&component), effort::check(&component));
        // The engine sees only what passed both; linking comes before it.
        if sized.is_ok() && effort.is_ok() {
            let _ = wasm_fn_fuse::fuse(&component);
            let _ = validate(&component);
        }
    });
}
