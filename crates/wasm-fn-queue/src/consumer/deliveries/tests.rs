//! Tests for `deliveries`.

use super::*;

fn key(sequence: u64) -> MessageKey {
    MessageKey { sequence, published_ns: 7 }
}

fn came(deliveries: &mut Deliveries<u32>, sequence: u64, delivered: u64) -> Arrival {
    deliveries.came(key(sequence), delivered, format!("reply {delivered}"), 0)
}

fn settle(deliveries: &mut Deliveries<u32>, sequence: u64, settled: Settled) {
    deliveries.settle(key(sequence), settled);
    deliveries.told(key(sequence));
}

const RETRY: Settled = Settled::Retry { after: Duration::from_millis(1500) };
const RELEASED: Settled = Settled::Released { after: Duration::ZERO };

#[test]
fn attempts_are_the_deliveries_that_were_somebodys_failure() {
    let mut deliveries = Deliveries::new();
    assert_eq!(came(&mut deliveries, 1, 1), Arrival::Handle { attempt: 1 });
    settle(&mut deliveries, 1, RETRY);
    assert_eq!(came(&mut deliveries, 1, 2), Arrival::Handle { attempt: 2 });
    settle(&mut deliveries, 1, RELEASED);
    assert_eq!(came(&mut deliveries, 1, 3), Arrival::Handle { attempt: 2 });
    // The broker believed that nobody works on it.
    assert_eq!(came(&mut deliveries, 1, 4), Arrival::Repeated);
    settle(&mut deliveries, 1, RETRY);
    assert_eq!(came(&mut deliveries, 1, 5), Arrival::Handle { attempt: 3 });
    assert_eq!(deliveries.len(), 1);
}

#[test]
fn a_message_that_was_handled_is_not_handled_again() {
    let mut deliveries = Deliveries::new();
    came(&mut deliveries, 1, 1);
    settle(&mut deliveries, 1, Settled::Acknowledged);
    assert_eq!(came(&mut deliveries, 1, 2), Arrival::Handled);
    assert!(deliveries.is_empty());
    // Another stream of the same name has another message with this number.
    let other = MessageKey { sequence: 1, published_ns: 8 };
    assert_eq!(deliveries.came(other, 1, String::new(), 0), Arrival::Handle { attempt: 1 });
}

#[test]
fn what_is_remembered_has_a_bound() {
    let mut deliveries = Deliveries::new();
    for sequence in 0..HANDLED_MAX as u64 + 1 {
        came(&mut deliveries, sequence, 1);
        settle(&mut deliveries, sequence, Settled::Dead);
    }
    assert_eq!((deliveries.handled.len(), deliveries.order.len()), (HANDLED_MAX, HANDLED_MAX));
    assert_eq!(came(&mut deliveries, 0, 2), Arrival::Handle { attempt: 2 });
    for sequence in 0..SPARED_MAX as u64 + 1 {
        deliveries.settle(key(1_000_000 + sequence), RELEASED);
    }
    assert_eq!(deliveries.spared.len(), SPARED_MAX);
}

#[test]
fn the_broker_hears_later_what_it_could_not_hear() {
    let mut deliveries = Deliveries::new();
    came(&mut deliveries, 1, 1);
    came(&mut deliveries, 2, 1);
    deliveries.settle(key(1), Settled::Acknowledged);
    assert_eq!(deliveries.untold(), [key(1)]);
    // It comes again meanwhile: the newest place to tell counts.
    assert_eq!(came(&mut deliveries, 1, 2), Arrival::Repeated);
    assert_eq!(deliveries.news_of(key(1)), Some(("reply 2", &Settled::Acknowledged)));
    assert_eq!(deliveries.news_of(key(2)), None);
    deliveries.told(key(1));
    assert_eq!((deliveries.untold(), deliveries.len()), (Vec::new(), 1));
    deliveries.abandon();
    deliveries.settle(key(2), Settled::Acknowledged);
    assert_eq!((deliveries.news_of(key(2)), deliveries.len()), (None, 0));
}

#[test]
fn the_broker_hears_of_long_runs() {
    let mut deliveries = Deliveries::new();
    deliveries.came(key(1), 1, "a".to_owned(), 10);
    deliveries.came(key(2), 1, "b".to_owned(), 15);
    assert_eq!(deliveries.still(15, 20), ["a"]);
    assert_eq!(deliveries.still(15, 20), Vec::<String>::new());
    assert_eq!(deliveries.still(16, 21), ["b"]);
}

#[test]
fn acknowledgements_are_those_of_the_protocol() {
    let text = |settled| acknowledgement(&settled);
    assert_eq!(text(Settled::Acknowledged), "+ACK");
    assert_eq!(text(Settled::Dead), "+TERM");
    assert_eq!(text(RETRY), "-NAK {\"delay\":1500000000}");
    assert_eq!(text(RELEASED), "-NAK");
}
