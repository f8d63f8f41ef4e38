//! Tests for `presence`.

mod fuzzing;

use super::*;

fn told(revision: u64) -> Bytes {
    let presence = Presence::default();
    presence.set_own(Revision(revision), "text".to_owned());
    presence.set_head(Revision(revision + 1));
    presence.own("1.2.3").unwrap()
}

#[test]
fn who_was_heard_is_known_for_a_minute() {
    let (presence, began) = (Presence::default(), Instant::now());
    let at = |seconds| began + Duration::from_secs(seconds);
    assert!(presence.heard("a".parse().unwrap(), "1", &told(5), at(0)));
    assert!(!presence.heard("a".parse().unwrap(), "1", &told(6), at(2)));
    assert!(presence.heard("b".parse().unwrap(), "2", &told(6), at(30)));
    assert!(presence.heard("a".parse().unwrap(), "1", &told(7), at(20)), "it was away");
    let members = presence.members(at(40));
    let shown: Vec<_> = members.iter().map(|m| (m.name.as_str(), m.revision.0, m.age.as_secs())).collect();
    assert_eq!(shown, [("a", 7, 20), ("b", 6, 10)]);
    assert_eq!((&*members[0].program, &*members[0].text, &*members[0].instance), ("1.2.3", "text", "1"));
    assert_eq!(members[0].head, Revision(8));
    let furthest = |now| presence.furthest(now).map(|(name, head)| (name.to_string(), head.0));
    assert_eq!(furthest(at(40)), Some(("a".to_owned(), 8)));
    assert_eq!(furthest(at(85)), Some(("b".to_owned(), 7)));
    assert_eq!(furthest(at(95)), None);
    assert_eq!(presence.members(at(85)).len(), 1);
    presence.left("2");
    assert_eq!(presence.members(at(40)).len(), 1);
}

#[test]
fn what_is_too_much_is_passed_over() {
    let (presence, now) = (Presence::default(), Instant::now());
    let name = || "a".parse().unwrap();
    presence.heard(name(), "1", b"{", now);
    presence.heard(name(), &"1".repeat(WORD_BYTES_MAX + 1), &told(1), now);
    assert_eq!(presence.members(now), []);
    for instance in 0..MEMBERS_MAX + 1 {
        presence.heard(name(), &instance.to_string(), &told(1), now);
    }
    assert_eq!(presence.members(now).len(), MEMBERS_MAX);
}

#[test]
fn who_is_quiet_tells_nothing() {
    let presence = Presence::default();
    presence.set_quiet(true);
    assert_eq!(presence.own("1"), None);
    presence.set_quiet(false);
    assert!(presence.own("1").is_some());
}

/// What a node tells as this release writes it; another release may hear it, or may have told it.
const WRITTEN: &str = include_str!("../../../formats/1/presence.json");

#[test]
fn what_a_node_tells_is_written_and_heard_as_ever() {
    assert_eq!(told(5), WRITTEN.trim_end());
    let (presence, now) = (Presence::default(), Instant::now());
    // A later release may say more.
    let more = WRITTEN.replacen('{', "{\"later\":[1],", 1);
    presence.heard("a".parse().unwrap(), "1", WRITTEN.as_bytes(), now);
    presence.heard("b".parse().unwrap(), "2", more.as_bytes(), now);
    let members = presence.members(now);
    let shown: Vec<_> = members.iter().map(|m| (&*m.program, m.revision.0, m.head.0, &*m.text)).collect();
    assert_eq!(shown, [("1.2.3", 5, 6, "text"); 2]);
}
