//! Facts about the log ring.

use super::*;

fn request(request_id: u128) -> Served {
    Served { request_id, ..Served::NOTHING }
}

fn failure(request_id: u128, path: &str) -> Failure<'static> {
    let (method, took) = (Method::GET, Duration::from_secs(1));
    let request = LoggedRequest { method, path: path.to_owned(), took };
    Failure {
        served: self::request(request_id),
        request,
        status: StatusCode::GATEWAY_TIMEOUT,
        text: "guest was slow\nvery slow",
    }
}

fn ring() -> LogRing {
    LogRing::new(watch::channel(0).0, None)
}

fn write(ring: &LogRing, request_id: u128, stream: GuestLogStream, text: &str) {
    ring.push(VersionNo::FIRST, request(request_id), stream, text.to_owned());
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
    ring.push_failure(VersionNo::FIRST, failure(1, "/x"));
    let lines = ring.page(0).lines;
    let failed: Vec<_> = lines.iter().map(|line| line.failed).collect();
    assert_eq!(failed, [true, false, true, true]);
    let status: Vec<_> = lines.iter().map(|line| line.status.map(|status| status.as_u16())).collect();
    assert_eq!(status, [Some(504), None, Some(504), Some(504)]);
    let asked: Vec<_> =
        lines.iter().map(|line| line.request.as_ref().map(|request| &*request.path)).collect();
    assert_eq!(asked, [None, None, Some("/x"), None]);
}

#[test]
fn paths_of_failed_requests_are_bounded_too() {
    let ring = ring();
    let path = "/".repeat(LINE_BYTES_MAX);
    for request_id in 0..1000 {
        ring.push_failure(VersionNo::FIRST, failure(request_id, &path));
    }
    let bytes: usize = ring.page(0).lines.iter().map(GuestLogLine::bytes).sum();
    assert!(bytes <= BYTES_MAX, "{bytes}");
}

#[test]
fn lines_name_the_stage_of_their_request() {
    let ring = ring();
    let stage = |name: &str| ring.stage(&name.parse().unwrap());
    let (live, staging) = (stage("live"), stage("staging"));
    assert_eq!((stage("live"), stage("staging")), (live, staging), "a stage keeps its number");
    let of = |stage| Served { request_id: 1, stage, span: None };
    for served in [of(live), of(staging), Served::NOTHING] {
        ring.push(VersionNo::FIRST, served, GuestLogStream::Stdout, "x".to_owned());
    }
    ring.push_failure(VersionNo::FIRST, Failure { served: of(staging), ..failure(1, "/x") });
    let stages: Vec<_> =
        ring.page(0).lines.into_iter().map(|line| line.stage.map(|stage| stage.to_string())).collect();
    let stages: Vec<_> = stages.iter().map(|stage| stage.as_deref().unwrap_or("none")).collect();
    assert_eq!(stages, ["live", "staging", "none", "staging", "staging"]);
    // A number of another log means nothing here.
    let other = LogRing::new(watch::channel(0).0, None);
    other.push(VersionNo::FIRST, of(staging), GuestLogStream::Stdout, "x".to_owned());
    assert_eq!(other.page(0).lines[0].stage, None);
}
