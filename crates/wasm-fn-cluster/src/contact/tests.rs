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
    contact.caught_up(Instant::now());
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
    contact.caught_up(Instant::now());
    contact.written(Instant::now());
    let states = contact.watch();
    // No task of the runtime has run in between.
    tokio::time::advance(LEASE - Duration::from_millis(501)).await;
    assert!(contact.is_in_touch());
    contact.caught_up(Instant::now() - Duration::from_secs(60));
    assert!(contact.is_in_touch(), "an older proof takes nothing back");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(!contact.is_in_touch());
    assert!(matches!(*states.borrow(), ContactState::Out { .. }));
}

#[test]
fn answer_that_is_lost_ends_no_lease() {
    for lease in [crate::LEASE_MIN, Duration::from_secs(2), LEASE, crate::LEASE_MAX] {
        let patience = patience(lease);
        assert!(patience * 2 < usable(lease), "{lease:?}");
        assert!(patience <= Duration::from_secs(2), "a broker that is slow answers within that");
    }
}
