//! Tests for `contact`.

use super::*;

const LEASE: Duration = Duration::from_secs(5);

fn proofs(log: Option<u64>, majority: Option<u64>) -> Proofs<Duration> {
    Proofs { log: log.map(Duration::from_millis), majority: majority.map(Duration::from_millis) }
}

#[test]
fn the_older_proof_decides() {
    let until = |log, majority| proofs(log, majority).until(LEASE);
    assert_eq!(until(None, None), None);
    assert_eq!(until(Some(1000), None), None);
    assert_eq!(until(None, Some(1000)), None);
    let ms = |ms| Some(Duration::from_millis(ms));
    assert_eq!(until(Some(1000), Some(9000)), ms(5500));
    assert_eq!(until(Some(9000), Some(1000)), ms(5500));
}

#[tokio::test(start_paused = true)]
async fn it_is_out_of_touch_by_time_alone() {
    let contact = Contact::start(LEASE, CancellationToken::new());
    let mut states = contact.watch();
    assert!(!contact.is_in_touch());
    contact.caught_up(Instant::now(), Revision(1));
    assert!(!contact.is_in_touch());
    contact.written(Instant::now());
    assert!(contact.is_in_touch());
    assert_eq!(*states.borrow_and_update(), ContactState::In);
    contact.missing("broker is away");
    states.changed().await.unwrap();
    let ContactState::Out { reason, .. } = states.borrow().clone() else { panic!("it is out of touch") };
    assert_eq!(reason, "broker is away");
}

#[tokio::test(start_paused = true)]
async fn it_looks_at_the_clock_when_it_is_asked() {
    let contact = Contact::start(LEASE, CancellationToken::new());
    contact.caught_up(Instant::now(), Revision(1));
    contact.written(Instant::now());
    let states = contact.watch();
    // No task of the runtime has run in between.
    tokio::time::advance(LEASE - Duration::from_millis(501)).await;
    assert!(contact.is_in_touch());
    contact.caught_up(Instant::now() - Duration::from_secs(60), Revision(1));
    assert!(contact.is_in_touch(), "an older proof takes nothing back");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(!contact.is_in_touch());
    assert!(matches!(*states.borrow(), ContactState::Out { .. }));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_published_yet_is_not_known_yet() {
    let contact = Contact::start(LEASE, CancellationToken::new());
    contact.caught_up(Instant::now(), Revision(7));
    contact.written(Instant::now());
    assert!(contact.is_in_touch(), "nobody publishes anything yet");
    contact.published(Revision(5));
    assert!(!contact.is_in_touch());
    contact.caught_up(Instant::now(), Revision(8));
    contact.published(Revision(6));
    assert!(!contact.is_in_touch());
    contact.published(Revision(7));
    assert!(contact.is_in_touch(), "an older proof is one");
    tokio::time::advance(Duration::from_secs(3)).await;
    contact.written(Instant::now());
    contact.caught_up(Instant::now(), Revision(9));
    contact.published(Revision(8));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(!contact.is_in_touch(), "of the newest, one change is missing");
    contact.published(Revision(9));
    assert!(contact.is_in_touch());
}

#[tokio::test(start_paused = true)]
async fn proofs_that_wait_are_bounded() {
    let contact = Contact::start(LEASE, CancellationToken::new());
    contact.written(Instant::now());
    contact.published(Revision(0));
    for revision in 1..=1000 {
        contact.caught_up(Instant::now(), Revision(revision));
    }
    assert_eq!(contact.kept().unpublished.len(), UNPUBLISHED_MAX);
    contact.published(Revision(1000));
    assert!(contact.is_in_touch());
}

#[test]
fn answer_that_is_lost_ends_no_lease() {
    for lease in [crate::LEASE_MIN, Duration::from_secs(2), LEASE, crate::LEASE_MAX] {
        let patience = patience(lease);
        assert!(patience * 2 < usable(lease), "{lease:?}");
        assert!(patience <= Duration::from_secs(2), "a broker that is slow answers within that");
    }
}
