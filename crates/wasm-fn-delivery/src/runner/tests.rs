//! Tests of what is in progress.

use super::Progress;

#[test]
fn an_event_may_end_before_it_is_counted() {
    // A dead letter that is redriven is delivered as soon as it is on disk.
    let progress = Progress::default();
    progress.resume("hello/live/nightly", 0);
    progress.remove("hello/live/nightly");
    assert_eq!(progress.of("hello/live/nightly"), (0, 0));
    progress.add("hello/live/nightly");
    assert_eq!(progress.of("hello/live/nightly"), (0, 0));
    progress.add("hello/live/nightly");
    assert_eq!(progress.of("hello/live/nightly"), (0, 1));
}
