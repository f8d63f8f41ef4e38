//! Tests for `window`.

use wasm_fn_store::Subject;

use super::*;

fn commits(revisions: std::ops::RangeInclusive<u64>, bytes: usize) -> Vec<Commit> {
    let commit = |revision| Commit {
        revision: Revision(revision),
        subject: Subject::Access,
        document: Some("x".repeat(bytes)),
        record: String::new(),
        forgets_traps: false,
    };
    revisions.map(commit).collect()
}

fn has(window: &Window, revision: u64) -> bool {
    window.get(Revision(revision)).is_some_and(|commit| commit.revision.0 == revision)
}

#[test]
fn the_last_commits_are_kept() {
    let mut window = Window::default();
    assert!(!has(&window, 1));
    window.push_all(commits(5..=300, 1));
    window.push_all(commits(301..=400, 1));
    assert!(!has(&window, 144) && has(&window, 145) && has(&window, 400) && !has(&window, 401));
}

#[test]
fn large_commits_are_fewer() {
    let mut window = Window::default();
    window.push_all(commits(1..=4, 6 << 20));
    assert!(!has(&window, 2) && has(&window, 3) && has(&window, 4));
    window.push_all(commits(5..=5, 40 << 20));
    assert!(!has(&window, 4) && has(&window, 5));
}

#[test]
fn a_gap_forgets_what_was_before() {
    let mut window = Window::default();
    window.push_all(commits(1..=4, 1));
    window.push_all(commits(9..=9, 1));
    assert!(!has(&window, 4) && has(&window, 9));
}
