//! Facts about the log ring.

use super::*;

fn ring() -> LogRing {
    LogRing::new(watch::channel(0).0)
}

fn write(ring: &LogRing, request_id: u128, stream: GuestLogStream, text: &str) {
    ring.push(VersionNo::FIRST, request_id, stream, text.to_owned());
}

#[test]
fn pages_go_on_where_the_last_one_ended() {
    let ring = ring();
    write(&ring, 1, GuestLogStream::Stdout, "a");
    write(&ring, 1, GuestLogStream::Stdout, "b");
    let first = ring.page(0);
    assert_eq!((first.lines.len(), first.newest, first.lost), (2, 2, 0));
    write(&ring, 1, GuestLogStream::Stdout, "c");
    let second = ring.page(first.newest);
    assert_eq!(second.lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["c"]);
    assert!(ring.page(u64::MAX).lines.is_empty());
}

#[test]
fn lines_and_bytes_are_bounded_and_the_loss_is_told() {
    let ring = ring();
    for _ in 0..LINES_MAX + 10 {
        write(&ring, 1, GuestLogStream::Stdout, "x");
    }
    let page = ring.page(0);
    assert_eq!((page.lines.len(), page.lost), (LINES_MAX, 10));
    let long = "y".repeat(2 * LINE_BYTES_MAX);
    for _ in 0..LINES_MAX {
        write(&ring, 1, GuestLogStream::Stdout, &long);
    }
    let bytes: usize = ring.page(0).lines.iter().map(|line| line.text.len()).sum();
    assert!(bytes <= BYTES_MAX, "{bytes}");
}

#[test]
fn failure_marks_the_lines_of_its_request() {
    let ring = ring();
    write(&ring, 1, GuestLogStream::Stdout, "of the failed one");
    write(&ring, 2, GuestLogStream::Stdout, "of another");
    ring.push_failure(VersionNo::FIRST, 1, "guest trapped");
    let failed: Vec<_> = ring.page(0).lines.iter().map(|line| line.failed).collect();
    assert_eq!(failed, [true, false, true]);
}
