//! What nodes tell of themselves, on a broker that anybody may have written to.

use super::*;
use crate::fuzzing;

#[test]
fn anything_told_is_heard_or_passed_over() {
    let (presence, now) = (Presence::default(), Instant::now());
    fuzzing::fuzz("presence of nodes", &fuzzing::corpus("tests/corpus/presence"), |case| {
        presence.heard("a".parse().unwrap(), "1", case, now);
        let _ = presence.furthest(now);
        assert!(presence.members(now).len() <= 1);
    });
}
