//! Tests for `watchdog`.

use super::*;

const STALLED: Look = Look { came: 0, outstanding: 5, pending: 9, is_at_limit: false };

/// The seconds at which it notices `looks`, made every five seconds.
fn noticed(looks: &[Look]) -> Vec<u64> {
    let mut watchdog = Watchdog::new();
    let at = |number: usize| 5 * number as u64;
    let looked = looks.iter().enumerate().filter(|(number, look)| {
        let now = at(*number);
        watchdog.look(**look, now, |since| Duration::from_secs(now - since))
    });
    looked.map(|(number, _)| at(number)).collect()
}

#[test]
fn a_broker_that_delivers_nothing_of_what_it_has_is_noticed() {
    assert_eq!(noticed(&[STALLED; 5]), [15, 20]);
}

#[test]
fn nothing_is_wrong_where_nothing_should_come() {
    for look in [
        Look { pending: 0, ..STALLED },
        Look { outstanding: 0, ..STALLED },
        Look { is_at_limit: true, ..STALLED },
    ] {
        assert_eq!(noticed(&[look; 6]), Vec::<u64>::new(), "{look:?}");
    }
}

#[test]
fn a_message_begins_the_time_anew() {
    let later = Look { came: 1, ..STALLED };
    assert_eq!(noticed(&[STALLED, STALLED, STALLED, later, later, later, later, later]), [35]);
}
