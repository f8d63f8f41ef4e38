//! Facts about cutting output into lines.

use tokio::sync::watch;

use super::*;

fn lines(writes: &[&[u8]]) -> Vec<String> {
    let ring = Arc::new(LogRing::new(watch::channel(0).0));
    let capture = Capture::new(
        ring.clone(),
        Arc::new(CurrentRequest::new(0)),
        VersionNo::FIRST,
        GuestLogStream::Stdout,
    );
    writes.iter().for_each(|bytes| capture.write_bytes(bytes));
    drop(capture);
    ring.page(0).lines.into_iter().map(|line| line.text).collect()
}

#[test]
fn lines_end_at_line_feeds_wherever_writes_end() {
    assert_eq!(lines(&[b"one\ntw", b"o\r\n", b"three"]), ["one", "two", "three"]);
}

#[test]
fn line_without_end_is_cut_not_collected() {
    let endless = vec![b'x'; LINE_BYTES_MAX];
    let found = lines(&[&endless, &endless, &endless, b"\nnext\n"]);
    assert_eq!(found.iter().map(String::len).collect::<Vec<_>>(), [LINE_BYTES_MAX, 4]);
}

#[test]
fn bytes_that_are_no_text_are_replaced() {
    assert_eq!(lines(&[b"a\xffb\n"]), ["a\u{fffd}b"]);
}
