//! Tests for `pulls`.

use super::*;

#[test]
fn no_more_is_asked_for_than_there_is_room_for() {
    let mut pulls = Pulls::default();
    assert_eq!(pulls.wanted(10, 3), 7);
    pulls.ask(7);
    assert_eq!((pulls.outstanding(), pulls.wanted(10, 3)), (7, 0));
    pulls.came();
    assert_eq!(pulls.wanted(10, 4), 0, "one came, and is in progress");
    pulls.over(Some(6));
    assert_eq!(pulls.wanted(10, 4), 6);
    assert_eq!((pulls.wanted(0, 0), pulls.wanted(4, 9)), (0, 0), "room may shrink");
    assert_eq!(Pulls::default().wanted(100_000, 0), BATCH_MAX);
}

#[test]
fn a_second_request_waits_for_half_of_the_room() {
    let mut pulls = Pulls::default();
    pulls.ask(2);
    assert_eq!(pulls.wanted(10, 4), 0, "four are free");
    assert_eq!(pulls.wanted(10, 3), 5);
    assert_eq!(Pulls::default().wanted(1, 0), 1);
}

#[test]
fn requests_are_those_of_the_protocol() {
    let mut pulls = Pulls::default();
    let text = String::from_utf8(pulls.ask(3)).unwrap();
    assert_eq!(text, r#"{"batch":3,"expires":30000000000,"idle_heartbeat":5000000000}"#);
    pulls.over(None);
    assert_eq!(pulls.outstanding(), 0);
}

#[test]
fn statuses_are_those_of_the_protocol() {
    let read = |code, text: &str| Status::read(code, text, Some(2));
    assert_eq!(read(100, "Idle Heartbeat"), Status::Heartbeat);
    assert_eq!(read(408, "Request Timeout"), Status::Over { missing: Some(2) });
    assert_eq!(read(409, "Exceeded MaxWaiting"), Status::Over { missing: Some(2) });
    assert_eq!(read(409, "Leadership Change"), Status::Over { missing: Some(2) });
    assert_eq!(read(409, "Server Shutdown"), Status::Over { missing: Some(2) });
    assert_eq!(read(409, "Consumer Deleted"), Status::Gone);
    assert_eq!(read(503, ""), Status::Gone);
}
