//! Tests for `canary_run`.

use http::StatusCode;

use super::*;

fn answered(version: u32, status: u16, refused_effect: bool) -> Ended {
    Ended::Answered {
        version: VersionNo::new(version),
        status: StatusCode::from_u16(status).unwrap(),
        retry_after: None,
        detail: String::new(),
        is_canary: version == 2,
        refused_effect,
    }
}

#[test]
fn only_what_the_canary_did_by_itself_is_held_against_it() {
    let of_node = || Ended::OfNode { retry_after: None, detail: String::new() };
    let (good, bad) = (answered(1, 200, false), answered(1, 500, false));
    for (ended, stable, expected) in [
        (answered(2, 204, false), &good, Finding::Passed),
        (answered(2, 204, false), &bad, Finding::Passed),
        (answered(2, 500, false), &good, Finding::Failed),
        (answered(2, 400, false), &good, Finding::Failed),
        // Stable has the same trouble with the tick.
        (answered(2, 500, false), &bad, Finding::Unclear),
        (answered(2, 500, false), &of_node(), Finding::Unclear),
        // It could not do what it wanted to.
        (answered(2, 500, true), &good, Finding::Unclear),
        (answered(2, 200, true), &good, Finding::Unclear),
        // It was not there any more, or had no place.
        (answered(1, 200, false), &good, Finding::None),
        (of_node(), &good, Finding::None),
        (Ended::NoSuchStage, &good, Finding::None),
    ] {
        let canary = VersionNo::new(2).unwrap();
        assert_eq!(finding(&ended, canary, stable), expected, "{ended:?} and {stable:?}");
    }
}
