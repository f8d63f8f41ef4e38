//! Tests for `time`.

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

#[test]
fn times_are_written_as_rfc_3339_writes_them() {
    for (ms, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (1_790_769_600_000, "2026-09-30T12:00:00Z"),
        (1_790_769_600_007, "2026-09-30T12:00:00.007Z"),
        (Timestamp::MAX.unix_ms(), "9999-12-31T23:59:59.999Z"),
    ] {
        assert_eq!(Timestamp::from_unix_ms(ms).to_string(), text);
        assert_eq!(text.parse(), Ok(Timestamp::from_unix_ms(ms)));
    }
    assert_eq!("2026-09-30T14:00:00+02:00".parse(), Ok(Timestamp::from_unix_ms(1_790_769_600_000)));
    assert_eq!(Timestamp::from_unix_ms(u64::MAX), Timestamp::MAX);
}

#[test]
fn other_texts_are_no_times() {
    for text in
        ["", "now", "2026-09-30", "2026-09-30T12:00:00", "1969-12-31T23:59:59Z", "2026-02-30T00:00:00Z"]
    {
        assert_eq!(text.parse::<Timestamp>(), Err(TimestampError { found: text.to_owned() }));
    }
}

#[test]
fn http_dates_are_read_in_all_three_formats() {
    // The examples of RFC 9110, section 5.6.7.
    for text in
        ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
    {
        assert_eq!(
            Timestamp::from_http_date(text),
            Some(Timestamp::from_unix_seconds(784_111_777)),
            "{text}"
        );
    }
    assert_eq!(Timestamp::from_http_date("tomorrow"), None);
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_time_survives_its_text(ms in 0..=Timestamp::MAX.unix_ms()) {
        let time = Timestamp::from_unix_ms(ms);
        prop_assert_eq!(time.to_string().parse(), Ok(time));
    }
}
