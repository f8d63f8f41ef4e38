//! Facts about warnings of certificates that end.

use super::*;
use crate::tls::tests::now;

fn shown(begins: SystemTime, days: u32) -> Shown {
    let not_after = begins + DAY * days;
    Shown { cert: PathBuf::from("a.pem"), certificate: Certificate::named("a.test", begins, not_after) }
}

/// The days after its beginning on which something is said of a certificate that lives for `days`.
fn said(days: u32) -> Vec<u32> {
    let (shown, mut warnings) = (shown(now(), days), EndWarnings::default());
    // Four looks a day.
    let looks = (0..4 * (days + 3)).filter(|quarter| {
        let due = warnings.due([&shown], now() + DAY / 4 * *quarter);
        assert!(due.len() < 2, "{due:?}");
        !due.is_empty()
    });
    looks.map(|quarter| quarter / 4).collect()
}

#[test]
fn each_warning_comes_once_and_only_where_nobody_should_have_renewed_yet() {
    assert_eq!(said(365), [335, 358, 364, 365], "a year: a month, a week and a day before, and at the end");
    assert_eq!(said(90), [83, 89, 90], "its renewal is due when a month is left");
    assert_eq!(said(10), [9, 10]);
    assert_eq!(said(3), [3]);
}

#[test]
fn a_node_that_starts_late_says_it_once() {
    let (shown, mut warnings) = (shown(now(), 365), EndWarnings::default());
    let late = now() + DAY * 360;
    let due = warnings.due([&shown], late);
    let expected = "the certificate of a.test in a.pem expires at 2028-01-15T08:00:00Z, in 5 d: renew it, and check \
                    what should have renewed it";
    assert_eq!(due.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    assert!(warnings.due([&shown], late + DAY).is_empty());
    let due = warnings.due([&shown], late + DAY * 5 - Duration::from_secs(3600 * 5 + 1));
    assert!(due[0].to_string().contains("in 5 h:"), "{due:?}");
    // Whoever reads one that is over says so.
    assert!(EndWarnings::default().due([&shown], late + DAY * 9).is_empty());
    let due = warnings.due([&shown], late + DAY * 9);
    assert!(due[0].to_string().ends_with("expired at 2028-01-15T08:00:00Z: clients refuse it"), "{due:?}");
}

#[test]
fn a_renewed_certificate_is_another_one() {
    let (first, mut warnings) = (shown(now(), 365), EndWarnings::default());
    let late = now() + DAY * 364;
    assert_eq!(warnings.due([&first], late).len(), 1);
    let second = shown(late, 365);
    assert!(warnings.due([&second], late).is_empty());
    assert_eq!(warnings.due([&second], late + DAY * 364).len(), 1);
    assert_eq!(nearness(&second.certificate, now()), None, "it is not valid yet");
}
